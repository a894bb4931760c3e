r"""Minima of smooth functions of a few variables: Newton in a trust region, with directions of negative curvature turned round.

The Hessian is a difference quotient of the gradient (relative error about 1e-4, so convergence is linear at that rate: as good as quadratic),
which costs a third of its exact derivative.  It is taken again where the steps contradict it, and mended by what they say where they do so a
little.  The stopping criterion is the decrease that the quadratic model still predicts.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

_DIFFERENCE = 1e-6
#: the Hessian is taken again where it has missed this part of the predicted decrease
_MISSED = 0.25
#: a curvature below this part of the largest is flat
_FLAT = 1e-10


class Minimum(NamedTuple):
    """x (n,), the value, the decrease still predicted there, the largest slope, the Hessian (n, n), steps taken, and success."""

    x: Array
    value: Array
    predicted: Array
    slope: Array
    hessian: Array
    steps: Array
    converged: Array


class _Iterate(NamedTuple):
    """column: the next one of the Hessian that is wanted at x; their number: none.  fresh: the Hessian is that at x, without guesses."""

    x: Array
    value: Array
    gradient: Array
    hessian: Array
    radius: Array
    predicted: Array
    column: Array
    fresh: Array
    count: Array
    done: Array


def _direction(gradient: Array, hessian: Array, radius: Array) -> tuple[Array, Array]:
    """The step to the minimum of the model with |curvatures|, within `radius` (max norm of a step), and its undamped decrease."""
    curvatures, vectors = jnp.linalg.eigh(hessian)
    size = jnp.abs(curvatures)
    stiff = jnp.maximum(size, _FLAT * jnp.max(size) + 1e-300)
    along = vectors.T @ gradient
    predicted = 0.5 * jnp.sum(along**2 / stiff)
    full = -vectors @ (along / stiff)
    # damped in the curvatures until it fits, so that soft directions are held back first
    dampings = jnp.max(size) * jnp.logspace(-12.0, 3.0, 31)
    damped = -jnp.einsum("ij,lj->li", vectors, along[None, :] / (stiff[None, :] + dampings[:, None]))
    steps = jnp.concatenate([full[None], damped])
    fits = jnp.max(jnp.abs(steps), axis=1) <= radius
    step = steps[jnp.where(jnp.any(fits), jnp.argmax(fits), steps.shape[0] - 1)]
    return step, predicted


def moved(step: Array) -> Array:
    """log(1 + step), as far as a half; below that a line.

    Where the other variables follow e^x, not x, a valley is straight for steps in e^x, and bends for steps in x: along one that is flat and steep to
    its sides those creep.
    """
    half = jnp.maximum(step, -0.5)
    return jnp.log1p(half) + 2.0 * (step - half)


def minimise(
    function: Callable[[Array], Array],
    start: Array,
    *,
    free: Array | None = None,
    linear: Array | None = None,
    tol: float = 1e-12,
    radius: float = 0.5,
    max_steps: int = 100,
) -> Minimum:
    """A local minimum of `function` below `start`; coordinates that are not `free` stay.

    linear: coordinates that are logarithms of what a step should be linear in (`moved`).

    Converged where the predicted decrease is below tol (1 + |value|), with the Hessian taken there.
    """
    n = start.shape[0]
    free = jnp.ones(n, bool) if free is None else free
    along = lambda step: step if linear is None else jnp.where(linear, moved(step), step)

    def model(s: _Iterate, radius: Array) -> tuple[Array, Array]:
        """`_direction` of f(x + moved(step)), whose second derivatives are those of f, less its slope."""
        bent = 0.0 if linear is None else jnp.diag(jnp.where(linear, s.gradient, 0.0))
        return _direction(s.gradient, s.hessian - bent, radius)

    both, slope = free[:, None] & free[None, :], jax.value_and_grad(function)
    following = lambda column: jnp.argmax(jnp.append(free, True) & (jnp.arange(n + 1) > column))

    def small(s: _Iterate) -> Array:
        return s.predicted <= tol * (1.0 + jnp.abs(s.value))

    def going(s: _Iterate) -> Array:
        return ~s.done & (s.count < max_steps)

    def advance(s: _Iterate) -> _Iterate:
        # one point at a time, a trial or a neighbour for the Hessian: the function is compiled once, and absent coordinates cost nothing
        tried = s.column == n
        step = along(model(s, s.radius)[0])
        step = jnp.where(tried & (s.count > 0), step, 0.0)
        value, gradient = slope(s.x + jnp.where(tried, step, _DIFFERENCE * (jnp.arange(n) == s.column)))
        gradient = jnp.where(free, gradient, 0.0)
        return lax.cond(tried, judged, differed, s, step, value, gradient)

    def differed(s: _Iterate, step: Array, value: Array, gradient: Array) -> _Iterate:
        hessian = s.hessian.at[s.column].set((gradient - s.gradient) / _DIFFERENCE)
        column = following(s.column)
        whole = column == n
        hessian = jnp.where(whole, jnp.where(both, 0.5 * (hessian + hessian.T), 0.0), hessian)
        s = s._replace(hessian=hessian, column=column, fresh=whole)
        s = s._replace(predicted=model(s, s.radius)[1])
        return s._replace(done=whole & small(s))

    def judged(s: _Iterate, step: Array, value: Array, gradient: Array) -> _Iterate:
        size = jnp.max(jnp.abs(step))
        better = value < s.value
        expected = -(jnp.dot(s.gradient, step) + 0.5 * jnp.dot(step, s.hessian @ step))
        radius = jnp.where((s.value - value) > 0.5 * expected, jnp.maximum(s.radius, 2.0 * size), s.radius)
        radius = jnp.minimum(jnp.where(better, radius, 0.25 * jnp.minimum(size, s.radius)), 2.0)
        # what the Hessian has missed along the step; little: it is put right there only (symmetric, of rank one)
        missed = gradient - s.gradient - s.hessian @ step
        known = (_direction(missed, s.hessian, radius)[1] < _MISSED * s.predicted) | (~better & s.fresh)
        there = jnp.dot(missed, step)
        seen = jnp.abs(there) > 1e-8 * jnp.linalg.norm(missed) * jnp.linalg.norm(step)
        mended = s.hessian + jnp.where(seen, jnp.outer(missed, missed) / jnp.where(seen, there, 1.0), 0.0)
        pick = lambda new, old: jnp.where(better, new, old)
        s = _Iterate(
            pick(step, 0.0) + s.x,
            pick(value, s.value),
            pick(gradient, s.gradient),
            jnp.where(known, mended, s.hessian),
            radius,
            s.predicted,
            s.column,
            jnp.zeros((), bool),
            s.count + 1,
            (radius < 1e-9) | ~jnp.isfinite(pick(value, s.value)),
        )
        s = s._replace(predicted=model(s, radius)[1])
        return s._replace(column=jnp.where(known & ~small(s), n, following(-1)))

    # the value at the start is a trial that goes nowhere
    none, no = jnp.zeros((), int), jnp.zeros((), bool)
    first = _Iterate(
        start,
        jnp.asarray(jnp.inf),
        jnp.zeros(n),
        jnp.zeros((n, n)),
        jnp.asarray(radius),
        jnp.zeros(()),
        jnp.asarray(n),
        no,
        none,
        no,
    )
    s = lax.while_loop(going, advance, first)
    # the last step is in hand: it need not show in the value
    step, predicted = model(s, jnp.asarray(radius))
    converged = predicted <= 1e3 * tol * (1.0 + jnp.abs(s.value))
    x = jnp.where(converged, s.x + along(step), s.x)
    return Minimum(x, s.value, predicted, jnp.max(jnp.abs(s.gradient)), s.hessian, s.count, converged)
