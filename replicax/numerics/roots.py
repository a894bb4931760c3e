r"""Stationary points of small systems: damped Newton on a residual map, with implicit derivatives.

Stationary points of a free entropy are saddles, so they are solved, never minimised.  The residual is a map R: R^n -> R^n in
logarithmic coordinates, where a step of 2 is a factor e^2; a cap on the step in the max norm is all the globalisation that the moment
maps of replica theory need from almost every cold start.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import ArrayLike

Residual = Callable[[Array], Array]


class Root(NamedTuple):
    """A root x (n,), the largest undamped residual there (scaled by max(1, |x|)), Newton steps (a float) and success; moved: what a last step
    with a finer rule has changed of x, if there was one; jacobian: that of the last step.
    """

    x: Array
    residual: Array
    steps: Array
    converged: Array
    moved: Array | None = None
    jacobian: Array | None = None


def solve_linear(matrix: Array, rhs: Array) -> Array:
    """Solve the dense n x n system; n <= 2 in closed form (a batch of LAPACK calls costs more than the integrals)."""
    n = rhs.shape[0]
    if n == 0:
        return rhs
    if n == 1:
        return rhs / matrix[0, 0]
    if n == 2:
        (a, b), (c, d) = matrix
        return jnp.stack([d * rhs[0] - b * rhs[1], a * rhs[1] - c * rhs[0]]) / (a * d - b * c)
    return jnp.linalg.solve(matrix, rhs)


def value_and_jacobian(residual: Residual, x: Array) -> tuple[Array, Array]:
    """R(x) and dR/dx from one shared primal evaluation."""
    value, push = jax.linearize(residual, x)
    return value, jax.vmap(push, out_axes=1)(jnp.eye(x.shape[0], dtype=x.dtype))


class Climb(NamedTuple):
    """Where a climb ended: at a root (`found`), beyond all of them (`passed`), or nowhere; x: the point of smallest residual (`size`)."""

    x: Array
    size: Array
    found: Array
    passed: Array


def climb(
    residual: Callable[[Array], tuple[Array, Array]],
    start: Array,
    *,
    tol: float,
    max_steps: int = 40,
    cap: float = 2.0,
    only_first: Array | bool = False,
) -> Climb:
    """The first root uphill of `start` along the flow dx/dt = -R(x), whose stable points are solutions of a map x -> x - R(x).

    `residual` returns R and whether x is beyond the last root.  Steps are -|J|^-1 R, where |J| has the moduli of the eigenvalues of J =
    dR/dx: Newton's towards a root, and with the flow instead of back behind a fold, so that a gap without a root is passed; only_first: such
    a gap ends the climb (`passed`).
    """

    def going(s: tuple[Array, Climb, Array]) -> Array:
        _, best, count = s
        return ~best.found & ~best.passed & (count < max_steps)

    def advance(s: tuple[Array, Climb, Array]) -> tuple[Array, Climb, Array]:
        x, best, count = s
        r, push, passed = jax.linearize(residual, x, has_aux=True)
        jacobian = jax.vmap(push, out_axes=1)(jnp.eye(x.shape[0], dtype=x.dtype))
        straight, size = modulus(jacobian), _size(r, x)
        step = -solve_linear(straight, r)
        behind = only_first & (jnp.trace(straight) - jnp.trace(jacobian) > 1e-8 * jnp.trace(straight))
        step = step * jnp.minimum(1.0, cap / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
        found, lost = size <= tol, ~jnp.all(jnp.isfinite(step))
        nearer = size < best.size
        closest = Climb(
            jnp.where(nearer, x, best.x),
            jnp.where(nearer, size, best.size),
            found,
            ~found & (passed | lost | behind),
        )
        return x + step, closest, count + 1

    no = jnp.zeros((), bool)
    begin = (start, Climb(start, jnp.asarray(jnp.inf), no, no), jnp.zeros((), int))
    return lax.while_loop(going, advance, begin)[1]


def modulus(matrix: Array) -> Array:
    """|J| of a matrix of one or two rows: the same eigenvectors, moduli of the eigenvalues; J itself if they are complex, or it is larger."""
    if matrix.shape[0] == 1:
        return jnp.abs(matrix)
    if matrix.shape[0] > 2:
        return matrix
    mean = 0.5 * jnp.trace(matrix)
    square = mean**2 - (matrix[0, 0] * matrix[1, 1] - matrix[0, 1] * matrix[1, 0])
    half = jnp.sqrt(jnp.where(square > 0, square, 1.0))
    low, high = mean - half, mean + half
    slope = (jnp.abs(high) - jnp.abs(low)) / (2.0 * half)
    straight = (jnp.abs(low) - slope * low) * jnp.eye(2) + slope * matrix
    return jnp.where(square > 0, straight, matrix)


def _size(residual: Array, x: Array) -> Array:
    worst = jnp.max(jnp.abs(residual) / jnp.maximum(1.0, jnp.abs(x)))
    return jnp.where(jnp.isnan(worst), jnp.inf, worst)


def _nothing_to_solve(x: Array) -> Root:
    return Root(x, jnp.zeros(()), jnp.zeros(()), jnp.ones((), bool), jacobian=jnp.zeros((0, 0)))


class _Iterate(NamedTuple):
    x: Array  # where to evaluate next
    base: Array  # the last point with a finite residual, and the step taken from it
    step: Array
    size: Array
    jacobian: Array
    attempt: Array  # which start, and how many evaluations since
    count: Array
    total: Array
    done: Array


def newton(
    residual: Residual,
    starts: Array,
    *,
    tol: float = 1e-12,
    max_steps: ArrayLike = 40,
    cap: float = 2.0,
    limit: float = np.inf,
    tries: ArrayLike | None = None,
) -> Root:
    """Damped Newton from the rows of `starts` (S, n), tried in turn until one converges.

    Steps are capped at `cap` in the max norm (a third of it after the first start) and quartered while the residual is not finite.
    Stops on the undamped residual, never on the step, and takes the last Newton step in hand.  A start is given up after
    `max_steps` evaluations of the residual with its Jacobian, or where a coordinate exceeds `limit`; at most `tries` starts (default all) are
    tried.  The residual is traced once, whatever the number of starts.
    """
    if starts.shape[1] == 0:
        return _nothing_to_solve(starts[0])
    tries = starts.shape[0] if tries is None else tries
    caps = jnp.where(jnp.arange(starts.shape[0]) == 0, cap, cap / 3.0)

    def going(s: _Iterate) -> Array:
        return ~s.done & (s.attempt < tries)

    def advance(s: _Iterate) -> _Iterate:
        r, jacobian = value_and_jacobian(residual, s.x)
        step, size = -solve_linear(jacobian, r), _size(r, s.x)
        ok = jnp.isfinite(size) & jnp.all(jnp.isfinite(step))
        step = step * jnp.minimum(1.0, caps[s.attempt] / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
        base, step = jnp.where(ok, s.x, s.base), jnp.where(ok, step, 0.25 * s.step)
        size, done = jnp.where(ok, size, s.size), ok & (size <= tol)
        lost = ~done & ((s.count + 1 >= max_steps) | (jnp.max(base) > limit))
        attempt = s.attempt + lost
        fresh = starts[jnp.minimum(attempt, starts.shape[0] - 1)]
        x = jnp.where(lost, fresh, base + step)
        return _Iterate(
            x, base, step, size, jacobian, attempt, jnp.where(lost, 0, s.count + 1), s.total + 1.0, done
        )

    zero, none = jnp.zeros((), int), jnp.zeros_like(starts[0])
    first = _Iterate(
        starts[0],
        starts[0],
        none,
        jnp.asarray(jnp.inf),
        jnp.eye(starts.shape[1]),
        zero,
        zero,
        jnp.zeros(()),
        jnp.zeros((), bool),
    )
    s = lax.while_loop(going, advance, first)
    return Root(jnp.where(s.done, s.x, s.base), s.size, s.total, s.done, jacobian=s.jacobian)


class _Chord(NamedTuple):
    x: Array  # where to evaluate next
    step: Array  # that led there, and the residual before it
    before: Array
    inverse: Array
    size: Array
    count: Array
    done: Array
    lost: Array


def chord(
    residual: Residual,
    x: Array,
    jacobian: Array,
    *,
    tol: float = 1e-12,
    max_steps: ArrayLike = 8,
    cap: float = 0.3,
) -> Root:
    """The root close to x whose Jacobian is known almost (that of a coarser rule): steps without derivatives, Broyden's good updates.

    As `newton` it stops on the residual and takes the step in hand, but none beyond `cap` (along a coordinate that the residual does not feel).
    Given up (not converged, x as it was) where, before that, the residual is not halved by a step or a step exceeds `cap`, or after `max_steps`
    evaluations.  Broyden, Math. Comp. 19 (1965) 577.
    """
    if x.shape[0] == 0:
        return _nothing_to_solve(x)

    def advance(s: _Chord) -> _Chord:
        r = residual(s.x)
        size = _size(r, s.x)
        known = s.inverse @ (r - s.before)
        along = s.step @ known
        learnt = jnp.outer(s.step - known, s.step @ s.inverse) / jnp.where(along == 0, 1.0, along)
        inverse = s.inverse + jnp.where((s.count > 0) & (along != 0), learnt, 0.0)
        step, done = -inverse @ r, size <= tol
        near = jnp.max(jnp.abs(step)) <= cap
        lost = ~done & ~(near & (size < 0.5 * s.size))
        return _Chord(s.x + jnp.where(near, step, 0.0), step, r, inverse, size, s.count + 1, done, lost)

    going = lambda s: ~s.done & ~s.lost & (s.count < max_steps)
    no, nothing = jnp.zeros((), bool), jnp.zeros_like(x)
    inverse = jnp.stack([solve_linear(jacobian, e) for e in jnp.eye(x.shape[0])], 1)
    begin = _Chord(x, nothing, nothing, inverse, jnp.asarray(jnp.inf), jnp.zeros((), int), no, no)
    s = lax.while_loop(going, advance, begin)
    return Root(jnp.where(s.done, s.x, x), s.size, s.count.astype(float), s.done, jacobian=jacobian)


def implicit_root(residual: Residual, solver: Callable[[Array], Root], x0: Array) -> Root:
    """The root found by `solver(x0)`, differentiable in everything that `residual` closes over (implicit function theorem).

    Works under jit, vmap, grad, grad of grad and jacfwd; the start carries no derivative.
    """

    def solve(_: Residual, x: Array):
        root = solver(x)
        return root.x, (root.residual, root.steps, root.converged.astype(float), root.moved)

    def tangent_solve(linear: Residual, y: Array) -> Array:
        return solve_linear(jax.jacfwd(linear)(jnp.zeros_like(y)), y)

    if x0.shape[0] == 0:
        return _nothing_to_solve(x0)
    x, (size, steps, done, moved) = lax.custom_root(
        residual, lax.stop_gradient(x0), solve, tangent_solve, has_aux=True
    )
    size, steps, moved = lax.stop_gradient((size, steps, moved))
    return Root(x, size, steps, done > 0.5, moved)


def moving_root(residual: Residual, x: Array) -> Array:
    """x, a root of `residual`, as a function of everything that it closes over: like `implicit_root` of a root that is known."""
    found = lambda y: Root(y, jnp.zeros(()), jnp.zeros(()), jnp.ones((), bool))
    return implicit_root(residual, found, x).x
