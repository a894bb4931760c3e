r"""Two states of a recurrent network: pairs of fixed points, damage, and states near one fixed point or between two.

Given the spins, the rows of the couplings are independent, and a row sees two states through two fields of known correlation.
"""

from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln

from replicax.numerics.quadrature import unit_panels
from replicax.numerics.special import H, binary_entropy, bivariate_orthant
from replicax.theory.ansatz import Pair, poses, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import RecurrentNetwork
from replicax.theory.recurrent import count_only
from replicax.vocabulary.limits import INFINITE


class FixedPointPairs(Problem):
    r"""Annealed number of fixed points at distance d = (1-q)/2 of one: S_2(q) - S_1 (the conditioning on one is exact).

        S_2 - S_1 = h2(d) + (1-d) log P2(J_D; q) + d log P2(J_D; -q) - log P1(J_D),
        P1 = E w(J_D + x),  P2 = E w(J_D + x) w(J_D + x'),  corr(x, x') = +-q,

    w = 1 where its argument is positive, exp(-2 beta) elsewhere: P2 = a^2 + 2 a (1-a) Phi(J_D) + (1-a)^2 P(x, x' > -J_D), a = exp(-2 beta).
    """

    model: RecurrentNetwork
    d: Array

    nodes: ClassVar[int] = 1
    size: ClassVar[int] = 0

    def starts(self) -> tuple[Array, ...]:
        return (jnp.zeros(0),)

    def state(self, x: Array, n: int) -> State:
        return State(dict(q=1.0 - 2.0 * jnp.asarray(self.d, float)), x, {})

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        d, J = jnp.asarray(self.d, float), jnp.asarray(self.model.J_D, float)
        a = 0.0 if self.model.beta is INFINITE else jnp.exp(-2.0 * jnp.asarray(self.model.beta, float))
        one = H(-J)
        same = a * a + (1.0 - a * a) * one  # P2 at q = 1
        apart = a * a + 2.0 * a * (1.0 - a) * one + (1.0 - a) ** 2 * bivariate_orthant(-J, -J, 2.0 * d - 1.0)
        lost = (1.0 - a) ** 2 * _parted(J, d) / same
        alone = jnp.log(same / (a + (1.0 - a) * one))
        return (binary_entropy(d), (1.0 - d) * jnp.log1p(-lost), d * jnp.log(apart / same), alone)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return dict(entropy=phi)


def _parted(J: Array, d: Array) -> Array:
    r"""P(x > -J, x' < -J) at corr(x, x') = 1 - 2d: int_0^{2 asin sqrt d} exp(-J^2/(1 + cos t)) dt/(2 pi), exact at any small d."""
    v, dv = unit_panels(4)
    angle = 2.0 * jnp.arcsin(jnp.sqrt(d))
    return angle * jnp.sum(dv * jnp.exp(-0.5 * (J / jnp.cos(0.5 * angle * v)) ** 2)) / (2.0 * np.pi)


class FinitePairs(FixedPointPairs):
    r"""`FixedPointPairs` at finite N, Gaussian couplings: (1/N) log of the mean number of partners at distance k = d N per fixed point, exact.

        C(N, k) [P2(J'; (N-2k-1)/(N-1))/P1]^{N-k} [P2(J'; (2k-1-N)/(N-1))/P1]^k,    J' = J_D sqrt(N/(N-1))

    (the missing diagonal shifts the overlap of the fields by -+1/N).  Between integers k it is interpolated by Gamma functions.
    """

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        N, d = jnp.asarray(self.model.N, float), jnp.asarray(self.d, float)
        J, same, flipped = _fields(d, self.model.J_D, N)
        a = 0.0 if self.model.beta is INFINITE else jnp.exp(-2.0 * jnp.asarray(self.model.beta, float))
        one = H(-J)
        both = lambda q: a * a + 2 * a * (1 - a) * one + (1 - a) ** 2 * bivariate_orthant(-J, -J, q)
        alone = jnp.log(a + (1.0 - a) * one)
        number = gammaln(N + 1.0) - gammaln(d * N + 1.0) - gammaln((1.0 - d) * N + 1.0)
        stable = lambda share, q: share * (jnp.log(jnp.where(share > 0, both(q), 1.0)) - alone)
        return (number / N, stable(1.0 - d, same), stable(d, flipped))


def _fields(d: Array, J_D, N) -> tuple[Array, Array, Array]:
    """J_D in units of a field, and the correlations of s_i h_i and s'_i h'_i at a spin that is the same in both states, and at one that differs."""
    d, J = jnp.asarray(d, float), jnp.asarray(J_D, float)
    if N is INFINITE or (isinstance(N, float) and np.isinf(N)):
        return J, 1.0 - 2.0 * d, 2.0 * d - 1.0
    rest = N - 1.0
    same, flipped = ((N - 1.0 - 2.0 * d * N) / rest, (2.0 * d * N - 1.0 - N) / rest)
    return J * jnp.sqrt(N / rest), jnp.clip(same, -1.0, 1.0), jnp.clip(flipped, -1.0, 1.0)


def damage_map(q: Array, J_D: Array) -> Array:
    r"""Overlap of two copies of independent states at overlap q after one parallel step: exact at N = inf (for later steps at J_D = 0 only).

    f(q) = (1+q)/2 [4 P(x, y > -J_D; corr q) - 4 Phi(J_D) + 1] + (1-q)/2 [4 P(x > -J_D, y > J_D; corr q) - 1]
    """
    q, J = jnp.asarray(q, float), jnp.asarray(J_D, float)
    alike = 4.0 * bivariate_orthant(-J, -J, q) - 4.0 * H(-J) + 1.0
    unlike = 4.0 * bivariate_orthant(-J, J, q) - 1.0
    return 0.5 * (1.0 + q) * alike + 0.5 * (1.0 - q) * unlike


def violated_near(d: Array, J_D: Array, N: float = np.inf) -> Array:
    r"""Fraction of violated spins after d N random spins of a typical fixed point are flipped.

        1 - [(1-d) P2(J_D; 1-2d) + d P2(J_D; 2d-1)]/Phi(J_D),

    at finite N exact for Gaussian couplings, averaged over all fixed points of all networks.  Between 0 and H(J_D) at d = 1/2.
    """
    J, same, flipped = _fields(d, J_D, N)
    stable = (1.0 - d) * bivariate_orthant(-J, -J, same) + d * bivariate_orthant(-J, -J, flipped)
    return 1.0 - stable / H(-J)


@jax.jit
@partial(jnp.vectorize, signature="(),()->()")
def violated_between(x: Array, J_D: Array) -> Array:
    r"""Fraction of violated spins on the way between two typical fixed points (overlap 0), N = inf.

    Half of the spins differ; a random fraction x of these has been flipped.  The field is (1-x) h_1 + x h_2 + sqrt(2x(1-x)) z, and with
    g(a, b) = E Phi((J_D + a u + b v)/sqrt(1-a^2-b^2)), u, v normal above -J_D,

        1 - [g(1-x, x) + (1-x) g(1-x, -x) + x g(x, x-1)]/2.

    Absolute error 1e-10 for 0.002 < x < 0.998.
    """
    J = jnp.asarray(J_D, float)
    t, dt = unit_panels(24)
    top = 9.0
    u = t * (J + top) - J
    weight = dt * jnp.exp(-0.5 * u * u)
    weight = weight / jnp.sum(weight)
    width = jnp.sqrt(jnp.maximum(2.0 * x * (1.0 - x), 1e-300))
    g = lambda a, b: weight @ H(-(J + a * u[:, None] + b * u[None, :]) / width) @ weight
    inner = 1.0 - 0.5 * (g(1.0 - x, x) + (1.0 - x) * g(1.0 - x, -x) + x * g(x, x - 1.0))
    return jnp.where((x <= 0.0) | (x >= 1.0), 0.0, inner)


@poses(Pair, RecurrentNetwork)
def pairs(model: RecurrentNetwork, ansatz: Pair) -> tuple[Problem, ...]:
    require(model, "J_D")
    if model.N is INFINITE:
        return (FixedPointPairs(count_only(model, "numbers of pairs"), ansatz.d),)  # type: ignore[arg-type]
    if model.couplings != "gaussian":
        raise ValueError(f"couplings = {model.couplings}: pairs at finite N are exact for gaussian couplings")
    return (FinitePairs(count_only(model, "", finite=True), ansatz.d),)  # type: ignore[arg-type]
