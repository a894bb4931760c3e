r"""Convex losses at zero temperature.  Seen through a cavity of field h and variance V a loss is its Moreau envelope,

    g(h; V) = max_x [ -l(x) - (x - h)^2/(2V) ],    g' = (x - h)/V = -l'(x),    g'' = -l''/(1 + V l''),

at the proximal point x(h, V); where x rests in a kink of l, g'' = -1/V.
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

from replicax.vocabulary.levels import Bends, Fields, Terminal

_EXPLICIT_STEPS = 9
_SAFE_STEPS = 200
#: kinks of a user's function are looked for up to here, closely and at all
_NEAR, _FAR = 20.0, 1e3


class Envelope(NamedTuple):
    """The envelope g, its derivatives g' and g'' in the field, and the proximal point x."""

    value: Array
    score: Array
    curvature: Array
    point: Array


class Loss(eqx.Module):
    """A convex loss l(x) of a stability x = y Delta (labels y = +-1) or of a residual x = y - Delta (real labels).

    Subclasses give `__call__`, elementwise, and `kinks` where l' or l'' jumps; `moreau` where they know it in closed form.  `margin`: of a stability
    only, and without a minimum where a margin exists.
    """

    name: ClassVar[str] = "custom"
    margin: ClassVar[bool] = False

    @abc.abstractmethod
    def __call__(self, x: Array) -> Array:
        """l(x)."""

    @property
    def kinks(self) -> tuple[float, ...]:
        return ()

    def slope(self, x: Array) -> Array:
        """l'(x)."""
        return jax.jvp(self, (x,), (jnp.ones_like(x),))[1]

    def moreau(self, h: Array, V: Array) -> Envelope:
        """The envelope at fields h; by Newton steps inside a bracket."""
        V = V * jnp.ones_like(h)
        found, resting = lax.stop_gradient(_proximal(self, h, V))
        if self.kinks:
            away = jnp.stack([jnp.abs(found - kink) for kink in self.kinks])
            found = jnp.where(resting, jnp.asarray(self.kinks, float)[jnp.argmin(away, 0)], found)
        x = found
        for _ in range(2):  # the derivatives of the proximal point: two steps know two of them
            slope, bend = self._slopes(x)
            x = jnp.where(resting, found, x - (x - h + V * slope) / (1.0 + V * bend))
        slope, bend = self._slopes(x)
        score = jnp.where(resting, (x - h) / V, -slope)
        curvature = jnp.where(resting, -1.0 / V, -bend / (1.0 + V * bend))
        return Envelope(-self(x) - 0.5 * V * score**2, score, curvature, x)

    def bends(self, V: Array) -> Bends:
        """Where g' bends in h, and over what width: where the proximal point meets a kink, else at 0."""
        if not self.kinks:
            return Bends((jnp.zeros_like(V),), (jnp.ones_like(V),))
        at = jnp.asarray(self.kinks, float)
        near = 1e-6 * (1.0 + jnp.abs(at))
        ends = jnp.concatenate([at + V * self.slope(at - near), at + V * self.slope(at + near)])
        return Bends(tuple(ends), (jnp.ones_like(V),) * len(ends))

    def _slopes(self, x: Array) -> tuple[Array, Array]:
        return jax.jvp(self.slope, (x,), (jnp.ones_like(x),))


def _proximal(loss: Loss, h: Array, V: Array) -> tuple[Array, Array]:
    """The root of x - h + V l'(x), and whether it is a jump through 0: Newton inside a bracket, which every third step halves."""
    far = h - V * loss.slope(h)
    low, high = jnp.minimum(h, far), jnp.maximum(h, far)
    reach = 1e-18 * (jnp.abs(h) + jnp.abs(far))

    def going(s: tuple) -> Array:
        return (s[-1] < _SAFE_STEPS) & ~jnp.all(s[-2])

    def advance(s: tuple) -> tuple:
        low, high, x, _, count = s
        slope, bend = loss._slopes(x)
        value = x - h + V * slope
        low, high = jnp.where(value <= 0, x, low), jnp.where(value >= 0, x, high)
        met = jnp.abs(value) <= 4e-16 * (jnp.abs(x) + jnp.abs(h) + V * jnp.abs(slope))
        done = met | (high - low <= 4e-16 * (jnp.abs(low) + jnp.abs(high)) + reach)
        newton = x - value / (1.0 + V * bend)
        inside = (newton > low) & (newton < high) & (count % 3 != 2)
        return low, high, jnp.where(done, x, jnp.where(inside, newton, 0.5 * (low + high))), done, count + 1

    start = (low, high, 0.5 * (low + high), jnp.zeros_like(h, bool), jnp.zeros((), int))
    x = lax.while_loop(going, advance, start)[2]
    slope, bend = loss._slopes(x)
    mismatch = jnp.abs(x - h + V * slope)
    return x, mismatch > 1e-9 * (jnp.abs(x) + jnp.abs(h)) * (1.0 + V * bend)


class Square(Loss):
    """l = (1 - x)^2/2 of a stability: y = +-1 fitted as numbers; x^2/2 of a residual (target = 0)."""

    name: ClassVar[str] = "square"
    target: float = eqx.field(static=True, default=1.0)

    def __call__(self, x: Array) -> Array:
        return 0.5 * (self.target - x) ** 2

    def moreau(self, h: Array, V: Array) -> Envelope:
        score = (self.target - h) / (1.0 + V)
        return Envelope(-0.5 * (self.target - h) * score, score, -jnp.ones_like(h) / (1.0 + V), h + V * score)


class Logistic(Loss):
    """l = log(1 + e^-x): cross-entropy."""

    name: ClassVar[str] = "logistic"
    margin: ClassVar[bool] = True

    def __call__(self, x: Array) -> Array:
        return jnp.logaddexp(0.0, -x)

    def moreau(self, h: Array, V: Array) -> Envelope:
        V = V * jnp.ones_like(h)
        x = _logistic_point(h, V)
        score = jax.nn.sigmoid(-x)
        bend = score * jax.nn.sigmoid(x)
        return Envelope(-self(x) - 0.5 * V * score**2, score, -bend / (1.0 + V * bend), x)

    def bends(self, V: Array) -> Bends:
        """x - h = V e^-x for large V: x leaves the field where V e^-h ~ 1."""
        return Bends((jnp.log1p(V),), (jnp.ones_like(V),))


@jax.custom_jvp
def _logistic_point(h: Array, V: Array) -> Array:
    """x = h + V/(1 + e^x).

    By the symmetry x -> -x, h -> -h - V the root is x >= 0; there x - h - V/(1 + e^x) is concave and increasing, and Newton from the left is
    monotone.  It starts where V e^-x/2 = x - h nearly holds.
    """
    mirrored = h < -0.5 * V
    h = jnp.where(mirrored, -h - V, h)
    log = jnp.log(0.5 * V) - h
    start = jnp.where(log > 1.0, h + log - jnp.log(jnp.maximum(log, 1.0)), h)
    x = jnp.maximum(start, 0.0)
    for _ in range(_EXPLICIT_STEPS):
        score = jax.nn.sigmoid(-x)
        x = x - (x - h - V * score) / (1.0 + V * score * (1.0 - score))
    return jnp.where(mirrored, -x, x)


@_logistic_point.defjvp
def _(primals, tangents):
    (h, V), (dh, dV) = primals, tangents
    x = _logistic_point(h, V)
    score = jax.nn.sigmoid(-x)
    return x, (dh + score * dV) / (1.0 + V * score * jax.nn.sigmoid(x))


class Hinge(Loss):
    """l = (1 - x)_+."""

    name: ClassVar[str] = "hinge"
    margin: ClassVar[bool] = True

    def __call__(self, x: Array) -> Array:
        return jnp.maximum(1.0 - x, 0.0)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (1.0,)

    def moreau(self, h: Array, V: Array) -> Envelope:
        gap = jnp.maximum(1.0 - h, 0.0)
        resting = gap < V
        value = jnp.where(resting, -0.5 * gap**2 / V, 0.5 * V - gap)
        curvature = jnp.where(resting & (gap > 0), -1.0 / V, 0.0)
        score = jnp.where(resting, gap / V, 1.0)
        return Envelope(value, score, curvature, h + V * score)

    def bends(self, V: Array) -> Bends:
        return Bends((jnp.ones_like(V), 1.0 - V), (jnp.ones_like(V),) * 2)


class MaxMargin(Loss):
    """x >= 1 is enforced: the smallest weights with margin 1, and so the largest margin at given norm."""

    name: ClassVar[str] = "margin"
    margin: ClassVar[bool] = True

    def __call__(self, x: Array) -> Array:
        return jnp.where(x >= 1.0, 0.0, jnp.inf)

    @property
    def kinks(self) -> tuple[float, ...]:
        return (1.0,)

    def moreau(self, h: Array, V: Array) -> Envelope:
        gap = jnp.maximum(1.0 - h, 0.0)
        curvature = jnp.where(gap > 0, -1.0 / V, 0.0)
        return Envelope(-0.5 * gap**2 / V, gap / V, curvature, h + gap)

    def bends(self, V: Array) -> Bends:
        return Bends((jnp.ones_like(V),), (jnp.ones_like(V),))


class _Function(Loss):
    """A convex function of the user's, by itself; jumps of its derivatives are found."""

    function: Callable = eqx.field(static=True)

    def __call__(self, x: Array) -> Array:
        return self.function(x)

    @property
    def kinks(self) -> tuple[float, ...]:
        return _jumps(self.function)


@functools.lru_cache(maxsize=256)
def _jumps(function: Callable) -> tuple[float, ...]:
    """Where l' or l'' jumps: cells of a grid, each halved towards the larger difference, in which a difference survives."""
    loss, found = _Function(function), []
    # no number that a kink is likely to lie at is an end of a cell
    grid = np.concatenate(
        [np.linspace(-_NEAR, _NEAR, 4001), *(s * np.geomspace(_NEAR, _FAR, 400) for s in (1, -1))]
    )
    edges = np.unique(grid) + 0.001 * np.pi / 7
    with jax.ensure_compile_time_eval(), np.errstate(invalid="ignore", over="ignore"):
        at = jax.jit(loss._slopes)
        for k in (0, 1):
            g = lambda x, k=k: np.asarray(at(jnp.asarray(x))[k])
            low, high = edges[:-1], edges[1:]
            below, above = g(low), g(high)
            scale = np.maximum(np.abs(below) + np.abs(above), 1e-3)
            for _ in range(45):
                middle = 0.5 * (low + high)
                value = g(middle)
                left = np.abs(value - below) > np.abs(above - value)
                low, below = np.where(left, low, middle), np.where(left, below, value)
                high, above = np.where(left, middle, high), np.where(left, value, above)
            found.append(0.5 * (low + high)[np.abs(above - below) > 1e-5 * scale])
    places = np.unique(np.round(np.concatenate(found), 12))
    return tuple(float(x) for x in places[np.diff(places, prepend=-np.inf) > 1e-9])


LOSSES = {loss.name: loss for loss in (Square(), Logistic(), Hinge(), MaxMargin())}


def as_loss(given: Any) -> Any:
    """A name, a convex function of arrays, or a `Loss`, as a field of a model.  (An unknown name is left for the check of the model.)"""
    if isinstance(given, str):
        return LOSSES.get(given, given)
    return given if isinstance(given, Loss) or not callable(given) else _Function(given)


class EnvelopeTerminal(Terminal):
    """h -> g(h; V), the innermost function of a tower at zero temperature."""

    loss: Loss
    V: Array

    @property
    def jumps(self) -> bool:  # type: ignore[override]
        return bool(self.loss.kinks)

    def __call__(self, *h: Array) -> Array:
        return self.loss.moreau(h[0], self.V).value

    def derivatives(self, *h: Array) -> tuple[Array, Fields, tuple[Fields, ...]]:
        value, score, curvature, _ = self.loss.moreau(h[0], self.V)
        return value, (score,), ((curvature,),)

    def bends(self, component: int, m: Any) -> Bends:
        return self.loss.bends(self.V)
