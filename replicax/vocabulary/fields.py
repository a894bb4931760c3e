r"""The fields that patterns feel at every level of a ladder, and the gaps that are left of them.

The forward equation, adjoint to that of the f_i (vocabulary/ladder.py): from P_0 = N(-kappa, q_0) inwards,

    P_i(h) = e^(m_i f_i(h)) S_i(h),     S_i(h) = int dh' N(h - h'; D_i) e^(-m_i f_{i-1}(h')) P_{i-1}(h'),

normalised at every level.  S_i is smooth also where f_k has a kink: what is tabulated is log S_i/N(-kappa, q_i), 0 where f = 0.

Gaps x = Delta - kappa: below jamming one more level with m = 1, D = l_k and f = log theta(x); in the limits of zero temperature and jamming
(f_k = max_u) x = h + u where the maximum is.

Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.stretched import Grid, Tabulated, tabulate
from replicax.vocabulary.ladder import Absorbing, Ladder, Negative, Pattern, functions, grid_of

_LOG_SQRT_2PI = 0.5 * np.log(2 * np.pi)
#: nodes of a rule a bend
_NODES = 256
#: a density narrower than this is one of this variance
_LEAST = 1e-16


class Fields(NamedTuple):
    """log S_i/N(-kappa, q_i), i = k, .., 0, on the nodes of a grid: (K + 1, nodes); f: tables of f_{k-1}, .., f_0."""

    ladder: Ladder
    pattern: Pattern
    kappa: Array
    grid: Grid
    excess: Array
    f: Array

    def __call__(self, h: Array) -> Array:
        """P_k, .., P_0 at fields h (n,): (K + 1, n); 0 beyond the grid (beyond nine deviations)."""
        outside = jax.vmap(lambda c: Negative(Tabulated(self.grid, c))(h))(self.f)
        f = jnp.concatenate([self.pattern.bare(h, self.ladder)[None], outside])
        ms = jnp.append(self.ladder.ms, 0.0)[:, None]
        excess = jax.vmap(lambda s: tabulate(s, self.grid)(h))(self.excess)
        free = jax.vmap(lambda q: _gaussian(h + self.kappa, q))(_variances(self.ladder))
        log = free + excess + jnp.where(ms > 0, ms * f, 0.0)
        inside = (h >= self.grid.nodes[0]) & (h <= self.grid.nodes[-1])
        return jnp.where(inside[None], jnp.exp(log), 0.0)

    def gaps(self, x: Array) -> Array:
        """The density of gaps x = Delta - kappa (n,): what has x = 0 exactly (contacts, of weight 1 - its integral) is left out."""
        pattern, ladder = self.pattern, self.ladder
        if isinstance(pattern, Absorbing):
            h, slope = pattern.moved(x, ladder)
            return jnp.where(slope > 0, slope * self(h)[0], 0.0)
        m = jnp.append(ladder.ms, 0.0)[0]
        table, q = tabulate(self.excess[0], self.grid), _variances(ladder)
        within = lambda y: _gaussian(y + self.kappa, q[0]) + table(y) + (m - 1.0) * pattern.bare(y, ladder)
        positions, widths = pattern.bends(ladder)
        around = (*positions, -self.kappa), (*widths, jnp.sqrt(q[-1]))
        density = jnp.exp(_convolved(within, x, ladder.rest, self.grid, *around))
        return jnp.where(x >= 0, density, 0.0)


def _variances(ladder: Ladder) -> Array:
    """q_k, .., q_0, as variances of a density."""
    return jnp.maximum(ladder.overlaps, _LEAST)


def _gaussian(h: Array, variance: Array) -> Array:
    return -0.5 * h**2 / variance - 0.5 * jnp.log(variance) - _LOG_SQRT_2PI


def fields(ladder: Ladder, pattern: Pattern, kappa: Array, n: int) -> Fields:
    """The distributions of the fields, with 3 n nodes on the grid."""
    grid = grid_of(ladder, pattern, kappa, n)
    outermost = jnp.zeros_like(grid.nodes)
    if ladder.steps.shape[0] == 0:
        blank = jnp.zeros((0, *tabulate(outermost, grid).coefficients.shape))
        return Fields(ladder, pattern, kappa, grid, outermost[None], blank)
    tables = functions(ladder, pattern, kappa, n)[1]
    tables = tables if pattern.absorbs else tables[1:]
    positions, widths = pattern.bends(ladder)
    squares = jnp.stack(widths) ** 2

    def step(excess: Array, what: tuple[Array, ...]) -> tuple[Array, Array]:
        variance, m, before, q, coefficients, inside, present = what
        table, f = tabulate(excess, grid), Negative(Tabulated(grid, coefficients))
        around = (*positions, -kappa), (*jnp.sqrt(squares + inside), jnp.sqrt(variances[-1]))

        def inwards() -> Array:
            log_density = lambda y: _gaussian(y + kappa, q) + table(y) + (before - m) * f(y)
            found = _convolved(log_density, grid.nodes, variance, grid, *around)
            return found - _gaussian(grid.nodes + kappa, q + variance)

        excess = lax.cond(present, inwards, lambda: excess)
        return excess, excess

    before, variances = jnp.append(ladder.ms[1:], 0.0), _variances(ladder)
    inside = jnp.append(0.0, jnp.cumsum(ladder.steps))[:-1]
    each = (ladder.steps, ladder.ms, before, variances[1:], tables, inside, ladder.present)
    rows = lax.scan(step, outermost, each, reverse=True)[1]
    return Fields(ladder, pattern, kappa, grid, jnp.concatenate([rows, outermost[None]]), tables)


def _convolved(
    log_density: Callable[[Array], Array],
    h: Array,
    variance: Array,
    grid: Grid,
    bends: tuple[Array, ...],
    widths: tuple[Array, ...],
) -> Array:
    """log int dy N(h - y; variance) exp(log_density(y)) over the range of the grid, for log-densities that bend."""
    spread = lambda value: jnp.broadcast_to(value, h.shape)
    centres = (h, *(spread(b) for b in bends))
    scales = (spread(jnp.sqrt(variance)), *(spread(w) for w in widths))
    y, jacobian = gaussian_rule(centres, scales, _NODES, lower=grid.nodes[0], upper=grid.nodes[-1])
    exponent = jnp.log(jnp.maximum(jacobian, 1e-300)) + _gaussian(h[:, None] - y, variance) + log_density(y)
    return jax.scipy.special.logsumexp(exponent, axis=-1)
