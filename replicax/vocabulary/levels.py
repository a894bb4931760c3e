r"""The replica level, written once.

    level(f, v, m)(h) = (1/m) log E_z exp( m f(h + sqrt(v) z) ),   z ~ N(0, 1)

        m = 0        E_z f                                 plain average: the outermost, quenched level
        0 < m < inf  log-mean-exp                          k-RSB; y real replicas (m = y > 1)
        m = inf      max_z [ f(h + sqrt(v) z) - z^2/2 ]    Moreau envelope at unscaled v: y -> inf, zero temperature

A free entropy is a sum of *towers* of levels over a terminal function f (the site or the factor).  The field h may have several
components, independent at every level (the recurrent network: a spin field and a raw field).

The moment map needs more than the value.  With f_i the function after the levels deeper than i, and P_i the tilted measure
of its argument,

    overlap_i = < f_i'^2 >_{P_i},   gap_i = overlap_i - overlap_{i-1} = < Var_i f_i' >_{P_{i-1}},   curvature = < f_k'' >_{P_k}.

They are averages and variances of one positive measure: always feasible, and the gaps lose no digits to cancellation.  By the heat
equation  d level / d v = (1/2) E[f'' + m f'^2]  they are the derivatives of the value with respect to the variances, which is why the
saddle-point equations of every model need no further derivation.

At small variance the rule becomes a stencil for 1 + (v/2) d^2/dh^2 (heat equation), so that v = 0 is an ordinary point with ordinary
derivatives.
"""

import abc
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import RANGE, gaussian_rule

#: below this variance, in units of the squared width of the bend, a level is its first-order expansion (the next term is v^2/8)
SMALL = 1e-8

Fields = tuple[Array, ...]


class Bends(NamedTuple):
    """Where a terminal bends along one component of its field, and over what width."""

    positions: tuple = (0.0,)
    widths: tuple = (1.0,)


class Terminal(eqx.Module):
    """The innermost function f(h_1, .., h_c) of a tower, and what the quadrature must know about it.

    Subclasses give `__call__`; components of the field broadcast against each other.  `even` holds if f(-h) = f(h) under the
    joint reflection of all components; `slope(component)` bounds |d f| (None: unbounded, and only towards negative h, as for
    log-concave constraints).
    """

    components: ClassVar[int] = 1
    even: ClassVar[bool] = False
    #: the bends are jumps of f': nodes must end at them and move with them
    jumps: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, *h: Array) -> Array:
        """f(h)."""

    def bends(self, component: int, m: float | Array) -> Bends:
        """Where exp(m f) (m = 0: f) bends along a component."""
        return Bends()

    def slope(self, component: int) -> float | None:
        return None

    def derivatives(self, *h: Array) -> tuple[Array, Fields, tuple[Fields, ...]]:
        """(f, (d_1 f, .., d_c f), ((d_1 d_1 f, ..), ..)) by automatic differentiation."""

        def along(function: Callable, c: int) -> tuple[Any, Any]:
            return jax.jvp(lambda x: function(*h[:c], x, *h[c + 1 :]), (h[c],), (jnp.ones_like(h[c]),))

        def gradient(*fields: Array) -> Fields:
            def slope(c: int) -> Array:
                move = lambda x: self(*fields[:c], x, *fields[c + 1 :])
                return jax.jvp(move, (fields[c],), (jnp.ones_like(fields[c]),))[1]

            return tuple(slope(c) for c in range(self.components))

        pairs = [along(gradient, c) for c in range(self.components)]
        return self(*h), pairs[0][0], tuple(second for _, second in pairs)


class Quadratic(Terminal):
    """f(h) = a h^2/2: Gaussian weights.  Towers over it close in closed form."""

    a: Array

    def __call__(self, *h: Array) -> Array:
        return 0.5 * self.a * h[0] ** 2


class Level(NamedTuple):
    """One level: a variance for every component of the field and the replica number m (0 and inf are Python floats)."""

    variances: Fields
    m: float | Array


class Moments(NamedTuple):
    """What a tower returns; lists run from the outermost level inwards, tuples over the components of the field.

    value, score[c] and hessian[c][d]: the outermost function f_{-1} and its derivatives; overlap[i][c], gap[i][c] (at an
    m = inf level gap is lim m gap), curvature[c] = <f_k''>, curvature2[c] = <f_k''^2>.
    """

    value: Array
    score: Fields
    hessian: tuple[Fields, ...]
    overlap: tuple[Fields, ...]
    gap: tuple[Fields, ...]
    curvature: Fields
    curvature2: Fields


def tower(terminal: Terminal, levels: tuple[Level, ...], n: int, h: Fields | None = None) -> Moments:
    """The tower of `levels` (outermost first) over `terminal`, at field h (default 0), with n nodes a bend and level."""
    if h is None:
        h = (jnp.zeros(()),) * terminal.components
    if isinstance(terminal, Quadratic):
        return _quadratic(terminal, levels, h)
    even = terminal.even and all(not np.any(x) for x in h if not isinstance(x, jax.core.Tracer))
    if not levels:
        value, score, hessian = terminal.derivatives(*h)
        curvature = tuple(hessian[c][c] for c in range(terminal.components))
        return Moments(value, score, hessian, (), (), curvature, tuple(k * k for k in curvature))
    level, deeper = levels[0], levels[1:]

    def inner(*fields: Array) -> Moments:
        return tower(terminal, deeper, n, fields)

    if isinstance(level.m, float) and np.isinf(level.m):
        return _envelope(terminal, inner, level, h)
    return _quadrature(terminal, inner, level, h, n, even)


def _quadratic(terminal: Quadratic, levels: tuple[Level, ...], h: Fields) -> Moments:
    """Closed form: a quadratic stays a quadratic, a_{i-1} = a_i/(1 - m_i a_i v_i); the tilted measures are Gaussian."""
    a, value = terminal.a, jnp.zeros(())
    steps = []
    for (v,), m in reversed(levels):
        if isinstance(m, float) and m == 0.0:
            ratio, value = jnp.ones(()), value + 0.5 * a * v
        elif isinstance(m, float) and np.isinf(m):
            ratio = 1.0 - a * v
        else:
            ratio = 1.0 - m * a * v
            value = value - 0.5 * jnp.log(ratio) / m
        steps.append((a, v, ratio, m))
        a = jnp.where(ratio > 0, a / ratio, jnp.nan)
    slope, outer, field, second = (a * h[0],), a, h[0], h[0] ** 2
    value = value + 0.5 * a * second
    overlaps, gaps = [], []
    for a, v, ratio, m in reversed(steps):
        frozen = isinstance(m, float) and np.isinf(m)
        second = second / ratio**2 + (0.0 if frozen else v / ratio)
        field = field / ratio
        overlaps.append((a * a * second,))
        gaps.append((a * a * v / ratio,))
    a = terminal.a * jnp.ones_like(field)
    return Moments(value, slope, ((outer,),), tuple(overlaps), tuple(gaps), (a,), (a * a,))


def _quadrature(terminal: Terminal, inner: Callable, level: Level, h: Fields, n: int, even: bool) -> Moments:
    """The level by quadrature: one node axis for every component, appended to the axes of h."""
    c, m = terminal.components, level.m
    plain = isinstance(m, float) and m == 0.0
    fields, log_weights, weights = [], jnp.zeros(()), jnp.ones(())
    for i in range(c):
        shifts, factor, exponent = _steps(terminal, i, level, h[i], n, even and i == 0)
        axes = (..., *(None,) * i, slice(None), *(None,) * (c - 1 - i))
        fields.append(h[i][(..., *(None,) * c)] + shifts[axes])
        weights, log_weights = weights * factor[axes], log_weights + exponent[axes]
    deep = inner(*fields)
    axis = tuple(range(-c, 0))
    if plain:
        weights = weights * jnp.exp(log_weights)
        value = jnp.sum(weights * deep.value, axis)
    else:
        exponent = m * deep.value + log_weights
        top = lax.stop_gradient(jnp.max(exponent, axis, keepdims=True))
        weights = weights * jnp.exp(exponent - top)
        norm = jnp.sum(weights, axis, keepdims=True)
        value = (jnp.log(norm) + top)[(..., *(0,) * c)] / m
        weights = weights / norm

    def mean(x: Array) -> Array:
        return jnp.sum(weights * x, axis)

    score = tuple(mean(g) for g in deep.score)
    around = tuple(g - s[(..., *(None,) * c)] for g, s in zip(deep.score, score))
    spread = tuple(mean(g * g) for g in around)
    own = tuple(mean(g * g) for g in deep.score)
    hessian = tuple(
        tuple(mean(k if plain else k + m * (a * b)) for k, b in zip(row, around)) for row, a in zip(deep.hessian, around)
    )
    rest = jax.tree.map(mean, (deep.overlap, deep.gap, deep.curvature, deep.curvature2))
    return Moments(value, score, hessian, (own, *rest[0]), (spread, *rest[1]), rest[2], rest[3])


def _steps(terminal: Terminal, component: int, level: Level, h: Array, n: int, even: bool) -> tuple[Array, Array, Array]:
    """Shifts sqrt(v) z_j of the field, and their weights as (factor, logarithm of the rest).

    v << (width of the bend)^2: a seven-point stencil, F + (v/2) F'' with F'' by central differences of sixth order at 0.02 widths.  The
    nodes stay where they are and the weights are linear in v, so v = 0 is an ordinary point; otherwise the rule of `quadrature`.
    """
    v = level.variances[component]
    bends = terminal.bends(component, level.m)
    width = lax.stop_gradient(jnp.minimum(1.0, jnp.stack([jnp.asarray(w, float) for w in bends.widths]).min(0)))
    small = v < SMALL * width**2
    scale = jnp.sqrt(jnp.where(small, 1.0, v))
    positions = tuple((b - h) / scale for b in bends.positions)
    widths = tuple(w / scale for w in bends.widths)
    upper = lower = jnp.full_like(positions[0], RANGE)
    if not (isinstance(level.m, float) and level.m == 0.0):
        # the tilt exp(m f) moves the measure: by at most m sqrt(v) |f'|, or, for a constraint, not beyond its bend
        slope = terminal.slope(component)
        if slope is None:
            upper = upper + jnp.maximum(0.0, jnp.stack(jnp.broadcast_arrays(*positions)).max(0))
        elif slope > 0:
            # log-convex terms pile the measure up at both ends: nodes everywhere in between
            upper = lower = upper + slope * level.m * scale
            widths = tuple(jnp.maximum(w, upper / 3.0) for w in widths)
    rule = gaussian_rule(positions, widths, n, lower=-lower, upper=upper, even=even, moving=terminal.jumps)
    nodes, second = _stencil(rule.nodes.shape[-1], even)
    centre = np.arange(len(nodes)) == 0
    shifts = jnp.where(small, 0.02 * width * nodes, scale[..., None] * rule.nodes)
    factor = jnp.where(small, centre + 0.5 * (v / (0.02 * width) ** 2) * second, 1.0)
    return shifts, factor, jnp.where(small, 0.0, rule.log_weights)


def _stencil(n: int, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (the centre first) and weights of the second difference of sixth order, padded to n; `even`: folded."""
    half = np.array([3 / 2, -3 / 20, 1 / 90])
    nodes = [0, 1, 2, 3] if even else [0, 1, 2, 3, -1, -2, -3]
    weights = [-49 / 18, *(2 * half if even else (*half, *half))]
    pad = np.zeros(n - len(nodes))
    return np.concatenate([nodes, pad]), np.concatenate([weights, pad])


def _envelope(terminal: Terminal, inner: Callable, level: Level, h: Fields) -> Moments:
    """m = inf for a one-component concave terminal: x = h + v f'(x), value f(x) - (x - h)^2/(2 v) (v < 0: the stationary point).

    Newton on x - h - v f'(x), whose slope 1 - v f'' stays positive; two more steps outside `stop_gradient` make the first three
    derivatives those of the implicit function.
    """
    (v,), (h0,) = level.variances, h

    def step(x: Array) -> Array:
        deep = inner(x)
        return x - (x - h0 - v * deep.score[0]) / (1.0 - v * deep.hessian[0][0])

    x = lax.fori_loop(0, 40, lambda _, x: lax.stop_gradient(step(x)), lax.stop_gradient(h0))
    for _ in range(2):
        x = step(x)
    deep = inner(x)
    g, k = deep.score[0], deep.hessian[0][0]
    value = deep.value - 0.5 * v * g * g
    hessian, gap = k / (1.0 - v * k), v * k * k / (1.0 - v * k)
    return Moments(
        value, (g,), ((hessian,),), ((g * g,), *deep.overlap), ((gap,), *deep.gap), deep.curvature, deep.curvature2
    )
