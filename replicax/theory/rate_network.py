r"""Rate networks dx/dt = -x + s tanh x + g sum_j J_ij tanh x_j: the dynamic mean field at s = 0, the quiet state, and aligned bistable units.

Sompolinsky, Crisanti & Sommers, PRL 61 (1988) 259; Stern, Sompolinsky & Abbott, PRE 90 (2014) 062710, arXiv:1409.2535.
"""

from typing import ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.numerics.brackets import Bracketed, bracketed_root
from replicax.numerics.quadrature import gaussian_rule, unit_panels
from replicax.numerics.special import log_2cosh, sech2
from replicax.theory.ansatz import RS, poses, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import RateNetwork
from replicax.vocabulary.limits import is_concrete

#: the autocorrelation is followed down to Delta0 sech^2(_END)
_END = 8.0


class ChaoticState(Problem):
    r"""Delta(tau) = <x(t) x(t + tau)> moves in a potential, Delta'' = -dV/dDelta, with Delta(inf) = 0 at rest on its top:

        V(Delta) = -Delta^2/2 + g^2 E_z [E_y L(sqrt(Delta0 - Delta) y + sqrt(Delta) z)]^2,    L = log cosh,
        V(Delta0) = V(0)   <=>   Delta0^2 = 2 g^2 Var L(sqrt(Delta0) z)        (g > 1; for g <= 1 Delta = 0).

    Coordinate: log Delta0 (the trivial root Delta0 = 0 is divided out).  phi is V(Delta0) - V(0), zero at the solution.
    """

    model: RateNetwork

    nodes: ClassVar[int] = 64
    size: ClassVar[int] = 1
    largest_block: ClassVar[int] = 64

    @property
    def counts(self) -> bool:
        return False

    @property
    def _chaotic(self) -> Array:
        return jnp.asarray(self.model.g, float) > 1.0

    def _g(self) -> Array:
        return jnp.where(self._chaotic, jnp.asarray(self.model.g, float), 2.0)

    def starts(self) -> tuple[Array, ...]:
        rise = self._g() - 1.0  # Delta0 = g - 1 near the transition, (1 - 2/pi) g^2 far above it
        guess = jnp.log(rise / (1.0 + rise) + 0.3634 * rise**2)
        return tuple(jnp.where(self._chaotic, guess + shift, 0.0)[None] for shift in (0.0, 0.7, -0.7))

    def _variance(self, Delta0: Array, Delta: Array, n: int) -> tuple[Array, Array]:
        """Var_z of E_y L, and E_z [E_y tanh']^2, at lag values Delta (k,); both exact in Delta -> 0."""
        rest = Delta0 - Delta
        smooth = jnp.sqrt((1.0 + rest) / Delta)
        outer = gaussian_rule((jnp.zeros_like(Delta),), (smooth,), n, even=True)
        shift = jnp.sqrt(Delta)[:, None] * outer.nodes
        scale = jnp.sqrt(rest)[:, None] * jnp.ones_like(shift)
        inner = gaussian_rule((-shift / scale,), (1.0 / scale,), n)
        x = shift[..., None] + scale[..., None] * inner.nodes
        mean = jnp.sum(inner.weights * log_2cosh(x), -1)
        gain = jnp.sum(inner.weights * sech2(x), -1)
        centred = mean - jnp.sum(outer.weights * mean, -1, keepdims=True)
        return jnp.sum(outer.weights * centred**2, -1), jnp.sum(outer.weights * gain**2, -1)

    def _difference(self, Delta0: Array, n: int) -> Array:
        """V(Delta0) - V(0)."""
        rule = gaussian_rule((jnp.zeros(()),), (1.0 / jnp.sqrt(Delta0),), n, even=True)
        L = log_2cosh(jnp.sqrt(Delta0) * rule.nodes)
        centred = L - jnp.sum(rule.weights * L)
        return -0.5 * Delta0**2 + self._g() ** 2 * jnp.sum(rule.weights * centred**2)

    def state(self, x: Array, n: int) -> State:
        found = jnp.exp(x[0])
        residual = jnp.where(self._chaotic, 2.0 * self._difference(found, n) / found**2, x[0])
        return State(dict(Delta0=jnp.where(self._chaotic, found, 0.0)), residual[None], dict(Delta0=found))

    def reached(self, x: Array, n: int) -> Array:
        return jnp.asarray(self.model.s) == 0.0

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return (jnp.where(self._chaotic, self._difference(state.parts["Delta0"], n), 0.0),)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        Delta0 = state.parts["Delta0"]
        rule = gaussian_rule((jnp.zeros(()),), (1.0 / jnp.sqrt(Delta0),), n, even=True)
        tanh2 = jnp.sum(rule.weights * jnp.tanh(jnp.sqrt(Delta0) * rule.nodes) ** 2)
        quiet = jnp.asarray(self.model.g, float) - 1.0
        return dict(
            tanh2=jnp.where(self._chaotic, tanh2, 0.0),
            lyapunov=jnp.where(self._chaotic, self._lyapunov(Delta0, n), quiet),
        )

    def _lyapunov(self, Delta0: Array, n: int) -> Array:
        r"""lambda = -1 + sqrt(1 - E0), E0 the ground state of -d^2/dtau^2 + 1 - g^2 <tanh' tanh'>(Delta(tau)).

        With Delta = Delta0 sech^2 u the separatrix is regular at both ends, du/dtau = a(u), a^2 = (V0 - V)/(2 Delta^2 tanh^2 u).  The
        Rayleigh quotient int [a psi_u^2 + U psi^2/a] / int psi^2/a is minimised over polynomials on Gauss-Legendre nodes.
        """
        u, weight, D = _line(max(32, n // 2))
        Delta = Delta0 / jnp.cosh(u) ** 2
        variance, gain = self._variance(Delta0, Delta, n)
        g2 = self._g() ** 2
        a = jnp.sqrt(jnp.maximum(0.5 * (0.5 - g2 * variance / Delta**2) / jnp.tanh(u) ** 2, 1e-300))
        U = 1.0 - g2 * gain
        norm = jnp.sqrt(weight / a)
        matrix = (D.T * (weight * a)[None, :]) @ D / (norm[:, None] * norm[None, :]) + jnp.diag(U)
        return jnp.sqrt(1.0 - jnp.linalg.eigvalsh(matrix)[0]) - 1.0


def _line(n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss-Legendre nodes and weights on (0, _END), and the derivative of the polynomial through values there."""
    x, w = np.polynomial.legendre.leggauss(n)
    # barycentric weights of Gauss nodes: (-1)^j sqrt((1 - x_j^2) w_j)
    b = (-1.0) ** np.arange(n) * np.sqrt((1.0 - x**2) * w)
    with np.errstate(divide="ignore"):
        D = b[None, :] / b[:, None] / (x[:, None] - x[None, :])
    np.fill_diagonal(D, 0.0)
    np.fill_diagonal(D, -D.sum(1))
    return 0.5 * _END * (x + 1.0), 0.5 * _END * w, D * (2.0 / _END)


def aligned_edge(s: Array) -> tuple[Array, Bracketed]:
    r"""The largest g with linearly stable aligned fixed points at self-coupling s > 1: g*(s).

    A unit in a Gaussian field h = x - s tanh x of width sigma = g sqrt(C), C = <tanh^2 x>, sits on the root x >= x0 = s tanh x0 of the sign
    of h.  The bulk of the linearised spectrum reaches 0 where g^2 <(sech^2 x/(1 - s sech^2 x))^2> = 1: one equation in sigma.
    Returns g* and the root in log sigma; no root for s <= 1.
    """
    s = jnp.asarray(s, float)
    outer = bracketed_root(
        lambda x, s: x - s * jnp.tanh(x), jnp.sqrt(jnp.maximum(s - 1.0, 0.0) / s), s, s
    ).value
    v, dv = unit_panels(32)

    def averages(log_sigma: Array, s: Array, x0: Array) -> tuple[Array, Array]:
        sigma = jnp.exp(log_sigma)
        low, high = -36.0, jnp.log(10.0 * sigma + s + 10.0)
        t = jnp.exp(low + (high - low) * v)
        x = x0 + t
        gain, jacobian = sech2(x), (high - low) * dv * t
        slope = 1.0 - s * gain
        density = 2.0 * jnp.exp(-0.5 * ((x - s * jnp.tanh(x)) / sigma) ** 2) / (np.sqrt(2.0 * np.pi) * sigma)
        mean = lambda f: jnp.sum(jacobian * density * f)
        return mean(jnp.tanh(x) ** 2 * slope), mean(gain**2 / slope)

    def edge(log_sigma: Array, s: Array, x0: Array) -> Array:
        C, K = averages(log_sigma, s, x0)
        return 2.0 * log_sigma + jnp.log(K) - jnp.log(C)

    root = bracketed_root(edge, -6.0, 60.0, s, outer)
    return jnp.exp(root.value) / jnp.sqrt(averages(root.value, s, outer)[0]), root


class QuietState(Problem):
    """s != 0: x = 0, where it is stable, s + g < 1; lambda = s + g - 1 is the edge of its spectrum.

    Beyond, the mean field is no motion in a potential: outside the domain (bistable units, s > 1: threshold g-star).
    """

    model: RateNetwork

    nodes: ClassVar[int] = 1
    size: ClassVar[int] = 0
    failure: ClassVar[str] = "outside domain"

    @property
    def counts(self) -> bool:
        return False

    def _edge(self) -> Array:
        return jnp.asarray(self.model.s, float) + jnp.asarray(self.model.g, float) - 1.0

    def starts(self) -> tuple[Array, ...]:
        return (jnp.zeros(0),)

    def state(self, x: Array, n: int) -> State:
        return State(dict(Delta0=jnp.zeros(())), x, {})

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return ()

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return self._edge() <= 0.0

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return dict(tanh2=jnp.zeros_like(phi), lyapunov=self._edge())


@poses(RS, RateNetwork)
def chaotic(model: RateNetwork, ansatz: RS) -> tuple[Problem, ...]:
    """With s = 0 everywhere the chaotic state; else that where s = 0, and the quiet state."""
    require(model, "g")
    if is_concrete(model.s) and not bool(np.any(np.asarray(model.s) != 0)):
        return (ChaoticState(model),)
    return (ChaoticState(model), QuietState(model))
