r"""y = inf around references so far away that they cost no typical solution: phi is that of replica symmetry, S^ = 0."""

from typing import ClassVar

import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.special import log_2cosh
from replicax.theory.ansatz import RS
from replicax.theory.free_entropy import State, settled
from replicax.theory.perceptron import Bipartite
from replicax.theory.reference import NO_FIELD

#: to which the overlap with the magnetisations is known before the equations are solved
_ROUGHLY = 1e-6


class Displaced(Bipartite):
    """y = inf with a reference so far away that it costs no typical solution: S below E|tanh(sqrt(q^) z)| of replica symmetry.

    phi = phi_RS and S^ = 0; the references are those with overlap S with the magnetisations t, S_E = E log 2cosh(c t) - c S.
    Coordinates: that of q^, then log c.
    """

    control: Array

    largest_block: ClassVar[int] = 512
    doubtful: ClassVar[int] = 0

    @property
    def size(self) -> int:
        return self._typical.size + 1

    @property
    def _typical(self) -> Bipartite:
        return RS().problems(self.model)[0]

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        return tuple(jnp.append(x, guess) for x in self._typical.starts() for guess in (0.0, 2.0))

    def _magnetisations(self, state: State, tilt: Array, n: int) -> tuple[Array, Array]:
        """|t| of the W and their weights, at nodes that see where tanh(c t) bends."""
        steep, even = jnp.sqrt(state.order["q_hat"] + 1e-14 * NO_FIELD), self.labels is None
        R_hat = state.order.get("R_hat", 0.0)
        rule = gaussian_rule((-R_hat / steep,), (1.0 / ((1.0 + tilt) * steep),), n, even=even, moving=True)
        return jnp.tanh(jnp.abs(R_hat + steep * rule.nodes)), rule.weights

    def state(self, x: Array, n: int) -> State:
        state = self._typical.state(x[:-1], n)
        tilt, S = jnp.exp(x[-1]), jnp.asarray(self.control, float)
        t, weights = self._magnetisations(state, tilt, n)
        mean = lambda values: jnp.sum(weights * values)
        overlap, left = mean(t * jnp.tanh(tilt * t)), mean(2.0 * t / (1.0 + jnp.exp(2.0 * tilt * t)))
        ratio = jnp.log(overlap) - jnp.log(left) - jnp.log(S) + jnp.log(overlap + left - S)
        parts = state.parts | dict(S_E=mean(log_2cosh(tilt * t)) - tilt * S)
        return State(self._order(state.order), jnp.append(state.residual, ratio), parts)

    def _order(self, typical: dict[str, Array]) -> dict[str, Array]:
        q, q_hat, S = typical["q"], typical["q_hat"], jnp.asarray(self.control, float)
        order = dict(q0=q, q1=q, q0_hat=q_hat, q1_hat=q_hat, S=S, S_hat=0.0 * S)
        return order | {k: v for k, v in typical.items() if k in ("R", "R_hat")}

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        energy, entropy = self.thermal(state, phi, n)
        nothing, errors = jnp.zeros_like(phi), {}
        if self.labels is not None:
            typical = self._typical.errors(state)
            errors = dict(eps=typical["eps"], eps_center=typical["eps_bary"])
        return errors | dict(
            S_I=entropy,
            S_E=state.parts["S_E"],
            y=nothing + jnp.inf,
            entropy=entropy,
            energy=energy,
            slope=nothing,
            gamma=nothing,
        )

    def absent(self, n: int) -> Array:
        """S exceeds E|t|."""
        typical, n = self._typical, n // 2
        at = settled(typical, n)
        return lax.stop_gradient(at.found & self._too_close(at.state, n))

    def _too_close(self, typical: State, n: int) -> Array:
        t, weights = self._magnetisations(typical, jnp.ones(()), n)
        return jnp.asarray(self.control, float) > (1.0 + _ROUGHLY) * jnp.sum(weights * t)


class DisplacedOnSphere(Displaced):
    """S^2 < q: references that cost no typical solution, S_E = (1/2) log(1 - S^2/q).  Coordinates: those of replica symmetry."""

    @property
    def size(self) -> int:
        return self._typical.size

    def starts(self) -> tuple[Array, ...]:
        return self._typical.starts()

    def state(self, x: Array, n: int) -> State:
        state = self._typical.state(x, n)
        q, S = state.order["q"], jnp.asarray(self.control, float)
        S_E = 0.5 * jnp.log(jnp.maximum(1.0 - S**2 / q, 0.0))
        return State(self._order(state.order), state.residual, state.parts | dict(S_E=S_E))

    def _too_close(self, typical: State, n: int) -> Array:
        return jnp.asarray(self.control, float) ** 2 > (1.0 + _ROUGHLY) * typical.order["q"]

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return super().inside(state, edge) & (state.order["S"] ** 2 < state.order["q0"])
