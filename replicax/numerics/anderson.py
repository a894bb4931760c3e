"""Fixed points of slowly contracting maps: Anderson's acceleration (J. ACM 12 (1965) 547)."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax


class FixedPoint(NamedTuple):
    """Where the iteration came closest: x (n,), its `size`, how many evaluations it took, whether the size reached the tolerance."""

    x: Array
    size: Array
    steps: Array
    converged: Array


#: where to evaluate next; the last points and their moves, newest first; the closest one
_Iterate = tuple[Array, Array, Array, FixedPoint]


def fixed_point(
    move: Callable[[Array], tuple[Array, Array]],
    start: Array,
    *,
    tol: float,
    max_steps: int = 60,
    memory: int = 8,
    cap: float = 1.0,
) -> FixedPoint:
    """x with f(x) = 0, where x + f(x) is a map that contracts; `move` returns f and how far from the fixed point that is.

    The next x is the combination of the last ones whose f is least in the least-squares sense, moved by it; at most by `cap` in the max norm.  Not
    differentiable.
    """

    def going(s: _Iterate) -> Array:
        best = s[3]
        return ~best.converged & (best.steps < max_steps)

    def advance(s: _Iterate) -> _Iterate:
        x, points, moves, best = s
        f, distance = move(x)
        ok = jnp.isfinite(distance) & jnp.all(jnp.isfinite(f))
        f = jnp.where(ok, f, 0.0)
        count = best.steps
        points = jnp.where(ok, jnp.roll(points, 1, axis=0).at[0].set(x), points)
        moves = jnp.where(ok, jnp.roll(moves, 1, axis=0).at[0].set(f), moves)
        known = (jnp.arange(1, memory) <= jnp.minimum(count, memory - 1))[:, None]
        differences = jnp.where(known, moves[:-1] - moves[1:], 0.0)
        mixed = jnp.linalg.lstsq(differences.T, f, rcond=1e-10)[0]
        step = f - mixed @ (differences + jnp.where(known, points[:-1] - points[1:], 0.0))
        step = step * jnp.minimum(1.0, cap / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
        nearer = ok & (distance < best.size)
        # from where there is nothing: half the way back to the best point so far
        onwards = jnp.where(ok, x + step, 0.5 * (x + best.x))
        best = FixedPoint(
            jnp.where(nearer, x, best.x),
            jnp.where(nearer, distance, best.size),
            count + 1,
            best.converged | (ok & (distance <= tol)),
        )
        return onwards, points, moves, best

    none = jnp.zeros((memory, start.shape[0]))
    first = FixedPoint(start, jnp.asarray(jnp.inf), jnp.zeros((), int), jnp.zeros((), bool))
    return lax.while_loop(going, advance, (start, none, none, first))[3]
