r"""A ladder of overlaps q_0 < q_1 < .. < q_k between weights on the sphere: k steps of replica symmetry breaking.

With increments D_0 = q_0, D_i = q_i - q_{i-1}, replica numbers m_1 < .. < m_k and the rest l_k (1 - q_k; chi or 1 where q_k = 1),

    l_{i-1} = l_i + m_i D_i,      entropic = (1/2) sum_i (1/m_i) log(l_{i-1}/l_i) + D_0/(2 l_0),
    f_{i-1}(h) = (1/m_i) log E_z exp( m_i f_i(h + sqrt(D_i) z) ),      energetic = E_z f_0(sqrt(D_0) z - kappa),

f_k < 0 being what one pattern gives in the field h (measured from the margin).  Everything is ordered from the innermost step outwards, in arrays of
fixed length; steps beyond `count` are absent.  The functions live on one stretched grid, as log(-f): they run from -h^2/(2 l) on one side
to the tail of a Gaussian on the other.

Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

import abc
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.quadrature import RANGE, gaussian_rule
from replicax.numerics.stretched import Grid, Tabulated, stretched_grid, tabulate

#: how far down rules look where the margin is as far, in standard deviations; -f below what is left there is zero
_FURTHEST, _NOTHING = 12.0, 1e-32


class Ladder(NamedTuple):
    """outer: q_0; steps, ms (K,): D_k, D_{k-1}, .. and m_k, m_{k-1}, ..; rest: l_k; count <= K: the number of steps."""

    outer: Array
    steps: Array
    ms: Array
    rest: Array
    count: Array

    @property
    def present(self) -> Array:
        return jnp.arange(self.steps.shape[0]) < self.count

    @property
    def overlaps(self) -> Array:
        """q_k, q_{k-1}, .., q_0 (absent ones are q_0): (K + 1,)."""
        inner = jnp.cumsum(self.steps[::-1])[::-1]
        return self.outer + jnp.append(inner, 0.0)

    @property
    def innermost(self) -> Array:
        """D_k (D_0 without steps)."""
        return jnp.append(self.steps, self.outer)[0]

    @property
    def responses(self) -> Array:
        """l_k, l_{k-1}, .., l_0: (K + 1,)."""
        return self.rest + jnp.append(0.0, jnp.cumsum(self.ms * self.steps))


def entropic(ladder: Ladder) -> Array:
    """(1/2) sum_i (1/m_i) log(l_{i-1}/l_i) + q_0/(2 l_0)."""
    responses = ladder.responses
    m = jnp.where(ladder.present, ladder.ms, 1.0)
    each = jnp.log1p(m * ladder.steps / responses[:-1]) / m
    return 0.5 * jnp.sum(jnp.where(ladder.present, each, 0.0)) + 0.5 * ladder.outer / responses[-1]


class Pattern(eqx.Module):
    """What one pattern gives at the inner end of a ladder: f(h), smooth."""

    #: f is f_{k-1} (`Absorbing`)
    absorbs: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, h: Array, ladder: Ladder) -> Array:
        """f_k (or f_{k-1}) at fields h."""

    @abc.abstractmethod
    def bare(self, h: Array, ladder: Ladder) -> Array:
        """f_k at fields h."""

    @abc.abstractmethod
    def bends(self, ladder: Ladder) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        """Where f bends, and over what widths."""

    def sharpness(self, energetic: Callable[["Pattern"], Array], ladder: Ladder) -> Array:
        """<f_k''^2>_{P_k} where the first step is absorbed; inf where f_k' jumps."""
        return jnp.asarray(jnp.inf)

    @abc.abstractmethod
    def tilt(self, h: Array, variance: Array, m: Array, response: Array) -> tuple[Array, Array, Array, Array]:
        """Of exp(m f(h + sqrt(variance) z) - z^2/2) far from the bends: (peak, its width, lowest z, highest z)."""


class Absorbing(Pattern):
    """A pattern whose f is f_{k-1}: the innermost step in closed form (limits in which f_k has a kink)."""

    absorbs: ClassVar[bool] = True

    @abc.abstractmethod
    def moved(self, x: Array, ladder: Ladder) -> tuple[Array, Array]:
        """(The field h that leaves the gap x, dh/dx; 0 where none does)."""


def below_bend(h: Array, variance: Array) -> Array:
    """How far down a rule looks from a field h > 0: beyond the margin."""
    return jnp.clip(h / jnp.sqrt(variance) + 3.0, RANGE, _FURTHEST)


def energetic(ladder: Ladder, pattern: Pattern, kappa: Array, n: int, nudges: Array | None = None) -> Array:
    """E_z f_0(sqrt(q_0) z - kappa), with 3 n nodes on the grid; n = 40: about 1e-9, n = 64: 1e-12."""
    if nudges is None and ladder.steps.shape[0] == pattern.absorbs:  # nothing is left to tabulate
        f = lambda h: pattern(h, ladder)
    else:
        f, _ = functions(ladder, pattern, kappa, n, nudges)
    scale = jnp.sqrt(ladder.outer)
    positions, widths = pattern.bends(ladder)
    width = lax.stop_gradient(jnp.sqrt(1.0 - ladder.outer) / scale)
    bends = tuple((b + kappa) / scale for b in positions)
    rule = gaussian_rule((*bends, 0.0), (*(width for _ in widths), 1.0), 2 * _rule(n, bends))
    return jnp.sum(rule.weights * f(scale * rule.nodes - kappa))


def _rule(n: int, bends: tuple[Array, ...]) -> int:
    """Nodes of a rule around a peak and these bends: of all of two, of each of more (panels); few for a first look.

    Up to n = 48 what the grid leaves is more than what 64 nodes around two leave.
    """
    if len(bends) == 1:
        return 64 if n <= 48 else 128 * max(1, n // 64)
    return 64 * max(1, n // 64) if n >= 32 else 32


class Negative(NamedTuple):
    """A function f < 0 by the logarithm of -f (and a floor: the rules do not see further into the tails)."""

    log: Tabulated

    def __call__(self, h: Array) -> Array:
        return _NOTHING - jnp.exp(self.log(h))


def _tabulated(f: Array, grid: Grid) -> Negative:
    return Negative(tabulate(jnp.log(_NOTHING - jnp.minimum(f, 0.0)), grid))


def stabilities(ladder: Ladder, pattern: Pattern, kappa: Array, n: int) -> Array:
    """<f_i''^2>_{P_i} of levels k, k-1, .., 0: how the energetic term answers to a nudge of f_i by f_i''^2."""
    levels = ladder.steps.shape[0] + 1
    answers = jax.grad(lambda nudges: energetic(ladder, pattern, kappa, n, nudges))(jnp.zeros(levels))
    if not pattern.absorbs:
        return answers
    return answers.at[0].set(pattern.sharpness(lambda p: energetic(ladder, p, kappa, n), ladder))


def grid_of(ladder: Ladder, pattern: Pattern, kappa: Array, n: int) -> Grid:
    """3 n nodes, stretched around the bends, over all fields there are."""
    positions, widths = pattern.bends(ladder)
    deviations = jnp.sqrt(jnp.append(ladder.steps, ladder.outer))
    reach = jnp.abs(kappa) + RANGE * jnp.sum(deviations)
    return stretched_grid(positions, widths, jnp.stack(positions).min() - reach, reach, 3 * n)


def functions(
    ladder: Ladder, pattern: Pattern, kappa: Array, n: int, nudges: Array | None = None
) -> tuple[Negative, Array]:
    """f_0, and the coefficients of the tables of f_k (f_{k-1} where the first step is absorbed), .., f_0.

    nudges (K + 1,): multiples of f_i''^2 that are added to f_i.
    """
    positions, widths = pattern.bends(ladder)
    grid = grid_of(ladder, pattern, kappa, n)
    skip = 1 if pattern.absorbs else 0

    def nudged(f: Negative, nudge: Array) -> Negative:
        if nudges is None:
            return f
        curvature = lax.stop_gradient(jax.vmap(jax.grad(jax.grad(f)))(grid.nodes))
        return _tabulated(f(grid.nodes) + nudge * curvature**2, grid)

    innermost = _tabulated(pattern(grid.nodes, ladder), grid)
    innermost = nudged(innermost, 0.0 if nudges is None else nudges[skip])
    inner = innermost.log.coefficients[None]
    if ladder.steps.shape[0] == skip:
        return innermost, inner
    squares = lax.stop_gradient(jnp.stack(widths)) ** 2

    def smooth(f: Negative, variance: Array, m: Array, response: Array, inside: Array) -> Negative:
        scale, h = jnp.sqrt(variance), grid.nodes
        peak, spread, lo, hi = lax.stop_gradient(pattern.tilt(h, variance, m, response))
        sharp = jnp.sqrt(squares + lax.stop_gradient(inside)) / scale
        bends = tuple((b - h) / scale for b in positions)
        sharpness = tuple(jnp.broadcast_to(w, h.shape) for w in sharp)
        z = gaussian_rule((peak, *bends), (spread, *sharpness), _rule(n, bends), lower=lo, upper=hi)
        return _tabulated(_log_mean_exp(m * f(h[:, None] + scale * z.nodes), z.log_weights) / m, grid)

    def step(f: Negative, what: tuple[Array, ...]) -> tuple[Negative, Array]:
        *numbers, nudge, present = what
        f = lax.cond(present, lambda f, *a: nudged(smooth(f, *a), nudge), lambda f, *_: f, f, *numbers)
        return f, f.log.coefficients

    # how much of the variance lies further inside than a step: it has smoothed the bends
    inside = jnp.append(0.0, jnp.cumsum(ladder.steps))[:-1]
    moved = jnp.zeros_like(ladder.steps) if nudges is None else nudges[1:]
    each = (ladder.steps, ladder.ms, ladder.responses[:-1], inside, moved, ladder.present)
    f, outer = lax.scan(step, innermost, tuple(x[skip:] for x in each))
    return f, jnp.concatenate([inner, outer])


def _log_mean_exp(exponent: Array, log_weights: Array) -> Array:
    """log of the mean of exp(exponent) <= 1; relatively accurate also where it is next to nothing."""
    weights = jnp.exp(log_weights)
    lost = jnp.sum(weights * jnp.expm1(exponent), axis=-1)
    seen = jnp.sum(weights, axis=-1)  # far below a bend the nodes follow the peak and leave the bulk
    little = (lost > -0.5) & (seen > 1.0 - 1e-6)
    far = jax.scipy.special.logsumexp(exponent + log_weights, axis=-1)
    return jnp.where(little, jnp.log1p(jnp.where(little, lost, 0.0)), far)
