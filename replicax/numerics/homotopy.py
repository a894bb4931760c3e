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
#: a walk that does not reach its next place tries this part of the way, until it has taken so many times the evaluations of one try
_SHORTER, _PATIENCE = 0.25, 3


class _Follower(NamedTuple):
    x: Array  # where to evaluate next, at t
    t: Array
    base: Array  # the last root, its t, the tangent there and the step tried from it
    reached: Array
    tangent: Array
    step: Array
    size: Array
    jacobian: Array
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
            jacobian,
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
        jnp.eye(start.shape[0]),
        jnp.zeros((), int),
        zero,
        jnp.asarray(skip),
    )
    s = lax.while_loop(going, advance, first)
    return Root(s.base, s.size, s.total, s.done & ~jnp.asarray(skip), jacobian=s.jacobian)


class Walk(NamedTuple):
    """Roots x (P, n) at P places, what was seen there (P, ..), and where they were found."""

    x: Array
    seen: Any
    found: Array


class _Walker(NamedTuple):
    index: Array
    aim: Array  # the place that is tried: the one with this index, or one on the way there
    count: Array  # evaluations since the aim was set, and since the last place
    total: Array
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
    places: Array,
    *,
    tol: float,
    cap: float = 2.0,
    most: int = 8,
    over: Callable[[Any], Array] = lambda seen: jnp.zeros((), bool),
    skip: Array | bool = False,
) -> Walk:
    """Roots of R(x, t) at the places t (P,) in turn, the first from `start` (n,), and what `residual` sees beside R there.

    Newton from the parabola through the last three roots; where |R| < tol its next step is taken, and what is seen corrected along it.
    What is not reached in `most` evaluations is tried from a place on the way; where that fails, too, or `over` is true of what the last place
    had to show, the walk ends.
    """
    starts = jnp.asarray(start, float)
    size = places.shape[0]

    def turn(s: _Walker) -> _Walker:
        t, goal = s.aim, places[s.index]
        (r, seen), push = jax.linearize(lambda x: residual(x, t), s.x)
        columns, changes = jax.vmap(push)(jnp.eye(starts.size))
        step = -solve_linear(columns.T, r)
        step = step * jnp.minimum(1.0, cap / jnp.maximum(jnp.max(jnp.abs(step)), 1e-300))
        fine = jnp.all(jnp.isfinite(step)) & jnp.all(jnp.isfinite(r))
        good = fine & (jnp.max(jnp.abs(r)) < tol)
        lost = ~good & (~fine | (s.count + 1 >= most))
        x = jnp.where(good, s.x + step, s.x)
        seen = jax.tree.map(lambda a, b: jnp.where(good, a + jnp.tensordot(step, b, 1), a), seen, changes)
        arrived, ran = good & (t == goal), t - s.place
        slope = jnp.where(good & (s.met > 0), (x - s.base) / ran, s.slope)
        bend = jnp.where(good & (s.met > 1), (slope - s.slope) / (t - s.before), jnp.where(good, 0.0, s.bend))
        before, place = jnp.where(good, s.place, s.before), jnp.where(good, t, s.place)
        base = jnp.where(good, x, s.base)
        last = jax.tree.map(lambda a: a[s.index - 1], s.walk)
        hopeless = (s.met == 0) | (last.found & over(last.seen))
        ends = ~arrived & ((lost & hopeless) | (s.total + 1 >= _PATIENCE * most))
        index = jnp.where(ends, size, s.index + arrived)
        onwards = jnp.where(jnp.abs(goal - t) < 2.5 * jnp.abs(ran), goal, t + 2.0 * ran)
        aim = jnp.where(lost, s.place + _SHORTER * ran, jnp.where(good, onwards, t))
        aim = jnp.where(arrived, places[jnp.minimum(index, size - 1)], aim)
        ahead = aim - place
        leap = base + ahead * (slope + bend * (ahead + place - before))
        here = Walk(x, seen, arrived)
        done = jax.tree.map(lambda all, one: jnp.where(arrived, all.at[s.index].set(one), all), s.walk, here)
        return _Walker(
            index,
            aim,
            jnp.where(good | lost, 0, s.count + 1),
            jnp.where(arrived, 0, s.total + 1),
            jnp.where(good | lost, leap, s.x + step),
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
    begin = _Walker(
        jnp.where(skip, size, zero),
        places[0],
        zero,
        zero,
        starts,
        starts,
        places[0],
        nothing,
        nothing,
        places[0],
        zero,
        Walk(jnp.zeros((size, starts.size)), blank, jnp.zeros(size, bool)),
    )
    return lax.stop_gradient(lax.while_loop(lambda s: s.index < size, turn, lax.stop_gradient(begin)).walk)


def between(places: Array, walked: Walk, quantity: Callable[[Any], Array]) -> tuple[Array, Walk]:
    """Places (2 P - 1,) and the walk there, with one more between any two: where the cubic through `quantity` of what was seen (its slopes those
    of parabolas through three places) turns towards zero and back, else half way.

    Two zeros that lie between two places of the walk are seen by this.
    """
    width, known = places[1:] - places[:-1], walked.found[1:] & walked.found[:-1]
    values = quantity(walked.seen)
    slopes, side = _slopes(width, values, known), jnp.where(values[:-1] < 0, 1.0, -1.0)
    rise, fall = width * slopes[:-1], width * slopes[1:]
    share = _highest(side * values[:-1], side * values[1:], side * rise, side * fall)
    share = jnp.where(known, share, 0.5)

    def woven(outer: Array, inner: Array) -> Array:
        pairs = jnp.stack([outer[:-1], inner], 1).reshape(-1, *outer.shape[1:])
        return jnp.concatenate([pairs, outer[-1:]])

    def more(x: Array) -> Array:
        over = lambda a: a.reshape(-1, *(1,) * (x.ndim - 1))
        s, h, dx = over(share), over(width), _slopes(width, x, known)
        chord, first = x[1:] - x[:-1], x[:-1] + s * h * dx[:-1]
        turn = 3.0 * chord - h * (2.0 * dx[:-1] + dx[1:])
        return woven(x, first + s**2 * (turn + s * (h * (dx[:-1] + dx[1:]) - 2.0 * chord)))

    there = Walk(more(walked.x), jax.tree.map(more, walked.seen), woven(walked.found, known))
    return woven(places, places[:-1] + share * width), there


def _slopes(width: Array, values: Array, known: Array) -> Array:
    """Slopes at the ends of intervals of these widths: of parabolas through three neighbours, of chords beside an interval that is not known."""
    over = lambda a: a.reshape(-1, *(1,) * (values.ndim - 1))
    end = lambda a: jnp.concatenate([a, jnp.zeros_like(a[:1])])
    begin = lambda a: jnp.concatenate([jnp.zeros_like(a[:1]), a])
    weight = jnp.where(known, 1.0 / width, 0.0)
    chords = over(weight) * (values[1:] - values[:-1])
    left, whole = begin(weight), begin(weight) + end(weight)
    share = over(jnp.where(whole > 0, left / jnp.where(whole > 0, whole, 1.0), 0.0))
    return share * begin(chords) + (1.0 - share) * end(chords)


def _highest(start: Array, end: Array, rise: Array, fall: Array) -> Array:
    """Where on (0, 1) the cubic with these values and slopes has a maximum (1/2 if it has none there)."""
    chord = end - start
    a, b, c = 3.0 * (rise + fall - 2.0 * chord), 2.0 * (3.0 * chord - 2.0 * rise - fall), rise
    square = b * b - 4.0 * a * c
    root = jnp.sqrt(jnp.where(square > 0, square, 0.0))
    at = jnp.where(b < 0, 2.0 * c / (root - b), (-b - root) / (2.0 * a))
    return jnp.where((square > 0) & (at > 0.0) & (at < 1.0), at, 0.5)
