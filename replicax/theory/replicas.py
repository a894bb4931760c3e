r"""y replicas of a perceptron at fixed mutual overlap q1: the local entropy without a centre (ensemble B).

The 1-RSB functional at m = y with q1 given instead of stationary (Monasson, PRL 75 (1995) 2847; Baldassi et al., arXiv:1905.07833,
arXiv:1907.07578).  q0 is stationary, q1^ is what produces q1; phi = Phi/y per replica,

    S_I = d(y phi)/dy,   S_E = y (phi - S_I),   d phi/d q1 = (1/2) (y - 1) (alpha <g^2> - q1^),

and for y -> inf, with q1^ - q0^ = D/y and lim y (gap of the factor's scores) from the m = inf level, d phi/d q1 = (1/2) (alpha gap - D).
S_E -> lim y (phi(y) - phi(inf)) = <-(1/2) log(1 - D f'')>_site + alpha <-(1/2) log(1 - dq psi'')> - (1/2) [D (1-q1) + alpha dq <F''>],
f'', psi'' at the maxima over the two levels and F the factor's maximum (Laplace's method at the stationary point).
Pair distance d = (1 - q1)/2; the replicas sit around their barycentre at overlap sqrt(q1).
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
from jax import Array

from replicax.theory.ansatz import LocalEntropy, poses, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron
from replicax.theory.perceptron import TINY, Bipartite
from replicax.theory.reference import AnyReference, Displaced
from replicax.theory.zero_complexity import AtZeroComplexity
from replicax.vocabulary.levels import is_frozen
from replicax.vocabulary.limits import INFINITE, STAR


class Replicas(Bipartite):
    """Two levels with m = y and q1 as control: the last level's equation is replaced by q1 of the site at its control."""

    q1: Array
    #: d(q1)/d(control)
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 64
    largest_block: ClassVar[int] = 512
    accuracy: ClassVar[float] = 1e-9

    @property
    def y(self) -> Any:
        return self.ms[1]

    def at_y(self, y: Array) -> "Replicas":
        return eqx.tree_at(lambda p: p.ms[1], self, y)

    @property
    def frozen(self) -> bool:
        return is_frozen(self.y)

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        """Inner conjugates of order 1/y (of order 1 in units of y), outer ones from far below the score at q = 0 upwards."""
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        first = self.first()
        q1 = jnp.asarray(self.q1, float)
        spread = jnp.log(q1) - jnp.log1p(-q1)
        inner = -jnp.log(alpha) - (0.0 if self.frozen else jnp.log(jnp.asarray(self.ms[1], float)))
        shifts = (
            (0.0, 0.3, 0.0),
            (-1.0, 1.0, 0.0),
            (0.5, 0.0, 0.3),
            (-2.0, 2.0, 0.5),
            (-4.0, 4.0, 1.0),
            (1.0, -2.0, 0.3),
        )
        return tuple(
            first.at[0].add(outer).at[1].set(inner + more + slope * spread) for outer, more, slope in shifts
        )

    def state(self, x: Array, n: int) -> State:
        state = super().state(x, n)
        site, q1 = state.parts["site"], jnp.asarray(self.q1, float)
        actual = site.norm - site.complement
        control = jnp.log(actual) - jnp.log(site.complement) - jnp.log(q1) + jnp.log1p(-q1)
        return state._replace(residual=state.residual.at[1].set(control))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        alpha = jnp.asarray(self.model.weight, float)
        site, asked = state.parts["site"], state.parts["asked"]
        energy, entropy = self.thermal(state, phi, n)
        if self.frozen:
            columns = dict(S_I=entropy, S_E=self._fluctuation(state), y=jnp.full_like(phi, jnp.inf))
            slope = 0.5 * (alpha * asked[1] - site.conjugates[1])
        else:
            y = jnp.asarray(self.ms[1], float)
            by_y = self.partial(lambda p: p.ms[1], state, n)
            columns = dict(S_I=phi + y * by_y, S_E=-y * y * by_y, y=y)
            slope = 0.5 * (y - 1.0) * (alpha * sum(asked) - sum(site.conjugates))
        columns |= dict(entropy=columns["S_I"], energy=energy, slope=self.scale * slope)
        if self.labels is not None:
            columns |= self.errors(state)
        return columns

    def _fluctuation(self, state: State) -> Array:
        """S_E at y = inf: what the fluctuations around the maxima and the terms of order 1/y of q0, q0^ leave of y phi."""
        alpha = jnp.asarray(self.model.weight, float)
        site, factor, seen = state.parts["site"], state.parts["factor"], self._seen(state.parts)
        moved = site.conjugates[1] * site.complement + alpha * seen.overlaps[1] * factor.hessian[0][0]
        return site.fluctuation + alpha * factor.fluctuation - 0.5 * moved

    def errors(self, state: State) -> dict[str, Array]:
        """eps of one replica, eps_center of the barycentre of the cluster: arccos(R/sqrt(q1))/pi."""
        seen = self._seen(state.parts)
        around = seen.rest + (0.0 if self.frozen else seen.overlaps[1])
        angle = lambda rest: jnp.arctan2(jnp.sqrt(rest), seen.R) / jnp.pi
        return dict(eps=angle(seen.complement + around), eps_center=angle(around))


@poses(LocalEntropy, SphericalPerceptron)
@poses(LocalEntropy, BinaryPerceptron)
def replicas(model: Any, ansatz: LocalEntropy) -> tuple[Problem, ...]:
    require(model, "alpha")
    y = float("inf") if ansatz.y is INFINITE else jnp.ones(()) if ansatz.y is STAR else ansatz.y
    control = jnp.asarray(ansatz.overlap, float)
    if ansatz.ensemble == "replicas":
        problem = Replicas(model, (0.0, y), control, ansatz.scale)
    elif model.prior.norm == "unit" and model.prior.even and getattr(model, "labels", "random") == "random":
        problem = AnyReference(model, y, control, "q1" if ansatz.d is None else "S")
        if ansatz.y is INFINITE and ansatz.d is not None:
            return (problem, Displaced(model, (0.0,), control))
    else:
        raise ValueError(f"ensemble = {ansatz.ensemble!r}: known for binary weights and random labels")
    return (AtZeroComplexity(problem) if ansatz.y is STAR else problem,)
