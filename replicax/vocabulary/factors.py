r"""Factors: what one pattern asks of its stability Delta.

A factor is a weight exp(-beta l(Delta)) on the stability.  Seen through a cavity, Delta ~ N(h, V), it becomes

    log f(h; V) = log E_{x ~ N(h, V)} exp(-beta l(x)),

given in closed form where there is one, otherwise integrated from `log_weight`.  Fields are multiplied by 1/sqrt(V), not divided by sqrt(V): XLA
rewrites some of several such divisions, and no longer sees that a function and its derivatives have the same argument.
"""

import abc
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.brackets import halved
from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.special import inverse_H, log_add_exp, log_diff_H, log_H
from replicax.vocabulary.levels import Bends, Terminal
from replicax.vocabulary.parting import Turns

_NODES = 128
#: a constraint may leave only the tail of the cavity's Gaussian: its own range is wider
_REACH = 14.0
_LOG_2PI = float(np.log(2 * np.pi))
#: in units of sqrt(V), beyond where log f is most convex: its slope has vanished
_NOWHERE = 40.0


class Factor(eqx.Module):
    """A constraint or loss on the stability; subclasses give `log_weight` and, if they can, `log_partition`."""

    even: ClassVar[bool] = False

    @abc.abstractmethod
    def log_weight(self, x: Array) -> Array:
        """-beta l(x), elementwise (-inf where forbidden)."""

    def kinks(self) -> tuple[Array | float, ...]:
        """Stabilities at which the weight is not smooth."""
        return (0.0,)

    def log_partition(self, h: Array, V: Array) -> Array:
        """log f(h; V), elementwise; by quadrature with panels at the kinks unless overridden."""
        scale = jnp.sqrt(V)
        positions = tuple((k - h) / scale for k in self.kinks())
        # the panels move with the kinks: a jump of the weight has its derivative in where it lies
        widths = (jnp.ones_like(h / scale),) * len(positions)
        rule = gaussian_rule(positions, widths, _NODES, lower=-_REACH, upper=_REACH, moving=True)
        x = h[..., None] + scale * rule.nodes
        return jax.scipy.special.logsumexp(self.log_weight(x) + rule.log_weights, axis=-1)

    def bends(self, V: Array, m: float | Array) -> Bends:
        """Bends of exp(m log f) in h (m = 0: of log f): at the kinks, over sqrt(V)."""
        kinks = self.kinks()
        return Bends(kinks, (jnp.sqrt(V),) * len(kinks))

    def turns(self, V: Array) -> Turns | None:
        """Where log f turns, if it is not concave in h."""
        return None

    def terminal(self, V: Array) -> "FactorTerminal":
        return FactorTerminal(self, V)


class FactorTerminal(Terminal):
    """h -> log f(h; V) as the terminal of a tower."""

    factor: Factor
    V: Array

    @property
    def even(self) -> bool:  # type: ignore[override]
        return self.factor.even

    def __call__(self, *h: Array) -> Array:
        return self.factor.log_partition(h[0], self.V)

    def bends(self, component: int, m) -> Bends:
        return self.factor.bends(self.V, m)

    def turns(self) -> Turns | None:
        return self.factor.turns(self.V)


def onset(m: float | Array) -> tuple[Array, Array]:
    """Where exp(m log H(-u)) rises from 0 to 1, and over what width: m H(u) ~ 1 (u = 0, width 1 for m <= 1)."""
    u = jnp.maximum(0.0, inverse_H(1.0 / (1.0 + jnp.maximum(jnp.asarray(m, float), 1.0))))
    return u, 1.0 / (1.0 + u)


class GroundTerminal(Terminal):
    r"""Zero temperature: g(h; chi) = max_x [ -l(x) - (x - h)^2/(2 chi) ] of a loss, chi = lim beta V."""

    jumps: ClassVar[bool] = True

    loss: "Errors | SquaredHinge"
    chi: Array

    def __call__(self, *h: Array) -> Array:
        return self.loss.envelope(h[0], self.chi)

    def bends(self, component: int, m) -> Bends:
        kinks = self.loss.envelope_kinks(self.chi)
        return Bends(kinks, (jnp.ones_like(self.chi),) * len(kinks))


class WeightTerminal(Terminal):
    """h -> log-weight of a factor: the limit V -> 0, in which a level sees the loss itself."""

    jumps: ClassVar[bool] = True

    factor: Factor

    def __call__(self, *h: Array) -> Array:
        return self.factor.log_weight(h[0])

    def bends(self, component: int, m) -> Bends:
        kinks = tuple(jnp.asarray(k, float) for k in self.factor.kinks())
        return Bends(kinks, (jnp.ones(()),) * len(kinks))


class HardMargin(Factor):
    """Delta >= kappa: f = H(u), u = (kappa - h)/sqrt(V)."""

    kappa: Array | float = 0.0

    def log_weight(self, x: Array) -> Array:
        return jnp.where(x >= self.kappa, 0.0, -jnp.inf)

    def kinks(self) -> tuple[Array | float, ...]:
        return (self.kappa,)

    def log_partition(self, h: Array, V: Array) -> Array:
        return log_H((self.kappa - h) * lax.rsqrt(V))

    def bends(self, V: Array, m: float | Array) -> Bends:
        u, width = onset(m)
        return Bends((self.kappa + u * jnp.sqrt(V),), (width * jnp.sqrt(V),))


class Errors(Factor):
    """Number of errors at inverse temperature beta: weight e^-beta below kappa; f = e^-beta + (1 - e^-beta) H(u)."""

    kappa: Array | float = 0.0
    beta: Array | float = 1.0

    def log_weight(self, x: Array) -> Array:
        return jnp.where(x >= self.kappa, 0.0, -jnp.asarray(self.beta, float))

    def kinks(self) -> tuple[Array | float, ...]:
        return (self.kappa,)

    def log_partition(self, h: Array, V: Array) -> Array:
        # f = H + e^-beta (1 - H), safe at beta = 0 and beta = inf
        u = (self.kappa - h) * lax.rsqrt(V)
        return log_add_exp(log_H(u), log_H(-u) - self.beta)

    def bends(self, V: Array, m: float | Array) -> Bends:
        # a second bend where H(u) falls below e^-beta: the parabola goes flat over 1/u
        u = jnp.sqrt(2.0 * jnp.where(jnp.isinf(self.beta), 1e4, self.beta))
        scale = jnp.sqrt(V)
        return Bends((self.kappa, self.kappa - u * scale), (scale, scale / (1.0 + u)))

    def turns(self, V: Array) -> Turns:
        """With r = sqrt(V) d log f/dh at h = kappa - u sqrt(V) and w = u - r: the second derivative is r w/V, the third is of the sign of
        1 + r w - w^2.
        """
        beta = jnp.minimum(jnp.asarray(self.beta, float), 1e4)
        share = jnp.log(-jnp.expm1(-beta))

        def slope(u: Array) -> Array:
            return jnp.exp(share - 0.5 * (u * u + _LOG_2PI) - log_add_exp(log_H(u), log_H(-u) - beta))

        def convex(u: Array) -> Array:
            return u - slope(u)

        def past(u: Array) -> Array:
            r = slope(u)
            return u - 0.5 * (3.0 * r + jnp.sqrt(r * r + 4.0))

        far = jnp.sqrt(2.0 * beta) + 3.0
        steepest = halved(convex, jnp.zeros_like(far), far)
        bend = halved(past, steepest, far)
        at = lambda u: lax.stop_gradient(self.kappa - u * jnp.sqrt(V))
        return Turns(at(bend + _NOWHERE), at(bend), at(steepest))

    def envelope(self, h: Array, chi: Array) -> Array:
        """max(-1, -(kappa - h)_+^2/(2 chi))."""
        gap = jnp.maximum(self.kappa - h, 0.0)
        return jnp.where(gap**2 < 2.0 * chi, -0.5 * gap**2 / chi, -1.0)

    def envelope_kinks(self, chi: Array) -> tuple[Array, ...]:
        return (jnp.asarray(self.kappa, float), self.kappa - jnp.sqrt(2.0 * chi))


class SquaredHinge(Factor):
    """l = (kappa - Delta)_+^2/2 at inverse temperature beta (soft spheres).

    f = H(u) + (1 + beta V)^(-1/2) exp(-beta g^2/(2(1 + beta V))) H(-u/sqrt(1 + beta V)),  g = kappa - h, u = g/sqrt(V).
    """

    kappa: Array | float = 0.0
    beta: Array | float = 1.0

    def log_weight(self, x: Array) -> Array:
        missed = jnp.maximum(self.kappa - x, 0.0)
        return -0.5 * jnp.where(missed > 0, self.beta, 0.0) * missed**2

    def kinks(self) -> tuple[Array | float, ...]:
        return (self.kappa,)

    def log_partition(self, h: Array, V: Array) -> Array:
        # beta = inf may stand in an array: the hard margin, with finite numbers behind the `where` for the derivatives
        cold = jnp.isinf(self.beta)
        beta = jnp.where(cold, 1.0, self.beta)
        gap, stretch = self.kappa - h, 1.0 + beta * V
        u = gap * lax.rsqrt(V)
        below = -0.5 * beta * gap**2 / stretch - 0.5 * jnp.log(stretch) + log_H(-u * lax.rsqrt(stretch))
        return jnp.where(cold, log_H(u), log_add_exp(log_H(u), below))

    def envelope(self, h: Array, chi: Array) -> Array:
        """-(kappa - h)_+^2/(2 (1 + chi))."""
        return -0.5 * jnp.maximum(self.kappa - h, 0.0) ** 2 / (1.0 + chi)

    def envelope_kinks(self, chi: Array) -> tuple[Array, ...]:
        return (jnp.asarray(self.kappa, float),)


class Rectangle(Factor):
    """|Delta| <= kappa."""

    even: ClassVar[bool] = True
    kappa: Array | float = 1.0

    def log_weight(self, x: Array) -> Array:
        return jnp.where(jnp.abs(x) <= self.kappa, 0.0, -jnp.inf)

    def kinks(self) -> tuple[Array | float, ...]:
        return (-self.kappa, self.kappa)

    def log_partition(self, h: Array, V: Array) -> Array:
        steep = lax.rsqrt(V)
        return log_diff_H((-self.kappa - h) * steep, (self.kappa - h) * steep)


class UFunction(Factor):
    """|Delta| >= kappa."""

    even: ClassVar[bool] = True
    kappa: Array | float = 1.0

    def log_weight(self, x: Array) -> Array:
        return jnp.where(jnp.abs(x) >= self.kappa, 0.0, -jnp.inf)

    def kinks(self) -> tuple[Array | float, ...]:
        return (-self.kappa, self.kappa)

    def log_partition(self, h: Array, V: Array) -> Array:
        steep = lax.rsqrt(V)
        return log_add_exp(log_H((self.kappa - h) * steep), log_H((self.kappa + h) * steep))
