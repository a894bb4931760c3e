r"""Zero temperature: the ground state of the spherical perceptron above capacity, as its own functional.

With beta -> inf, chi = lim beta (1 - q) and the Moreau envelope g of the loss in place of the log-partition,

    -e = extr_chi { 1/(2 chi) + alpha E_z g(z; chi) },    g(h; chi) = max_x [ -l(x) - (x - h)^2/(2 chi) ].

Gardner & Derrida, J. Phys. A 21 (1988) 271; Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

from typing import ClassVar

import jax.numpy as jnp
from jax import Array

from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import SphericalPerceptron
from replicax.vocabulary.factors import Errors, GroundTerminal, SquaredHinge
from replicax.vocabulary.levels import Level, Moments, tower


class GroundState(Problem):
    """RS ground state: e per weight and chi.  Coordinate: log chi; the map is 1/chi^2 = alpha <g'^2>."""

    model: SphericalPerceptron

    nodes: ClassVar[int] = 64
    size: ClassVar[int] = 1

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        return (jnp.zeros(1), jnp.full(1, -3.0), jnp.full(1, 3.0))

    def _tower(self, chi: Array, n: int) -> Moments:
        loss = (Errors if self.model.loss == "errors" else SquaredHinge)(self.model.kappa)
        return tower(GroundTerminal(loss, chi), (Level((jnp.ones(()),), 0.0),), n)

    def state(self, x: Array, n: int) -> State:
        chi = jnp.exp(x[0])
        asked = jnp.asarray(self.model.weight, float) * self._tower(chi, n).overlap[0][0]
        return State(dict(chi=chi, q=jnp.ones(())), -2.0 * x - jnp.log(asked), dict(chi=chi))

    def absent(self, n: int) -> Array:
        """Below capacity chi runs to infinity: the residual, falling through its root, is still positive there."""
        return self.state(jnp.full(1, 30.0), n).residual[0] > 0

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        """-e."""
        chi = state.parts["chi"]
        return (0.5 / chi, jnp.asarray(self.model.weight) * self._tower(chi, n).value)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        """The replicon 1 - alpha chi^2 <g''^2>: -inf for errors, whose g' jumps."""
        bent = self._tower(state.parts["chi"], n).curvature2[0] if self.model.loss != "errors" else jnp.inf
        return dict(
            energy=-phi, replicon=1.0 - jnp.asarray(self.model.weight) * state.parts["chi"] ** 2 * bent
        )
