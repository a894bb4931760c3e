r"""Following a root along a deformation of its system: R(x, t) = 0.

`follow`: from t = 0, where a start is good, to t = 1; predictor along the tangent, Newton as the corrector, the step in t doubled where few
corrections were enough and cut where they were not: the fallback where no cold start converges.
`walk`: at given places, where other functions of the root are looked for zeros; hardly more than one evaluation each.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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


class Walk(NamedTuple):
    """Roots x (P, n) at P places, what was seen there (P, ..), and where they were found."""

    x: Array
    seen: Any
    found: Array


class _Walker(NamedTuple):
    index: Array
    count: Array
    x: Array
    base: Array  # the last root, its place, how it moves and how that changes there, the place of the root before it
    place: Array
    slope: Array
    bend: Array
    before: Array
    met: Array  # how many roots
    walk: Walk


def walk(
    residual: Callable[[Array, Array], tuple[Array, Any]],
    start: Array,
    origin: Array,
    places: Array,
    *,
    tol: float,
    cap: float = 2.0,
    most: int = 8,
    over: Callable[[Any], Array] = lambda seen: jnp.zeros((), bool),
    skip: Array | bool = False,
) -> Walk:
    """Roots of R(x, t) at the places t (P,) in turn, from `start` (n,) at t = origin, and what `residual` sees beside R there.

    Newton from the parabola through the last three roots; where |R| < tol its next step is taken, and what is seen corrected along it.
    A place is given up after `most` evaluations, all that follow where in addition `over` is true of what the last root had to show.
    """
    starts = jnp.asarray(start, float)
    size = places.shape[0]

    def turn(s: _Walker) -> _Walker:
        t = places[s.index]
        (r, seen), push = jax.linearize(lambda x: residual(x, t), s.x)
        columns, changes = jax.vmap(push)(jnp.eye(starts.size))
        step = -solve_linear(columns.T, r)
        step = step * jnp.minimum(1.0, cap / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
        fine = jnp.all(jnp.isfinite(step)) & jnp.all(jnp.isfinite(r))
        good = fine & (jnp.max(jnp.abs(r)) < tol)
        lost = ~good & (~fine | (s.count + 1 >= most))
        x = jnp.where(good, s.x + step, s.x)
        seen = jax.tree.map(lambda a, b: jnp.where(good, a + jnp.tensordot(step, b, 1), a), seen, changes)
        last = jax.tree.map(lambda a: a[s.index - 1], s.walk)
        ends = lost & (s.index > 0) & last.found & over(last.seen)
        ran = t - s.place
        slope = jnp.where(good & (s.met > 0), (x - s.base) / ran, s.slope)
        bend = jnp.where(good & (s.met > 1), (slope - s.slope) / (t - s.before), jnp.where(good, 0.0, s.bend))
        before, place = jnp.where(good, s.place, s.before), jnp.where(good, t, s.place)
        base = jnp.where(good, x, s.base)
        ahead = places[jnp.minimum(s.index + 1, size - 1)] - place
        leap = base + ahead * (slope + bend * (ahead + place - before))
        left = good | lost
        here = Walk(x, seen, good)
        done = jax.tree.map(lambda all, one: jnp.where(left, all.at[s.index].set(one), all), s.walk, here)
        return _Walker(
            jnp.where(ends, size, s.index + left),
            jnp.where(left, 0, s.count + 1),
            jnp.where(left, leap, s.x + step),
            base,
            place,
            slope,
            bend,
            before,
            s.met + good,
            done,
        )

    shapes = jax.eval_shape(residual, starts, places[0])[1]
    blank = jax.tree.map(lambda a: jnp.zeros((size, *a.shape), a.dtype), shapes)
    nothing, zero = jnp.zeros_like(starts), jnp.zeros((), int)
    at = jnp.asarray(origin, float)
    begin = _Walker(
        jnp.where(skip, size, zero),
        zero,
        starts,
        starts,
        at,
        nothing,
        nothing,
        at,
        zero,
        Walk(jnp.zeros((size, starts.size)), blank, jnp.zeros(size, bool)),
    )
    return lax.stop_gradient(lax.while_loop(lambda s: s.index < size, turn, lax.stop_gradient(begin)).walk)
