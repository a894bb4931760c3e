r"""Message passing (GAMP) for perceptrons: Bethe free entropy, magnetisations, energy of one instance, or of many.

One iteration costs two products with the patterns. With x the patterns, v the variances of the weights and f an external field,

    V = x^2 v / N,   om = x m / sqrt(N) - V g,   g = d log f/d om (om, V),   A = -(x^2)^T g' / N,
    h = x^T g / sqrt(N) + A m + f,               m, v = mean and variance of a weight in the field h (and curvature A).

The g in om is that of the previous iteration, the m in A m the one that made om. +-1 patterns have x^2 = 1: V and A are scalars.
At a fixed point, with a = x m/sqrt(N),

    N phi = sum_i [ log Z_i(h_i, A_i) + A_i (v_i + m_i^2)/2 - h_i m_i + f_i m_i ] + sum_mu [ log f(om_mu, V_mu) + (a_mu - om_mu)^2/(2 V_mu) ],

which is stationary in all messages: d phi/d beta = -energy and d phi/d(field strength) are partial derivatives. Rangan, arXiv:1010.5141;
Zdeborova & Krzakala, Adv. Phys. 65 (2016) 453, arXiv:1511.02476.

Columns (fields, starts, temperatures) share the patterns, so that products are matrix-matrix; instances are vmapped.

A committee machine is the same: its units are the columns, which its channel joins. In a tree each has patterns of its own. phi is then
per weight, the mean over the units.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from .arguments import choice, integer, real
from .blocks import each_instance, in_blocks
from .channels import Channel, Committee, Margin
from .constraints import threshold
from .instances import PerceptronInstances, sample_seeds
from .learning import is_signs, learnable, refuse_ties
from .outcomes import BUDGET, CONVERGED, DIVERGED, FLOOR
from .weights import BinaryWeights, SphericalWeights, Weights

WEIGHTS: dict[str, Weights] = {"binary": BinaryWeights(), "spherical": SphericalWeights()}
#: below this variance of the cavity field a hard margin is singular, and convergence is refused
FLOOR_VARIANCE = 1e-6
_CLIP, _TINY = 1e-10, 1e-30
_NOISE = 1e-3
_FIRST = 64


class Patterns(NamedTuple):
    """x / sqrt(N) (P, N), or (columns, P, N) of the units of a tree, and its square; None for +-1 patterns, whose squares are all 1/N."""

    x: Array
    square: Array | None

    def rows(self, v: Array) -> Array:
        """sum_i x_mu,i^2 v_i / N of v (columns, N): (columns, P), or (columns, 1) for +-1 patterns."""
        return jnp.mean(v, -1, keepdims=True) if self.square is None else fields(v, self.square)

    def columns(self, u: Array) -> Array:
        """sum_mu x_mu,i^2 u_mu / N of u (columns, P): (columns, N), or (columns, 1)."""
        return (
            jnp.sum(u, -1, keepdims=True) / self.x.shape[-1]
            if self.square is None
            else product(u, self.square)
        )


class Messages(NamedTuple):
    """State of the iteration: m, v, h (columns, N), g (columns, P)."""

    m: Array
    v: Array
    h: Array
    g: Array


class Half(NamedTuple):
    """The factor side of one iteration: V, om, g and g' (columns, P), A (columns, 1 or N), a = x m/sqrt(N), local field (columns, N)."""

    V: Array
    om: Array
    g: Array
    A: Array
    a: Array
    local: Array


def start(m: Array, v: Array, P: int) -> Messages:
    """No messages from the patterns yet."""
    return Messages(m, v, jnp.zeros_like(m), jnp.zeros((m.shape[0], P), m.dtype))


def product(a: Array, x: Array) -> Array:
    """a @ x, from patterns to weights, in the precision of the patterns x (P, N); returned in that of a.

    The compiler must neither compute a again in each entry of the result, nor multiply subnormal numbers, of which scores exp(-u^2/2) of
    patterns far inside their margin would be full: what is below 1e-30 counts as 0.
    """
    return _contract(a, x, 0)


def fields(m: Array, x: Array) -> Array:
    """m @ x.T, from weights to patterns; otherwise `product`. Written without the transpose, which would be a copy in each product."""
    return _contract(m, x, 1)


def _contract(a: Array, x: Array, axis: int) -> Array:
    if x.ndim == 3:
        return jnp.stack([_contract(row, matrix, axis) for row, matrix in zip(a, x)])
    barrier = jax.lax.optimization_barrier
    small = barrier(jnp.where(jnp.abs(a) < _TINY, 0.0, a).astype(x.dtype))
    return barrier(jax.lax.dot_general(small, x, (((a.ndim - 1,), (axis,)), ((), ())))).astype(a.dtype)


def unsolved(x: Array, limit) -> Callable[[Array], Array]:
    """A function of binary weights W (units, N): whether in some pattern most of the units have a field below ``limit``.

    It is asked after every step, and the first patterns alone mostly tell: a product with all of them only where these are right.
    """

    def violated(W, x):
        return jnp.any(jnp.sum(jnp.where(fields(W, x) < limit, 1, -1), 0) > 0)

    first = x[..., :_FIRST, :]
    yes, all_of_them = lambda W: jnp.asarray(True), lambda W: violated(W, x)
    return lambda W: jax.lax.cond(violated(W, first), yes, all_of_them, W)


def factor_side(patterns: Patterns, channel: Channel, s: Messages, damping=0.0) -> Half:
    """From magnetisations to local fields x^T g/sqrt(N) + A m: the half iteration that every schedule shares."""
    V = jnp.maximum(patterns.rows(s.v), _CLIP)
    a = fields(s.m, patterns.x)
    om = a - V * s.g
    g, slope = channel(om, V)
    g = (1.0 - damping) * g + damping * s.g
    A = -patterns.columns(slope)
    return Half(V, om, g, A, a, product(g, patterns.x) + A * s.m)


def sweep(
    patterns: Patterns, channel: Channel, weights: Weights, field: Array, damping, s: Messages
) -> tuple[Messages, Array]:
    """One damped iteration, and its residual (columns,): the largest change of m, and of om through g, over 1 - damping."""
    half = factor_side(patterns, channel, s, damping)
    h = (1.0 - damping) * (half.local + field) + damping * s.h
    m, v = weights.moments(h, half.A)
    step_g = jnp.max(jnp.abs(half.V * (half.g - s.g)), -1) if s.g.shape[1] else 0.0
    residual = jnp.maximum(jnp.max(jnp.abs(m - s.m), -1), step_g) / (1.0 - damping)
    if channel.units > 1:  # they converge together
        residual = jnp.full_like(residual, jnp.max(residual))
    return Messages(m, v, h, half.g), residual


def bethe(
    patterns: Patterns, channel: Channel, weights: Weights, field: Array, s: Messages
) -> tuple[Array, Array]:
    """phi and energy per weight (columns,) at the messages s."""
    N = s.m.shape[1]
    half = factor_side(patterns, channel, s)
    h = half.local + field
    site = weights.site(h, half.A, s.m, s.v) + jnp.sum(field * s.m, -1)
    factor = jnp.sum(channel.value(half.om, half.V) + (half.a - half.om) ** 2 / (2.0 * half.V), -1)
    return (site + factor) / N, jnp.sum(channel.energy(half.om, half.V), -1) / N


class GampResult(NamedTuple):
    """Fixed points, arrays (samples, columns), one column for a committee; phi, energy, q are nan unless converged.

    phi         Bethe free entropy per weight, of the instance (it differs from its average by O(1/sqrt(N)))
    energy      mean loss per weight (0 at beta = inf);  q  sum_i m_i^2 / N
    m           (samples, columns or units, N) magnetisations, whatever the outcome
    residual    largest change of a magnetisation in one iteration, over 1 - damping;  iterations  used
    outcome     codes of `outcomes`
    """

    phi: np.ndarray
    energy: np.ndarray
    q: np.ndarray
    m: np.ndarray
    residual: np.ndarray
    iterations: np.ndarray
    outcome: np.ndarray


def gamp(
    X,
    y=None,
    *,
    channel: Channel | None = None,
    weights: str = "binary",
    field=None,
    start_at=None,
    damping: float = 0.0,
    tol: float = 1e-10,
    iterations: int = 1000,
    key=0,
    dtype=np.float64,
) -> GampResult:
    """Fixed points of GAMP on patterns X ([samples,] P, N) with labels y, or on `PerceptronInstances`.

    channel    `Margin(kappa, beta)` (default kappa = 0, beta = inf) or any other; parameters of shape (columns, 1) make columns;
               `Committee(units=K)` makes a row of K units: patterns of K N inputs if it is a tree. With common inputs the Bethe phi
               is not exact at N = inf (units that share an input are correlated), and the start must tell the units apart
    field      external field ([samples,] columns, N), or None;  start_at  magnetisations likewise (default: those of the field and a
               noise of 1e-3)
    damping    of g and h: none is needed up to alpha = 0.7 at kappa = 0, 0.3 is safe elsewhere
    dtype      of the patterns: float32 products are twice as fast, and stop at a residual of 1e-5

    Converged: residual < tol, and the variance of the cavity fields above its floor (beta = inf is singular there, and saturated
    magnetisations move by less than tol whatever the messages do). Raises ValueError naming argument, value and what is allowed.
    """
    instances = learnable(X, y)
    choice("weights", weights, tuple(WEIGHTS))
    real("damping", damping, 0.0, 0.99)
    real("tol", tol, 0.0)
    channel = Margin() if channel is None else channel
    columns = _columns(channel, field, start_at)
    shape = (instances.samples, columns, inputs(instances, channel))
    fields = np.zeros(shape) if field is None else _broadcast("field", field, shape)
    rngs = [np.random.Generator(np.random.PCG64(s)) for s in sample_seeds(key, instances.samples, "messages")]
    noise = np.stack([_NOISE * rng.standard_normal(shape[1:]) for rng in rngs])
    begin = np.tanh(fields) + noise if start_at is None else _broadcast("start_at", start_at, shape)
    run = lambda x, f, m: _fixed_point(
        x, f, m, channel, weights, is_signs(instances), 1.0 / instances.scale, damping, tol,
        integer("iterations", iterations, 1), np.dtype(dtype),
    )  # fmt: skip
    return GampResult(*in_blocks(run, (instances.patterns, fields, begin), 4))


def inputs(instances: PerceptronInstances, channel: Channel) -> int:
    """N of each unit."""
    if instances.N % channel.groups:
        raise ValueError(
            f"N = {instances.N} is not allowed: the inputs of {channel.groups} units must be a multiple of {channel.groups}"
        )
    return instances.N // channel.groups


class Task(NamedTuple):
    """What binary weights learn: N weights of each unit, whose fields must reach the integer T, by what the channel says of their stabilities."""

    instances: PerceptronInstances
    channel: Channel
    N: int
    T: int


def task(X, y, kappa: float, units: int, tree: bool) -> Task:
    """Learning by one unit, or by the majority of ``units``, each with a margin kappa."""
    channel = Margin(kappa) if units == 1 else Committee(kappa, units=units, tree=tree)
    instances = learnable(X, y, kappa=kappa)
    N = inputs(instances, channel)
    refuse_ties(instances, N, kappa)
    return Task(instances, channel, N, threshold("margin", kappa, N, instances.scale, False))


def as_patterns(x: Array, signs: bool, unit, dtype, groups: int = 1) -> Patterns:
    """Integers (P, groups N) -> `Patterns`."""
    if groups > 1:
        x = jnp.moveaxis(x.reshape(x.shape[0], groups, x.shape[1] // groups), 1, 0)
    scaled = (x.astype(jnp.float64) * (unit / np.sqrt(x.shape[-1]))).astype(dtype)
    return Patterns(scaled, None if signs else scaled**2)


def fixed_point(patterns, channel, weights, field, s: Messages, damping, tol, iterations: int):
    """Iterate until every column has converged, diverged or used its budget: messages, residual, iterations, outcome."""

    def going(state):
        _, residual, t = state
        return jnp.any((residual > tol) & jnp.isfinite(residual)) & (jnp.max(t) < iterations)

    def step(state):
        s, residual, t = state
        new, size = sweep(patterns, channel, weights, field, damping, s)
        active = (residual > tol) & jnp.isfinite(residual)
        size = jnp.where(jnp.isnan(size), jnp.inf, size)
        keep = lambda a, b: jnp.where(active[:, None], a, b)
        s = jax.tree.map(keep, new, s)
        return s, jnp.where(active, size, residual), t + active

    columns = field.shape[0]
    big = jnp.full(columns, jnp.finfo(field.dtype).max)
    s, residual, t = jax.lax.while_loop(going, step, (s, big, jnp.zeros(columns, jnp.int32)))
    low = jnp.min(patterns.rows(s.v), -1, initial=1.0) < FLOOR_VARIANCE
    outcome = jnp.where(residual <= tol, jnp.where(low, FLOOR, CONVERGED), BUDGET)
    outcome = jnp.where(jnp.isfinite(residual), outcome, DIVERGED)
    return s, residual, t, outcome


@partial(jax.jit, static_argnums=(4, 5, 9, 10))
@each_instance(3)
def _fixed_point(x, field, m, channel, weights: str, signs: bool, unit, damping, tol, iterations: int, dtype):
    patterns, kind = as_patterns(x, signs, unit, dtype, channel.groups), WEIGHTS[weights]
    begin = start(m, jnp.maximum(1.0 - m**2, 0.0), x.shape[0])
    s, residual, t, outcome = fixed_point(patterns, channel, kind, field, begin, damping, tol, iterations)
    phi, energy = bethe(patterns, channel, kind, field, s)
    q = jnp.mean(s.m**2, -1)
    if channel.units > 1:
        phi, energy, q = (jnp.mean(a, keepdims=True) for a in (phi, energy, q))
        residual, t, outcome = residual[:1], t[:1], jnp.max(outcome, keepdims=True)
    known = lambda value: jnp.where(outcome == CONVERGED, value, jnp.nan)
    return known(phi), known(energy), known(q), s.m, residual, t, outcome


def _columns(channel: Channel, *arrays) -> int:
    """Number of columns: of the channel's units or parameters, of field or of start_at; 1 where none has any."""
    sizes = {channel.units}
    sizes |= {np.shape(leaf)[0] for leaf in jax.tree.leaves(channel) if np.ndim(leaf)}
    sizes |= {np.shape(a)[-2] for a in arrays if a is not None and np.ndim(a) > 1}
    sizes -= {1}
    if len(sizes) > 1:
        raise ValueError(
            f"columns = {sorted(sizes)} do not agree: channel, field and start_at must share them"
        )
    return sizes.pop() if sizes else 1


def _broadcast(name: str, value, shape: tuple[int, ...]) -> np.ndarray:
    value = np.asarray(value, np.float64)
    if not np.all(np.isfinite(value)):
        raise ValueError(f"{name} with entries that are not finite numbers is not allowed")
    try:
        return np.array(np.broadcast_to(value, shape))
    except ValueError:
        raise ValueError(
            f"{name} of shape {value.shape} is not allowed: it must broadcast to {shape}"
        ) from None
