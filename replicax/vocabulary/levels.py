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
import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import RANGE, gaussian_rule
from replicax.vocabulary.parting import Parting, Turns, both_peaks, parting_of, stationary

#: below this variance, in units of the squared width of the bend, a level is its first-order expansion (the next term is v^2/8)
SMALL = 1e-8
_STENCIL = 0.015
#: integrands that are largest farther out than this widen the range
_FAR = 4.5
#: nodes gather at a pair of peaks that are farther apart than about the square root of this
_APART = 400.0
#: of two maxima that differ by more than this in the exponent the lower one does not count
_NEVER = 45.0

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

    def turns(self) -> Turns | None:
        """Where f turns if it has no bound on its slope and is not concave: f(x) - (x - h)^2/(2 v) may have two maxima."""
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


def is_frozen(m: float | Array) -> bool:
    """True for m = inf, which is part of the structure (a float), not a value."""
    return isinstance(m, float) and bool(np.isinf(m))


class Tilt(NamedTuple):
    """A weight on the standard normal z of the outermost, plain level (labels of a teacher, a reference that satisfies its own
    constraint): density(z) = (log weight, score of the teacher's field); it bends at `positions` over `widths`, and has moved the measure
    to about `centre`, all in z.
    """

    density: Callable[[Array], tuple[Array, Array]]
    positions: tuple
    widths: tuple
    centre: Array | float = 0.0


class Moments(NamedTuple):
    """What a tower returns; lists run from the outermost level inwards, tuples over the components of the field.

    value, score[c] and hessian[c][d]: the outermost function f_{-1} and its derivatives; overlap[i][c], gap[i][c] (at an
    m = inf level gap is lim m gap), curvature[c] = <f_k''>, curvature2[c] = <f_k''^2>; cross: <f_0' (score of the tilt)>, 0 without one;
    fluctuation: behind an m = inf level <-log(1 - v f'')/2>, what is left of m (value) at large m.
    """

    value: Array
    score: Fields
    hessian: tuple[Fields, ...]
    overlap: tuple[Fields, ...]
    gap: tuple[Fields, ...]
    curvature: Fields
    curvature2: Fields
    cross: Array | float = 0.0
    fluctuation: Array | float = 0.0


def tower(
    terminal: Terminal,
    levels: tuple[Level, ...],
    n: int,
    h: Fields | None = None,
    tilt: Tilt | None = None,
    *,
    value_only: bool = False,
    apart: Parting | None = None,
) -> Moments:
    """The tower of `levels` (outermost first) over `terminal`, at field h (default 0), with n nodes a bend and level.

    tilt: a weight on the outermost level, which is plain (m = 0) and has one component.  value_only: the moments are not wanted (and
    meaningless): a short program to differentiate.  apart: that of the last, m = inf level, if it is known.
    """
    even = terminal.even and h is None and tilt is None  # the joint reflection holds around the origin only
    if h is None:
        h = (jnp.zeros(()),) * terminal.components
    if isinstance(terminal, Quadratic):
        return _quadratic(terminal, levels, h)
    if not levels:
        value, score, hessian = (
            _nothing_but(terminal(*h), terminal.components) if value_only else terminal.derivatives(*h)
        )
        curvature = tuple(hessian[c][c] for c in range(terminal.components))
        return Moments(value, score, hessian, (), (), curvature, tuple(k * k for k in curvature))
    level, deeper = levels[0], levels[1:]
    if len(deeper) == 1 and terminal.turns() is not None:
        ((v,), m), *_ = deeper
        apart = parting_of(terminal, v if is_frozen(m) else m * v)

    def inner(*fields: Array) -> Moments:
        return tower(terminal, deeper, n, fields, apart=apart)

    if is_frozen(level.m):
        return _envelope(terminal, inner, level, h, apart)
    averaged = inner
    if value_only:
        averaged = lambda *fields: tower(terminal, deeper, n, fields, value_only=True, apart=apart)
    return _quadrature(terminal, inner, averaged, level, h, n, even, tilt, deeper, apart)


def _nothing_but(value: Array, components: int) -> tuple[Array, Fields, tuple[Fields, ...]]:
    zeros = (jnp.zeros_like(value),) * components
    return value, zeros, (zeros,) * components


def _quadratic(terminal: Quadratic, levels: tuple[Level, ...], h: Fields) -> Moments:
    """Closed form: a quadratic stays a quadratic, a_{i-1} = a_i/(1 - m_i a_i v_i); the tilted measures are Gaussian."""
    a, value = terminal.a, jnp.zeros(())
    steps = []
    for (v,), m in reversed(levels):
        if isinstance(m, float) and m == 0.0:
            ratio, value = jnp.ones(()), value + 0.5 * a * v
        elif is_frozen(m):
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
        frozen = is_frozen(m)
        second = second / ratio**2 + (0.0 if frozen else v / ratio)
        field = field / ratio
        overlaps.append((a * a * second,))
        gaps.append((a * a * v / ratio,))
    a = terminal.a * jnp.ones_like(field)
    loose = sum((-0.5 * jnp.log(ratio) for _, _, ratio, m in steps if is_frozen(m)), jnp.zeros(()))
    return Moments(value, slope, ((outer,),), tuple(overlaps), tuple(gaps), (a,), (a * a,), fluctuation=loose)


def _quadrature(
    terminal: Terminal,
    inner: Callable,
    averaged: Callable,
    level: Level,
    h: Fields,
    n: int,
    even: bool,
    tilt: Tilt | None,
    deeper: tuple[Level, ...],
    apart: Parting | None,
) -> Moments:
    """The level by quadrature: one node axis for every component, appended to the axes of h.  averaged: `inner`, or its value alone."""
    c, m = terminal.components, level.m
    plain = isinstance(m, float) and m == 0.0
    fields, log_weights, weights, signal = [], jnp.zeros(()), jnp.ones(()), 0.0
    if tilt is not None:  # a variance that is no longer felt must not vanish: z is read off the shift
        level = level._replace(variances=(jnp.maximum(level.variances[0], least_variance(terminal, m)),))
    for i in range(c):
        shifts, factor, exponent = _steps(
            terminal, inner, i, level, h[i], n, even and i == 0, tilt, deeper, apart
        )
        axes = (..., *(None,) * i, slice(None), *(None,) * (c - 1 - i))
        fields.append(h[i][(..., *(None,) * c)] + shifts[axes])
        weights, log_weights = weights * factor[axes], log_weights + exponent[axes]
    if tilt is not None:
        exponent, signal = tilt.density(shifts / jnp.sqrt(level.variances[0])[..., None])
        log_weights = log_weights + exponent
    deep = averaged(*fields)
    axis = tuple(range(-c, 0))
    if plain:
        weights = weights * jnp.exp(log_weights)
        value = jnp.sum(weights * deep.value, axis)
    else:
        exponent, factors = m * deep.value + log_weights, weights
        top = lax.stop_gradient(jnp.max(exponent, axis, keepdims=True))
        weights = weights * jnp.exp(exponent - top)
        norm = jnp.sum(weights, axis, keepdims=True)
        value = (jnp.log(norm) + top)[(..., *(0,) * c)] / m
        if terminal.slope(0) is None:  # constraints: next to nothing where hardly anything is asked
            value = _of_little(m * deep.value, factors * jnp.exp(log_weights), axis, m * value) / m
        weights = weights / norm

    def mean(x: Array) -> Array:
        return jnp.sum(weights * x, axis)

    # an even tower has no mean score, and half of its nodes cannot tell
    score = tuple(jnp.zeros_like(value) if even else mean(g) for g in deep.score)
    around = tuple(g - s[(..., *(None,) * c)] for g, s in zip(deep.score, score))
    spread = tuple(mean(g * g) for g in around)
    own = tuple(mean(g * g) for g in deep.score)
    hessian = tuple(
        tuple(mean(k if plain else k + m * (a * b)) for k, b in zip(row, around))
        for row, a in zip(deep.hessian, around)
    )
    rest = jax.tree.map(mean, (deep.overlap, deep.gap, deep.curvature, deep.curvature2, deep.fluctuation))
    cross = 0.0 if tilt is None else mean(signal * deep.score[0])
    gaps = rest[1]
    if plain and deeper and is_frozen(deeper[0].m) and _parts(terminal):
        crossing = _crossing(inner, level.variances[0], deeper[0].variances[0], h[0], tilt, apart)
        gaps = ((gaps[0][0] + crossing,), *gaps[1:])
        hessian = ((hessian[0][0] + crossing,),) if c == 1 else hessian
    return Moments(value, score, hessian, (own, *rest[0]), (spread, *gaps), rest[2], rest[3], cross, rest[4])


def _of_little(exponent: Array, weights: Array, axis: tuple[int, ...], otherwise: Array) -> Array:
    """log E exp(exponent), relatively accurate where it is next to nothing."""
    lost = jnp.sum(weights * jnp.expm1(jnp.minimum(exponent, 1.0)), axis)
    # nodes that follow a tilted measure leave the bulk
    whole = (jnp.sum(weights, axis) > 1.0 - 1e-12) & (jnp.max(exponent, axis) < 1.0)
    little = whole & (jnp.abs(lost) < 0.1)
    return jnp.where(little, jnp.log1p(jnp.where(little, lost, 0.0)), otherwise)


def _parts(terminal: Terminal) -> bool:
    """Whether f(x) - (x - h)^2/(2 v) may have two maxima."""
    return bool(terminal.slope(0)) or terminal.turns() is not None


def _crossing(
    inner: Callable, v: Array, deeper: Array, h: Array, tilt: Tilt | None, apart: Parting | None
) -> Array:
    """What the jump of the score between the maxima of an m = inf level adds to its lim m gap, and to the hessian: (density of the field
    there) (jump).

    At finite m two maxima of scores a < b share the measure over a width 1/m of the field, with variance (b - a)^2 p (1 - p),
    p = 1/(1 + e^(-m (b - a) h)): its integral times m is b - a.
    """
    if apart is None:
        place = jnp.zeros(())
        at = lambda x: inner(jnp.full(jnp.shape(h), x)).score[0]
        jump = at(1e-13) - at(-1e-13)
    else:
        place, jump = apart.field, (apart.above - apart.below) / deeper
    z = (place - h) / jnp.sqrt(v)
    density = jnp.exp(-0.5 * z**2) / jnp.sqrt(2 * np.pi * v)
    if tilt is not None:
        density = density * jnp.exp(tilt.density(z)[0])
    return density * jump


def least_variance(terminal: Terminal, m: float | Array) -> Array:
    """The least variance that is integrated by nodes (below it a stencil stands in); a tilt is given at no smaller one."""
    width = jnp.minimum(1.0, jnp.stack([jnp.asarray(w, float) for w in terminal.bends(0, m).widths]).min(0))
    return lax.stop_gradient(1.01 * SMALL * width**2)


def _steps(
    terminal: Terminal,
    inner: Callable,
    component: int,
    level: Level,
    h: Array,
    n: int,
    even: bool,
    tilt: Tilt | None,
    deeper: tuple[Level, ...],
    apart: Parting | None,
) -> tuple[Array, Array, Array]:
    """Shifts sqrt(v) z_j of the field, and their weights as (factor, logarithm of the rest).

    v << (width of the bend)^2: a seven-point stencil, F + (v/2) F'' with F'' by central differences of sixth order at `_STENCIL` widths.  The
    nodes stay where they are and the weights are linear in v, so v = 0 is an ordinary point; otherwise the rule of `quadrature`.
    """
    m = level.m
    plain = isinstance(m, float) and m == 0.0
    bends = terminal.bends(component, m)
    everywhere = lambda x: jnp.broadcast_to(jnp.asarray(x, float), jnp.shape(h))
    v = everywhere(level.variances[component])
    width = jnp.minimum(1.0, jnp.stack([jnp.asarray(w, float) for w in bends.widths]).min(0))
    slope = terminal.slope(component)
    # a deeper level of large m turns a bounded slope over 1/m
    sharp = sum((abs(slope) * deep.m for deep in deeper if slope and not is_frozen(deep.m)), 0.0)
    if plain:
        width = 1.0 / (1.0 / width + sharp)
    else:  # exp(m f) varies over 1/(m |f'|)
        steepness = jnp.abs(inner(h).score[0]) if slope is None else slope
        width = 1.0 / (1.0 / width + m * steepness)
    width = everywhere(lax.stop_gradient(width))
    parting = _parts(terminal) and any(is_frozen(deep.m) for deep in deeper)
    small = (v <= 0.0) if parting else (v < SMALL * width**2)  # two maxima part at every variance
    scale = jnp.sqrt(jnp.where(small, 1.0, v))
    if plain or slope == 0.0:
        # m = inf: it jumps between two maxima, which part at variance 1 with the cube root of the field
        frozen = [deep for deep in deeper if slope and is_frozen(deep.m)]
        jumps = terminal.jumps or bool(frozen)
        for deep in frozen:
            critical = jnp.abs(1.0 - deep.variances[component] * (slope or 0.0) ** 2) ** 1.5
            sharp = sharp + 1.0 / lax.stop_gradient(jnp.maximum(critical, 1e-5))
        positions = tuple((b - h) / scale for b in bends.positions)
        widths = tuple(everywhere(w / (1.0 + sharp * w)) / scale for w in bends.widths)
        if slope is None and terminal.turns() is None and any(is_frozen(deep.m) for deep in deeper[:1]):
            more = [
                _released(terminal, b, w, deeper[0].variances[0])
                for b, w in zip(bends.positions, bends.widths)
            ]
            positions = (*positions, *((b - h) / scale for b, _ in more))
            widths = (*widths, *(everywhere(w) / scale for _, w in more))
        if apart is not None:
            jumps = jumps or is_frozen(deeper[0].m)
            unlike = jnp.abs(1.0 - apart.branches.convexity)
            near = jnp.minimum(1.0, unlike**1.5) * bends.widths[0]
            if not is_frozen(deeper[0].m):  # over 1/(m times the jump of the score)
                near = 1.0 / (1.0 / near + (apart.above - apart.below) / deeper[0].variances[component])
            positions = (*positions, (apart.field - h) / scale)
            widths = (*widths, everywhere(lax.stop_gradient(near)) / scale)
        if tilt is not None:
            positions = (*positions, *(everywhere(p) for p in tilt.positions))
            widths = (*widths, *(everywhere(w) for w in tilt.widths))
        centre = jnp.zeros_like(scale) if tilt is None else everywhere(tilt.centre)
        # the squared score of a constraint that is hardly ever felt, exp(-((z - b)/w)^2), lies around 2 b/(2 + w^2), w widened by deeper
        # levels: b is the margin (the widest bend; narrower ones are where the score ends)
        wider = sum((everywhere(deep.variances[component]) for deep in deeper), jnp.zeros(())) / scale**2
        own = [everywhere(w) / scale for w in bends.widths]
        widest = jnp.stack(own).max(0)
        peaks = [2.0 * (b - h) / scale / (2.0 + w**2 + wider) for b, w in zip(bends.positions, own)]
        peaks = jnp.stack([jnp.where(w < widest, 0.0, x) for x, w in zip(peaks, own)])
        beyond = lambda far: RANGE + jnp.maximum(0.0, jnp.max(far, 0) - _FAR)
        ends = dict(lower=centre - beyond(-peaks), upper=centre + beyond(peaks))
        rule = gaussian_rule(positions, widths, n, even=even, moving=jumps, **ends)
    elif slope is None:
        if terminal.turns() is None or deeper:
            peaks = (peak(inner, h, scale, m),)
        else:
            peaks = both_peaks(terminal, h, scale, m)
        centres = tuple(centre for centre, _ in peaks)
        positions = (*centres, *((b - h) / scale for b in bends.positions))
        widths = (*(spread for _, spread in peaks), *(everywhere(w) / scale for w in bends.widths))
        ends = dict(
            lower=functools.reduce(jnp.minimum, centres) - RANGE,
            upper=functools.reduce(jnp.maximum, centres) + RANGE,
        )
        rule = gaussian_rule(positions, widths, n, **ends)
    else:
        # the tilt moves the measure by at most m sqrt(v) |f'|; log-convex terms pile it up at both ends: nodes everywhere
        reach = RANGE + slope * m * scale
        positions = tuple((b - h) / scale for b in bends.positions)
        widths = tuple(jnp.maximum(everywhere(w) / scale, reach / 3.0) for w in bends.widths)
        ends = -reach, reach
        if even and len(positions) == 1:  # a pair of peaks far apart
            centre, narrow = _far_peak(terminal, scale, m)
            positions, widths = (centre,), (jnp.clip(_APART / reach, 3.0 * narrow, widths[0]),)
        elif terminal.components == 1 and len(positions) == 1 and not deeper:
            # far out it is a peak, or two
            far = reach > 2.0 * RANGE
            peaks, spread, within = _far_peaks(terminal, positions[0], h, scale, m, far)
            centre = 0.5 * (peaks[0] + peaks[1])
            positions = tuple(jnp.where(far, p, positions[0]) for p in peaks)
            widths = (jnp.where(far, spread, widths[0]),)
            ends = jnp.where(far, centre - within, -reach), jnp.where(far, centre + within, reach)
        rule = gaussian_rule(positions, widths, n, lower=ends[0], upper=ends[1], even=even)
    nodes, second = _stencil(rule.nodes.shape[-1], even)
    centre = np.arange(len(nodes)) == 0
    fixed = lambda x: jnp.asarray(x, float).reshape((1,) * jnp.ndim(h) + (-1,))
    shifts = jnp.where(
        small[..., None], _STENCIL * width[..., None] * fixed(nodes), scale[..., None] * rule.nodes
    )
    weights = fixed(centre) + 0.5 * (v / (_STENCIL * width) ** 2)[..., None] * fixed(second)
    factor = jnp.where(small[..., None], weights, rule.jacobian)
    return shifts, factor, jnp.where(small[..., None], 0.0, rule.log_density)


def _released(terminal: Terminal, bend: Array, width: Array, v: Array) -> tuple[Array, Array]:
    """Where a field ceases to feel a constraint over an m = inf level of large variance v, and over what width.

    Beside a bend the curvature of f falls from 1/width^2 like a Gaussian tail, on one side only; log(1 - v f'') bends where v f'' is about 1.
    """
    bend, width, v = lax.stop_gradient((jnp.asarray(bend, float), jnp.asarray(width, float), v))
    far = jnp.sqrt(2.0 * jnp.log1p(jnp.abs(v) / width**2))
    curvature = lambda side: jnp.abs(terminal.derivatives(bend + side * far * width)[2][0][0])
    side = jnp.where(curvature(1.0) < curvature(-1.0), 1.0, -1.0)
    return bend + side * far * width, width / jnp.maximum(1.0, 0.5 * far)


def peak(inner: Callable, h: Array, scale: Array, m: float | Array) -> tuple[Array, Array]:
    """Where m f(h + scale z) - z^2/2 is largest and how wide it is there, for concave f with unbounded slope (constraints).

    Newton on z - m scale f', which is concave for these f and climbs monotonically from the left; the exponent is strongly concave, so
    everything lies within RANGE of its peak.
    """

    def step(_: int, z: Array) -> Array:
        deep = inner(h + scale * z)
        return z - (z - m * scale * deep.score[0]) / (1.0 - m * scale**2 * deep.hessian[0][0])

    z = lax.fori_loop(0, 10, step, jnp.zeros_like(h + scale))
    z = lax.stop_gradient(z)
    curvature = 1.0 - m * scale**2 * inner(h + scale * z).hessian[0][0]
    return z, lax.stop_gradient(1.0 / jnp.sqrt(jnp.maximum(curvature, 1.0)))


def _far_peak(terminal: Terminal, scale: Array, m: float | Array) -> tuple[Array, Array]:
    """Where m f(scale z) - z^2/2 of an even terminal with bounded slope has its outer maximum, and how wide it is.

    The fixed point z = m scale f' is approached from above, where it cannot be missed; 0 if there is no pair of maxima.
    """
    terminal, scale, m = jax.tree.map(lax.stop_gradient, (terminal, scale, jnp.asarray(m, float)))
    zeros = (jnp.zeros_like(scale),) * (terminal.components - 1)

    def at(z: Array) -> tuple[Array, Array]:
        _, score, hessian = terminal.derivatives(scale * z, *zeros)
        return m * scale * score[0], 1.0 - m * scale**2 * hessian[0][0]

    def step(_: int, z: Array) -> Array:
        target, slope = at(z)
        return jnp.maximum(z - (z - target) / jnp.maximum(slope, 0.1), 0.0)

    z = lax.fori_loop(0, 12, step, m * scale * (terminal.slope(0) or 0.0) * jnp.ones_like(scale))
    return z, 1.0 / jnp.sqrt(jnp.clip(at(z)[1], 0.05, 1.0))


def _far_peaks(
    terminal: Terminal, bend: Array, h: Array, scale: Array, m: float | Array, wanted: Array
) -> tuple[tuple[Array, Array], Array, Array]:
    """The maxima of m f(h + scale z) - z^2/2 (f convex with bounded slope, and a bend), how wide they are, and how far from their middle
    everything lies; meaningless if none of them is `wanted`.

    The outermost ones, by Newton from beyond in x = h + scale z; twice the higher one where the other one does not count.
    """
    terminal, bend, h, scale = jax.tree.map(lax.stop_gradient, (terminal, h + scale * bend, h, scale))
    m, bound = lax.stop_gradient(jnp.asarray(m, float)), terminal.slope(0) or 0.0
    v = m * scale**2

    def at(x: Array, h: Array, v: Array) -> tuple[Array, Array]:
        _, score, hessian = terminal.derivatives(x)
        return x - h - v * score[0], 1.0 - v * hessian[0][0]

    def step(_: int, x: Array) -> Array:
        excess, slope = at(x, h[None], v[None])
        return jnp.clip(x - excess / jnp.maximum(slope, 0.1), (h - bound * v)[None], (h + bound * v)[None])

    steps = jnp.where(jnp.any(wanted), 10, 0)
    up, down = lax.fori_loop(0, steps, step, jnp.stack([h + bound * v, h - bound * v]))
    height = lambda x: m * terminal(x) - 0.5 * ((x - h) / scale) ** 2
    high, low = height(up), height(down)
    best, one = jnp.where(high > low, up, down), jnp.abs(high - low) > _NEVER
    wide = lambda x: 1.0 / jnp.sqrt(jnp.clip(at(x, h, v)[1], 1.0 / jnp.sqrt(1.0 + m), 1.0))
    up, down = jnp.where(one, best, up), jnp.where(one, best, down)
    apart, spread = 0.5 * jnp.abs(up - down) / scale, wide(best)
    # a single peak is widest towards the bend
    flat = jnp.where(height(best) - height(bend) < _NEVER, RANGE * wide(bend), 0.0)
    return ((down - h) / scale, (up - h) / scale), spread, jnp.maximum(apart + RANGE * spread, flat)


def _stencil(n: int, even: bool) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (the centre first) and weights of the second difference of sixth order, padded to n; `even`: folded."""
    half = np.array([3 / 2, -3 / 20, 1 / 90])
    nodes = [0, 1, 2, 3] if even else [0, 1, 2, 3, -1, -2, -3]
    weights = [-49 / 18, *(2 * half if even else (*half, *half))]
    pad = np.zeros(n - len(nodes))
    return np.concatenate([nodes, pad]), np.concatenate([weights, pad])


def _envelope(terminal: Terminal, inner: Callable, level: Level, h: Fields, apart: Parting | None) -> Moments:
    """m = inf for a one-component terminal: x = h + v f'(x), value f(x) - (x - h)^2/(2 v) (v < 0: the stationary point).

    Newton on x - h - v f'(x): for concave f its slope 1 - v f'' stays positive; where f is convex with a bounded slope (log 2cosh) the
    maximum is the root on the side of h, reached monotonically from h + v (largest slope); of an f that `turns` the higher of two maxima is on
    the side of h of their parting.  Two more steps outside `stop_gradient` make the first three derivatives those of the implicit function.
    """
    (v,), (h0,) = level.variances, h
    slope = terminal.slope(0)
    if terminal.turns() is None:
        far = h0 if slope is None else h0 + jnp.maximum(v, 0.0) * slope * jnp.sign(h0)
    else:
        apart = parting_of(terminal, v) if apart is None else apart
        far = stationary(terminal, v, apart.branches, h0, h0 > apart.field)

    def step(x: Array) -> Array:
        deep = inner(x)
        return x - (x - h0 - v * deep.score[0]) / (1.0 - v * deep.hessian[0][0])

    def going(carry: tuple[Array, Array, Array]) -> Array:
        _, moved, count = carry
        return jnp.any(moved) & (count < 100)

    start = lax.stop_gradient(far)
    # what the step closes over carries no derivative into the loop
    plain, closed = jax.closure_convert(step, start)
    closed = [lax.stop_gradient(c) for c in closed]

    def advance(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        x, _, count = carry
        new = plain(x, *closed)
        return new, jnp.abs(new - x) > 1e-13 * (1.0 + jnp.abs(x)), count + 1

    x, _, _ = lax.while_loop(going, advance, (start, jnp.ones_like(start, bool), jnp.zeros((), int)))
    for _ in range(2):
        x = step(x)
    deep = inner(x)
    g, k = deep.score[0], deep.hessian[0][0]
    value = deep.value - 0.5 * v * g * g
    hessian, gap = k / (1.0 - v * k), v * k * k / (1.0 - v * k)
    return Moments(
        value,
        (g,),
        ((hessian,),),
        ((g * g,), *deep.overlap),
        ((gap,), *deep.gap),
        deep.curvature,
        deep.curvature2,
        fluctuation=-0.5 * jnp.log(jnp.maximum(1.0 - v * k, 1e-300)),
    )
