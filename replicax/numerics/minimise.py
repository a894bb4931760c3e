r"""Minima of smooth functions of a few variables: Newton in a trust region, with directions of negative curvature turned round.

The Hessian is a difference quotient of the gradient (relative error about 1e-4, so convergence is linear at that rate: as good as quadratic),
which costs a third of its exact derivative.  The stopping criterion is the decrease that the quadratic model still predicts.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

_DIFFERENCE = 1e-4
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
    x: Array
    value: Array
    gradient: Array
    hessian: Array
    radius: Array
    predicted: Array
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


def minimise(
    function: Callable[[Array], Array],
    start: Array,
    *,
    free: Array | None = None,
    tol: float = 1e-12,
    radius: float = 0.5,
    max_steps: int = 60,
) -> Minimum:
    """A local minimum of `function` below `start`; coordinates that are not `free` stay.

    Converged where the predicted decrease is below tol (1 + |value|).
    """
    free = jnp.ones(start.shape, bool) if free is None else free
    # the point itself and its neighbours in one batch: the function is compiled once
    moves = jnp.concatenate([jnp.zeros((1, start.shape[0])), _DIFFERENCE * jnp.eye(start.shape[0])])
    batch = jax.vmap(jax.value_and_grad(function))

    def local(x: Array) -> tuple[Array, Array, Array]:
        values, gradients = batch(x[None, :] + moves)
        hessian = (gradients[1:] - gradients[:1]) / _DIFFERENCE
        hessian = jnp.where(free[:, None] & free[None, :], 0.5 * (hessian + hessian.T), 0.0)
        return values[0], jnp.where(free, gradients[0], 0.0), hessian

    def going(s: _Iterate) -> Array:
        return ~s.done & (s.count < max_steps)

    def advance(s: _Iterate) -> _Iterate:
        step, predicted = _direction(s.gradient, s.hessian, s.radius)
        step = jnp.where(s.count > 0, step, 0.0)
        size = jnp.max(jnp.abs(step))
        small = (predicted <= tol * (1.0 + jnp.abs(s.value))) & (s.count > 0)
        trial = s.x + step
        value, gradient, hessian = local(trial)
        better = (value < s.value) & ~small
        expected = -(jnp.dot(s.gradient, step) + 0.5 * jnp.dot(step, s.hessian @ step))
        good = (s.value - value) > 0.5 * expected
        radius = jnp.where(better & good, jnp.maximum(s.radius, 2.0 * size), s.radius)
        radius = jnp.where(better, radius, 0.25 * jnp.minimum(size, s.radius))
        done = small | (radius < 1e-9) | ~jnp.isfinite(jnp.where(better, value, s.value))
        pick = lambda new, old: jnp.where(better, new, old)
        return _Iterate(
            pick(trial, s.x),
            pick(value, s.value),
            pick(gradient, s.gradient),
            pick(hessian, s.hessian),
            jnp.minimum(radius, 2.0),
            predicted,
            s.count + 1,
            done,
        )

    n = start.shape[0]
    infinite, none = jnp.asarray(jnp.inf), jnp.zeros((), int)
    first = _Iterate(
        start,
        infinite,
        jnp.zeros(n),
        jnp.zeros((n, n)),
        jnp.asarray(radius),
        infinite,
        none,
        jnp.zeros((), bool),
    )
    s = lax.while_loop(going, advance, first)
    # the last step is in hand: it need not show in the value
    step, predicted = _direction(s.gradient, s.hessian, jnp.asarray(radius))
    converged = predicted <= 1e3 * tol * (1.0 + jnp.abs(s.value))
    x = jnp.where(converged, s.x + step, s.x)
    return Minimum(x, s.value, predicted, jnp.max(jnp.abs(s.gradient)), s.hessian, s.count, converged)
