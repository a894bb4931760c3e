r"""Following a root along a deformation of its system: R(x, t) = 0 from t = 0, where a start is good, to t = 1.

Predictor along the tangent, Newton as the corrector, the step in t doubled where few corrections were enough and cut where they were not:
the fallback where no cold start converges.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.roots import Root, solve_linear, value_and_jacobian

_FIRST = 0.05
_SMALLEST = 1e-4
_CORRECTIONS = 6
_CAP = 1.0


class _Follower(NamedTuple):
    x: Array  # where to evaluate next, at t
    t: Array
    base: Array  # the last root, its t, the tangent there and the step tried from it
    reached: Array
    tangent: Array
    step: Array
    size: Array
    count: Array
    total: Array
    done: Array


def follow(
    residual: Callable[[Array, Array], Array],
    start: Array,
    *,
    tol: float,
    limit: float = jnp.inf,
    skip: Array | bool = False,
    most: int = 300,
) -> Root:
    """The root at t = 1 that is connected with the one which Newton finds from `start` (n,) at t = 0.

    Gives up where the step in t falls below 1e-4, a coordinate exceeds `limit`, or after `most` evaluations; skip: evaluates nothing.
    """

    def going(s: _Follower) -> Array:
        return ~s.done & (s.total < most) & (s.step > _SMALLEST) & (jnp.max(s.base) <= limit)

    def advance(s: _Follower) -> _Follower:
        r, jacobian = value_and_jacobian(lambda x: residual(x, s.t), s.x)
        moved = jax.jvp(lambda t: residual(s.x, t), (s.t,), (jnp.ones_like(s.t),))[1]
        size, newton = jnp.max(jnp.abs(r)), -solve_linear(jacobian, r)
        ok = jnp.isfinite(size) & jnp.all(jnp.isfinite(newton))
        root, first = ok & (size <= tol), s.reached < 0.0
        lost = ~root & (~ok | (s.count >= jnp.where(first, 40, _CORRECTIONS)))
        base, reached = jnp.where(root, s.x, s.base), jnp.where(root, s.t, s.reached)
        tangent = jnp.where(root, jnp.nan_to_num(-solve_linear(jacobian, moved)), s.tangent)
        easy = s.count <= 3
        step = jnp.where(
            root, s.step * jnp.where(easy & ~first, 2.0, 1.0), jnp.where(lost, s.step / 3.0, s.step)
        )
        step = jnp.where(lost & first, 0.0, step)
        ahead = jnp.minimum(reached + step, 1.0)
        newton = newton * jnp.minimum(1.0, _CAP / jnp.maximum(jnp.max(jnp.abs(newton)), 1e-300))
        leap = root | lost
        x = jnp.where(leap, base + (ahead - reached) * tangent, s.x + newton)
        return _Follower(
            x,
            jnp.where(leap, ahead, s.t),
            base,
            reached,
            tangent,
            step,
            jnp.where(ok, size, jnp.inf),
            jnp.where(leap, 0, s.count + 1),
            s.total + 1.0,
            root & (s.t >= 1.0),
        )

    zero, none = jnp.zeros(()), jnp.zeros_like(start)
    first = _Follower(
        start,
        zero,
        start,
        -1.0 + zero,
        none,
        _FIRST + zero,
        jnp.inf + zero,
        jnp.zeros((), int),
        zero,
        jnp.asarray(skip),
    )
    s = lax.while_loop(going, advance, first)
    return Root(s.base, s.size, s.total, s.done & ~jnp.asarray(skip))
