r"""The frozen phase of binary weights above capacity: q1 -> 1, every configuration its own cluster.

    phi_1 -> (1/m) phi_RS(beta m; q0),      stationary in m:  s_RS(beta m) = 0,

so m beta = beta_c for every beta > beta_c and the energy stays at e_RS(beta_c), the ground state.  Krauth & Mezard, J. Phys. France 50
(1989) 3057.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.numerics.brackets import bracketed_root
from replicax.numerics.special import log_add_exp, log_H
from replicax.theory.ansatz import Frozen, poses, require
from replicax.theory.free_entropy import Problem, State, settled
from replicax.theory.models import BinaryPerceptron
from replicax.theory.perceptron import Bipartite
from replicax.vocabulary.limits import INFINITE

#: where the freezing point is looked for, in units of that of the annealed entropy
FREEZING_FACTORS = (1.0, 1.5, 2.5, 5.0, 0.3, 12.0, 30.0)


def annealed_freezing(alpha: Array, kappa: Array) -> Array:
    """Where the annealed entropy vanishes, log 2 + alpha (log f + beta e^-beta H(-kappa)/f) = 0 with f = H(kappa) + e^-beta H(-kappa): below
    the freezing point, and close to it at many patterns; up to the first-moment bound it vanishes nowhere (then 3).
    """
    alpha, kappa = jnp.asarray(alpha, float), jnp.asarray(kappa, float)

    def entropy(log_beta: Array) -> Array:
        beta = jnp.exp(log_beta)
        failed = log_H(-kappa) - beta
        log_f = log_add_exp(log_H(kappa), failed)
        return float(np.log(2.0)) + alpha * (log_f + beta * jnp.exp(failed - log_f))

    annealed = bracketed_root(entropy, jnp.log(1e-6), jnp.log(1e4), tol=1e-6)
    return jnp.where(annealed.converged, jnp.exp(annealed.value), 3.0)


class FrozenPhase(Problem):
    """The RS saddle together with its freezing temperature.  Coordinates: that of the saddle, log beta_c.

    phi = -energy at beta = inf (the limit of phi/beta), -beta energy otherwise; m = beta_c/beta.
    """

    model: BinaryPerceptron

    size: ClassVar[int] = 2

    @property
    def counts(self) -> bool:
        return False

    def _at(self, beta: Array) -> Bipartite:
        return Bipartite(
            eqx.tree_at(lambda m: m.beta, self.model, beta, is_leaf=lambda x: x is INFINITE), (0.0,)
        )

    def starts(self) -> tuple[Array, ...]:
        guess = annealed_freezing(self.model.alpha, self.model.kappa)  # type: ignore[arg-type]
        betas = [f * guess for f in FREEZING_FACTORS]
        return tuple(jnp.append(self._at(b).first(), jnp.log(b)) for b in betas)

    def state(self, x: Array, n: int) -> State:
        critical = jnp.exp(x[1])
        problem = self._at(critical)
        state = problem.state(x[:1], n)
        energy, entropy = problem.thermal(state, problem.phi(state, n), n)
        order = dict(q0=state.order["q"], q1=jnp.ones(()), q0_hat=state.order["q_hat"])
        parts = state.parts | dict(energy=energy, critical=critical, coordinates=x[:1])
        return State(order, jnp.append(state.residual, entropy), parts)

    def absent(self, n: int) -> Array:
        """Below capacity the entropy is positive even at beta = inf, where it is least."""
        cold = Bipartite(
            eqx.tree_at(lambda m: m.beta, self.model, INFINITE, is_leaf=lambda x: x is INFINITE), (0.0,)
        )
        typical = settled(cold, 32, tol=1e-6)
        return typical.found & (cold.phi(typical.state, 32) > 1e-9)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """Below beta_c nothing is frozen."""
        warm = self.model.beta is not INFINITE and self.model.beta < state.parts["critical"]
        return (state.parts["site"].complement > edge) & ~jnp.asarray(warm)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        problem = self._at(state.parts["critical"])
        saddle = problem.state(state.parts["coordinates"], n)
        beta = 1.0 if self.model.beta is INFINITE else jnp.asarray(self.model.beta, float)
        return (-beta * problem.thermal(saddle, problem.phi(saddle, n), n)[0],)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        m = 0.0 if self.model.beta is INFINITE else state.parts["critical"] / self.model.beta
        zero = jnp.zeros_like(phi)
        return dict(energy=state.parts["energy"], entropy=zero, m=m + zero, replicon=state.parts["replicon"])


@poses(Frozen, BinaryPerceptron)
def frozen(model: BinaryPerceptron, ansatz: Any) -> tuple[Problem, ...]:
    require(model, "alpha")
    if model.labels != "random":
        raise ValueError(f"labels = {model.labels}: the frozen phase is that of random labels")
    return (FrozenPhase(model),)
