r"""The fused term of the recurrent network: one spin is its own pattern, so site and factor are one function.

With w(x) = 1 for x > 0 and exp(-2 beta) for x < 0, and the stability J_D + s h of a spin s in a Gaussian field h.
"""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.numerics.quadrature import gaussian_rule, unit_panels
from replicax.numerics.special import log_2cosh, log_add_exp, log_H
from replicax.vocabulary.factors import onset
from replicax.vocabulary.levels import Bends, Level, Moments, Terminal, tower
from replicax.vocabulary.limits import INFINITE


def log_weight(u: Array, beta) -> Array:
    """log E w(u + z) = log[Phi(u) + exp(-2 beta) H(u)]."""
    if beta is INFINITE:
        return log_H(-u)
    return log_add_exp(log_H(-u), log_H(u) - 2.0 * beta)


def log_minus_log_weight(u: Array, beta) -> Array:
    """log(-log E w(u + z)), also where the mean weight is 1 to all digits (u large)."""
    lost = 0.0 if beta is INFINITE else jnp.log(-jnp.expm1(-2.0 * jnp.asarray(beta, float)))
    small = log_H(u) + lost  # log(1 - E w)
    far = small < -20.0
    near = jnp.where(far, -1.0, small)
    return jnp.where(
        far, small, jnp.log(-jnp.where(near < -1.0, jnp.log1p(-jnp.exp(near)), log_weight(u, beta)))
    )


class PairField(Terminal):
    """F(y, x) = log sum_s e^{s y} E w(J_D + s x + sqrt(V) z): a spin in a conjugate field y and a raw field x."""

    components: ClassVar[int] = 2
    even: ClassVar[bool] = True

    J_D: Array
    beta: Array | float
    V: Array

    def __call__(self, *h: Array) -> Array:
        y, x = h
        scale = jnp.sqrt(self.V)
        up, down = (
            log_weight((self.J_D + x) / scale, self.beta),
            log_weight((self.J_D - x) / scale, self.beta),
        )
        return 0.5 * (up + down) + log_2cosh(y + 0.5 * (up - down))

    def bends(self, component: int, m) -> Bends:
        if component == 0:
            return Bends()
        u, width = onset(m)
        scale = jnp.sqrt(self.V)
        edge = self.J_D - u * scale
        return Bends((-edge, edge), (width * scale,) * 2)

    def slope(self, component: int) -> float | None:
        return 1.0 if component == 0 else 0.0


class FixedPointCount(Terminal):
    r"""The first moment (1/N) log E Z of the number of fixed points, as one level over the symmetric part of the couplings.

        f(y) = log sum_{s = +-1} E w( J_D + s lambda + y + sigma z ),
        N = inf:  sigma = 1, level of variance eta at m = inf:  extr_y [ f(y) - y^2/(2 eta) ]  (eta < 0: the minimum);
        finite N: sigma^2 = (N-1-eta)/N, level of variance eta/N at m = N: exact (eta < 0: along the imaginary axis).

    +-1 couplings at finite N (eta = 0): h sqrt(N) is binomial; a tie is a violated spin.
    """

    J_D: Array
    beta: Array | float
    eta: Array
    external: Array
    N: Array | float
    couplings: str = eqx.field(static=True)

    def __call__(self, *h: Array) -> Array:
        (y,) = h
        return log_add_exp(self._spin(self.J_D + self.external + y), self._spin(self.J_D - self.external + y))

    def _spin(self, x: Array) -> Array:
        if self.N is INFINITE:
            return log_weight(x, self.beta)
        if self.couplings == "pm1":
            p = _binomial_tail(x, self.N)
            return jnp.log(p if self.beta is INFINITE else p + jnp.exp(-2.0 * self.beta) * (1.0 - p))
        return log_weight(x / self._sigma, self.beta)

    @property
    def _sigma(self) -> Array:
        return jnp.sqrt((self.N - 1.0 - self.eta) / self.N)

    def bends(self, component: int, m) -> Bends:
        if self.N is INFINITE:
            return Bends((0.0,), (1.0,))
        u, width = onset(m)
        return Bends((-self.J_D + u * self._sigma,), (width * self._sigma,))

    def moments(self, n: int) -> Moments:
        """phi as a tower: value, and the moments of the level over the symmetric part."""
        if self.N is INFINITE:
            return tower(self, (Level((self.eta,), float("inf")),), n)
        if self.couplings == "pm1":
            return tower(self, (), n)
        out = tower(self, (Level((jnp.maximum(self.eta, 0.0) / self.N,), self.N),), n)
        return out._replace(value=jnp.where(self.eta < 0, self._antisymmetric(n), out.value))

    def _antisymmetric(self, n: int) -> Array:
        r"""eta < 0 at finite N: (1/N) log of the mean of exp(N f(i c z)), c^2 = -eta/N, on the contour Re y = y* of the saddle.

        f(y* + i s) needs Phi(a + i s) = Phi(a) + i G(a) int_0^s exp(t^2/2 - i a t) dt, so nothing cancels.
        """
        c2 = jnp.where(self.eta < 0, -self.eta, 1.0) / self.N
        unbounded = FixedPointCount(
            self.J_D, self.beta, jnp.minimum(self.eta, -1e-3), self.external, INFINITE, "gaussian"
        )
        centre = (
            -jnp.abs(unbounded.eta) * tower(unbounded, (Level((unbounded.eta,), float("inf")),), n).score[0]
        )
        centre = jax.lax.stop_gradient(centre)
        rule = gaussian_rule((), (), n)
        s, (t, dt) = jnp.sqrt(c2) * rule.nodes, unit_panels(2)
        lost = 1.0 if self.beta is INFINITE else -jnp.expm1(-2.0 * jnp.asarray(self.beta))
        base = self(centre)
        rise = jnp.zeros_like(s, complex)
        for sign in (1.0, -1.0):
            a = (self.J_D + sign * self.external + centre) / self._sigma
            path = s[:, None] / self._sigma * t[None, :]
            line = jnp.sum(dt[None, :] * jnp.exp(0.5 * path**2 - 1j * a * path), -1) * s / self._sigma
            rise = rise + 1j * lost * jnp.exp(-0.5 * a * a - base) / np.sqrt(2 * np.pi) * line
        exponent = self.N * jnp.log1p(rise) + 1j * centre * s / c2
        total = jnp.sum(rule.weights * jnp.exp(exponent).real)
        return base + 0.5 * centre**2 / (self.N * c2) + jnp.log(total) / self.N


def _binomial_tail(x: Array, N: Array) -> Array:
    """P(x sqrt(N) + 2b - (N-1) > 0), b ~ Binomial(N-1, 1/2)."""
    shift = x * jnp.sqrt(N)
    first = jnp.floor(0.5 * (N - 1.0 - shift) + 1e-9) + 1.0
    inside = jnp.clip(first, 1.0, N - 1.0)
    tail = jax.scipy.special.betainc(inside, N - inside, 0.5)
    return jax.lax.stop_gradient(jnp.where(first <= 0, 1.0, jnp.where(first >= N, 0.0, tail)))
