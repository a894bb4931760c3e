r"""y = inf around references so far away that they cost no dense group of replicas: S^ = 0, and phi does not depend on S.

Beyond alpha_LE many replicas have a local maximum of phi in q1 (d phi/d q1 = 0): a dense ball, not around a reference, but displaced from it.
Every reference with S below the mean of their |t| has it at its distance; references are those with overlap S with the t,

    S_E = S_E(replicas at this q1) + E log 2cosh(c t) - c S.
"""

import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.roots import newton
from replicax.theory.ansatz import RS
from replicax.theory.displaced import Displaced
from replicax.theory.free_entropy import FAR, State, settled
from replicax.theory.one_step import Clusters
from replicax.theory.reference import NO_FIELD
from replicax.vocabulary.levels import Level, tower


class DisplacedGroups(Displaced):
    """Levels (0, inf).  Coordinates: those of `Clusters` at m = inf, then log c."""

    @property
    def _typical(self) -> Clusters:
        return Clusters(self.model, self.ms)

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        groups = self._typical
        starts, none = groups.prepare(n, skip)
        residual = lambda x: groups.state(x, n // 2).residual
        tries = jnp.where(none | skip, 0, 1)
        root = newton(residual, starts[0][None], tol=1e-8, max_steps=15, limit=FAR, tries=tries)
        found = lax.stop_gradient(root.x)
        far = ~self._too_close(groups.state(found, n // 2), n // 2)
        return tuple(jnp.append(found, guess) for guess in (0.0, 2.0)), none | ~root.converged | ~far

    def _magnetisations(self, state: State, tilt: Array, n: int) -> tuple[Array, Array]:
        site = state.parts["site"]
        outer, inner = site.conjugates
        steep = jnp.sqrt(outer + NO_FIELD)
        rule = gaussian_rule((jnp.zeros(()),), (1.0 / ((1.0 + tilt) * steep),), n, even=True)
        h = steep * jnp.abs(rule.nodes)
        level = (Level((inner * jnp.ones_like(h),), self.ms[1]),)
        t = tower(self.model.prior.terminal(jnp.zeros(())), level, n, (h,)).score[0]
        return t, rule.weights

    def _order(self, typical: dict[str, Array]) -> dict[str, Array]:
        S = jnp.asarray(self.control, float)
        return typical | dict(S=S, S_hat=0.0 * S)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """No more solutions than there are: beyond, the references break replica symmetry."""
        n, every = self.nodes // 2, RS().problems(self.model)[0]
        typical = settled(every, n)
        return (
            super().inside(state, edge) & typical.found & (self.phi(state, n) <= every.phi(typical.state, n))
        )

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = super().columns(state, phi, n)
        return columns | dict(S_E=columns["S_E"] + self.fluctuation(state))
