r"""Jamming within full replica symmetry breaking: c(q) = lim x(q)/(1 - q_M) on grids.

    alpha_J = min over q_i of  entropic / (- energetic)   at given c_1 < .. < c_K          (theory/jamming.py)

Towards q = 1 c grows like (1 - q)^(-1/1.41574), without bound in units of l_K = 1.  The largest c of a grid grow like a power of their number,

    log c_i = g(s_i) + a_0 + a_1 s_i + a_2 s_i^2 (+ a_3 for i = 1),    s_i = -log(1 - (i - 1/2)/K),

where g interpolates fewer levels; the q_i are stationary, and so are the four numbers a of the shape of the grid (a_3: c_1 may lie below a gap).
Every grid is an upper bound, with an error that falls as K^-4: two grids give the limit.

Charbonneau, Kurchan, Parisi, Urbani & Zamponi, Nat. Commun. 5 (2014) 3725; Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2
(2017) 019, arXiv:1702.06919.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.minimise import minimise
from replicax.numerics.roots import moving_root
from replicax.theory.jamming import Jamming
from replicax.vocabulary.ladder import Ladder

#: levels of the grids
LEVELS = (12, 16)
#: numbers of the shape of a grid
_SHAPE = 4


class Full(NamedTuple):
    """alpha_J, the step to it from the finer grid, the largest slope left (relative), and whether both grids were solved."""

    value: Array
    step: Array
    slope: Array
    converged: Array


def depths(size: int, count: Array) -> Array:
    """s of levels K, K - 1, .., 1 of `count` = K (beyond: 0)."""
    return jnp.maximum(jnp.log(count / (jnp.arange(size) + 0.5)), 0.0)


def on_grid(x: Array, c: Array, count: Array) -> Ladder:
    """The ladder at logs of D_i/q_0 (innermost first, absent ones beyond `count`), then a_0, .., a_3; c: the grid at a = 0."""
    size = c.shape[0]
    present, s, a = jnp.arange(size) < count, depths(size, count), x[size:]
    first = jnp.where(jnp.arange(size) == count - 1, a[3], 0.0)
    c = jnp.where(present, c * jnp.exp(a[0] + a[1] * s + a[2] * s**2 + first), 0.0)
    steps = jnp.where(present, jnp.exp(x[:size]), 0.0)
    outer = 1.0 / (1.0 + jnp.sum(steps))
    return Ladder(outer, steps * outer, c, jnp.ones(()), count)


def resampled(ladder: Ladder, count: Array) -> tuple[Array, Array]:
    """(x, c) of `count` levels along a ladder: log c linear in s, log(1 - q) linear in log c."""
    size = ladder.ms.shape[0]
    index, old = jnp.arange(size), ladder.count
    cell = jnp.clip(jnp.floor((index + 0.5) * old / count - 0.5).astype(int), 0, old - 2)
    number = jnp.where(ladder.present, jnp.log(ladder.ms), 0.0)
    c = _between_points(depths(size, old), number, cell, depths(size, count))
    places, wanted = _middles(number, old), _middles(c, count)
    left = jnp.log(jnp.cumsum(ladder.steps))
    inside = jnp.sum((places[None, :] > wanted[:, None]) & (index < old)[None, :], axis=1) - 1
    distance = jnp.exp(_between_points(places, left, jnp.clip(inside, 0, old - 2), wanted))
    outermost = distance[count - 1]
    steps = jnp.diff(distance, prepend=0.0)
    x = jnp.where(index < count, jnp.log(jnp.where(index < count, steps, 1.0)) - jnp.log1p(-outermost), 0.0)
    return jnp.append(x, jnp.zeros(_SHAPE)), jnp.exp(c)


def _between_points(x: Array, y: Array, cell: Array, at: Array) -> Array:
    """The line through points `cell` and `cell` + 1."""
    return y[cell] + (at - x[cell]) * (y[cell + 1] - y[cell]) / (x[cell + 1] - x[cell])


def _middles(number: Array, count: Array) -> Array:
    """log c halfway to the next level outwards: where the overlap between them lies."""
    outwards = jnp.append(number[1:], number[-1])
    inwards = jnp.append(number[0], number[:-1])
    last = jnp.arange(number.shape[0]) == count - 1
    return jnp.where(last, 1.5 * number - 0.5 * inwards, 0.5 * (number + outwards))


class _Grid(NamedTuple):
    """A solved grid: coordinates, c at a = 0, levels, the relative slope left, and whether it is solved."""

    x: Array
    c: Array
    count: Array
    slope: Array
    converged: Array


def full(landscape: Jamming, ladder: Ladder) -> Full:
    """The limit, from the minimum of as many steps as the arrays of `ladder` hold."""
    longer = jnp.zeros(LEVELS[-1] - ladder.ms.shape[0])
    ladder = ladder._replace(steps=jnp.append(ladder.steps, longer), ms=jnp.append(ladder.ms, longer))

    def free(count: Array) -> Array:
        return jnp.append(jnp.arange(LEVELS[-1]) < count, jnp.ones(_SHAPE, bool))

    def value(x: Array, c: Array, count: Array, n: int) -> Array:
        return landscape.value(on_grid(x, c, count), n)

    def solved(ladder: Ladder, count: Array) -> tuple[Ladder, _Grid]:
        x, c = resampled(ladder, count)
        least = lambda y: value(y, c, count, landscape.nodes)
        found = minimise(least, x, free=free(count), tol=1e-12)
        return on_grid(found.x, c, count), _Grid(
            found.x, c, count, found.slope / found.value, found.converged
        )

    def at(grid: _Grid) -> Array:
        slope = lambda y: jnp.where(
            free(grid.count), jax.grad(value)(y, grid.c, grid.count, landscape.nodes), y - grid.x
        )
        return value(moving_root(slope, grid.x), grid.c, grid.count, landscape.fine)

    grids = lax.stop_gradient(lax.scan(solved, lax.stop_gradient(ladder), np.array(LEVELS))[1])
    values = lax.map(at, grids)
    step = (values[0] - values[1]) / ((LEVELS[1] / LEVELS[0]) ** 4 - 1.0)
    return Full(values[1] - step, step, jnp.max(grids.slope), jnp.all(grids.converged))
