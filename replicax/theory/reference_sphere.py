r"""y solutions on the sphere around a reference on the sphere (ensemble R), any or one that is a solution.

`reference` and `constrained` with Gaussian weights: the site closes in closed form.  With the multipliers L of |W|^2 = N and y M of |W~|^2 = N,
in units w = sqrt(L) W, w~ = sqrt(M) W~, the exponent of a group is y times

    (x + sqrt(i) v + sigma w~)^2/2 + b w~ - (v^2 + w~^2)/2,      sigma = S^/sqrt(L M),   i = y (q1^-q0^)/L,   D = 1 - i - sigma^2,

x, b: the fields of the other levels.  Its maximum gives the means of w and w~, 1/(y P), P = [[1 - i, .], [., 1 - sigma^2]], their fluctuations,
which are all that is left of y: y = inf is 1/y = 0, where S^2 = q1 if the reference may be any.  It costs log(y)/2 of S_E then: S_E = -inf.
Without a constraint on it the reference may be integrated out,  Phi = y phi_B(q0, q1) + (1/2) log(1 - y S^2/(1 + (y-1) q1)),  phi_B of `replicas`.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from replicax.theory.constrained import Constrained
from replicax.theory.displaced_solutions import DisplacedSolution, DisplacedSolutionOnSphere, Pull, moved
from replicax.theory.free_entropy import State
from replicax.theory.perceptron import TINY
from replicax.theory.reference import AnyReference, Gains


class AnyReferenceOnSphere(AnyReference):
    """Coordinates: log(q0 L/alpha), log(c/alpha), asinh(e), where D = 1/(1 + c + e^2), i = c D, sigma^2 = e^2 D; with a teacher
    log(R sqrt(L)/alpha) last.
    """

    @property
    def counts(self) -> bool:
        return False

    @property
    def shares(self) -> bool:
        return False

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        return self._relaxed(), jnp.zeros((), bool)

    def _bare_field(self, S: Array) -> Array:
        return jnp.arcsinh(jnp.sqrt(self.number) * S / jnp.sqrt((1.0 - S) * (1.0 + S)))

    @property
    def _share(self) -> Array:
        """1/y."""
        return jnp.zeros(()) if self.frozen else 1.0 / jnp.asarray(self.y, float)

    def _site(self, x: Array, n: int) -> dict[str, Any]:
        alpha, unit, share = jnp.asarray(self.model.weight, float), 1.0 / self.number, self._share
        c, e, pull = alpha * jnp.exp(x[1]), jnp.sinh(x[2]), self._pull(x)
        ratio, spread, lean = (jnp.zeros(()),) * 3 if pull is None else pull
        wide, loose = 1.0 + e * e, c + e * e  # y times the variances of w~ and of the mean of w
        D, together = 1.0 / (1.0 + loose), e * jnp.sqrt(1.0 + loose)
        sigma, apart = e * jnp.sqrt(D), jnp.sqrt(spread)
        outer = D * alpha * jnp.exp(x[0])
        along = jnp.zeros(()) if self.labels is None else D * alpha * jnp.exp(x[-1])
        total, lean = outer + along**2, lean - ratio * along
        # means of w and w~ in units of x and of the independent field on w~
        a, b = (1.0 + sigma * ratio) / D, sigma * apart / D
        a_own, b_own = together + ratio * wide, wide * apart
        # and what they are in the direction of the teacher
        m, m_own = a * along + sigma * lean / D, a_own * along + wide * lean
        q0, q_own = a * a * outer + b * b + m * m, a_own**2 * outer + b_own**2 + m_own**2
        cross = a * a_own * outer + b * b_own + m * m_own
        L, M = 1.0 + share * loose + q0, share * wide + q_own
        root, root_own = jnp.sqrt(L), jnp.sqrt(M)
        both = root * root_own
        far = (a / root - a_own / root_own) ** 2 * outer + (b / root - b_own / root_own) ** 2
        far = far + (m / root - m_own / root_own) ** 2
        far = far + 1.0 / L + share * (loose / L + wide / M - 2.0 * together / both)
        gap = loose * unit / L
        return dict(
            outer=L * outer,
            inner=L * c * D * unit,
            field=sigma * both,
            R_hat=root * along,
            pull=None if pull is None else Pull(ratio * root_own / root, spread * M, pull.lean * root_own),
            gains=Gains(L * D, root * D, M, root_own / root, root_own),
            multipliers=(L, M),
            q0=q0 / L,
            gap=gap,
            q1=q0 / L + share * loose / L,
            complement=1.0 / L,
            R=m / root,
            R_ref=m_own / root_own,
            rest=(a * a * outer + b * b) / L,
            S=(cross + share * together) / both,
            far=0.5 * far,
            cross=cross / both,
            shared=together * unit / both,
            wide=wide * unit / M,
            c=cross / q0 * root / root_own,
            r=together / loose * root / root_own,
            apart=(total * spread + outer * lean**2) / (D * D * q0) / M,
            narrow=c / loose * unit / M,
        )

    def _value(self, site: dict[str, Any], n: int) -> Array:
        (L, M), pull, share = site["multipliers"], site["pull"], self._share
        ratio, spread, lean = (0.0, 0.0, 0.0) if pull is None else pull
        ratio, spread, lean = (
            ratio * jnp.sqrt(L / M),
            spread / M,
            (lean - ratio * site["R_hat"]) / jnp.sqrt(M),
        )
        sigma, along = site["field"] / jnp.sqrt(L * M), site["R_hat"] / jnp.sqrt(L)
        total = site["outer"] / L + along**2
        # mean square and product with x of the field on w~
        square = ratio**2 * total + spread + 2.0 * ratio * lean * along + lean**2
        product = ratio * total + lean * along
        D = 1.0 - self.number * site["inner"] / L - sigma**2
        # share = 0: without log(y M)
        own = 0.0 if self.frozen else -0.5 * share * (jnp.log(M / share) + 1.0)
        means = (total + 2.0 * sigma * product) / D + (1.0 + sigma**2 / D) * square
        return 0.5 * (L - 1.0 - jnp.log(L) + M + means) + own - 0.5 * share * jnp.log(D)

    def _fluctuation(self, state: State) -> Array:
        return jnp.full_like(state.order["S"], -jnp.inf)


class ConstrainedOnSphere(Constrained, AnyReferenceOnSphere):
    """`Constrained` on the sphere; its two coordinates more in units of L and M."""

    def _free(self) -> AnyReference:
        return AnyReferenceOnSphere(self.model, self.y, self.control, self.by)

    def _displaced(self) -> DisplacedSolution:
        return DisplacedSolutionOnSphere(self.model, (0.0,), self.control, reference=self.reference)

    def _with_fields(self, typical: Array, state: State, spread: Array, ratio: Array, tilt: Array) -> Array:
        y, alpha = jnp.asarray(self.y, float), jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        L, M = 1.0 / state.parts["site"].complement, 1.0 / (y * (1.0 - state.order["q"]))
        e = tilt / (y * jnp.sqrt(L * M))
        fields = (jnp.log(spread / M) - 2.0 * jnp.log1p(y), jnp.log(ratio * jnp.sqrt(L / M)) - jnp.log1p(y))
        return jnp.stack([typical, jnp.log(moved(state) * e**2 / alpha + TINY), jnp.arcsinh(e), *fields])
