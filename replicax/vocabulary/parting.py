r"""Functions f that are convex below and concave above (soft constraints): f(x) - (x - h)^2/(2 v) may have two maxima, and at some h they are equally
high.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.brackets import halved, rising_root


class Turns(NamedTuple):
    """Of an f that is convex below and concave above: where it is no longer felt to have a slope, where f'' is largest, where f' is."""

    nothing: Array
    bend: Array
    steepest: Array


class Branches(NamedTuple):
    """Where x - v f'(x) rises: below `lower` and above `upper` (the same place if f(x) - (x - h)^2/(2 v) has one maximum for every h);
    by how much it can exceed v f' (`reach`); v f'' at its largest.
    """

    lower: Array
    upper: Array
    reach: Array
    convexity: Array


class Parting(NamedTuple):
    """The field at which two maxima of f(x) - (x - h)^2/(2 v) are equally high, and where they are (the same place if there is one only)."""

    branches: Branches
    field: Array
    below: Array
    above: Array


class _Maxwell(NamedTuple):
    h: Array
    before: Array
    places: Array
    count: Array


def _line(terminal: Any, v: Array) -> Callable[[Array], tuple[Array, Array]]:
    """x -> x - v f'(x), which is the field h of a stationary point x, and its slope."""

    def at(x: Array) -> tuple[Array, Array]:
        _, score, hessian = terminal.derivatives(x)
        return x - v * score[0], 1.0 - v * hessian[0][0]

    return at


def branches_of(terminal: Any, v: Array) -> Branches:
    terminal, v = jax.tree.map(lax.stop_gradient, (terminal, v))
    turns = terminal.turns()
    assert turns is not None
    shape = jnp.broadcast_shapes(jnp.shape(v), *(jnp.shape(x) for x in turns))
    nothing, bend, steepest, v = (jnp.broadcast_to(x, shape) for x in (*turns, v))
    sign = jnp.array([-1.0, 1.0]).reshape((2,) + (1,) * len(shape))
    rise = lambda x, v: _line(terminal, v)(x)[1]
    ends = (jnp.stack([nothing, bend]), jnp.stack([bend, steepest]))
    lower, upper = halved(lambda x: sign * rise(x, v[None]), *ends)
    convexity = 1.0 - rise(bend, v)
    two = convexity > 1
    reach = v * terminal.derivatives(steepest)[1][0]
    return Branches(jnp.where(two, lower, bend), jnp.where(two, upper, bend), reach, convexity)


def stationary(terminal: Any, v: Array, branches: Branches, h: Array, above: Array) -> Array:
    """The maximum of f(x) - (x - h)^2/(2 v) on one of its branches (its end if there is none)."""
    terminal, v, h = jax.tree.map(lax.stop_gradient, (terminal, v, h))
    line = _line(terminal, v)

    def excess(x: Array) -> tuple[Array, Array]:
        field, slope = line(x)
        return field - h, slope

    lo = jnp.where(above, branches.upper, jnp.minimum(h, branches.lower))
    hi = jnp.where(above, jnp.maximum(h + branches.reach, branches.upper), branches.lower)
    return rising_root(excess, lo, hi)


def parting_of(terminal: Any, v: Array) -> Parting:
    """Maxwell's construction: x^2/2 - v f(x) has the slope `field` at both places and on the chord between them."""
    still, w = jax.tree.map(lax.stop_gradient, (terminal, v))
    branches = branches_of(still, w)
    two, shape = branches.convexity > 1, jnp.shape(branches.convexity)
    v, w = jnp.broadcast_to(v, shape), jnp.broadcast_to(w, shape)
    sides, both = (
        jnp.array([False, True]).reshape((2,) + (1,) * len(shape)),
        jax.tree.map(lambda b: b[None], branches),
    )
    high, low = _line(still, w[None])(jnp.stack([branches.lower, branches.upper]))[0]

    def chord(f: Any, v: Array, places: Array) -> Array:
        a, b = places
        return 0.5 * (a + b) - v * (f(b) - f(a)) / jnp.where(two, b - a, 1.0)

    def advance(s: _Maxwell) -> _Maxwell:
        places = stationary(still, w[None], both, s.h[None], sides)
        h = jnp.where(two, jnp.clip(chord(still, w, places), low, high), s.h)
        return _Maxwell(h, s.h, places, s.count + 1)

    going = lambda s: jnp.any(jnp.abs(s.h - s.before) > 1e-14 * (1.0 + jnp.abs(s.h))) & (s.count < 40)
    nowhere = jnp.zeros((2, *shape))
    start = _Maxwell(0.5 * (low + high), jnp.full_like(low, jnp.inf), nowhere, jnp.zeros((), int))
    end = lax.while_loop(going, advance, start)
    field, places = end.h, end.places
    for _ in range(2):  # derivatives
        for _ in range(2):
            value, slope = _line(terminal, v[None])(places)
            step = (value - field[None]) / jnp.where(two[None], slope, 1.0)
            places = jnp.where(two[None], places - step, places)
        field = jnp.where(two, chord(terminal, v, places), field)
    return Parting(branches, field, *places)


def both_peaks(terminal: Any, h: Array, scale: Array, m: float | Array) -> tuple[tuple[Array, Array], ...]:
    """Where m f(h + scale z) - z^2/2 has its maxima and how wide they are there, that of larger z first (twice the same where there is one)."""
    terminal, h, scale, v = jax.tree.map(lax.stop_gradient, (terminal, h, scale, m * scale**2))
    branches, line = branches_of(terminal, v), _line(terminal, v)
    up, down = (
        stationary(terminal, v, branches, h, jnp.full_like(v + h, above, bool)) for above in (True, False)
    )
    above, below = line(branches.upper)[0] <= h, line(branches.lower)[0] >= h
    up, down = jnp.where(above, up, down), jnp.where(below, down, up)
    return tuple(((x - h) / scale, 1.0 / jnp.sqrt(jnp.maximum(line(x)[1], 1.0))) for x in (up, down))
