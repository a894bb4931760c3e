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
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.theory.ansatz import LocalEntropy, poses, require
from replicax.theory.constrained import Constrained
from replicax.theory.displaced import Displaced, DisplacedOnSphere
from replicax.theory.displaced_groups import DisplacedGroups
from replicax.theory.displaced_solutions import DisplacedSolution, DisplacedSolutionOnSphere
from replicax.theory.free_ball import FreeBall, FreeBallAround
from replicax.theory.free_entropy import Problem, State, settled
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron
from replicax.theory.perceptron import TINY, Bipartite, clean_error
from replicax.theory.reference import LOOSE, AnyReference, SingleSolutions
from replicax.theory.reference_sphere import AnyReferenceOnSphere, ConstrainedOnSphere
from replicax.theory.zero_complexity import AtZeroComplexity
from replicax.vocabulary.levels import is_frozen
from replicax.vocabulary.limits import INFINITE, STAR

#: (q1 - q0)/q1 where the sphere is looked at first: finite y, y = inf
_SHARES = (np.linspace(0.001, 0.999, 24), np.geomspace(1e-3, 1e17, 48))


class Replicas(Bipartite):
    """Two levels with m = y and q1 as control: the last level's equation is replaced by q1 of the site at its control."""

    q1: Array
    #: d(q1)/d(control)
    scale: float = eqx.field(static=True, default=1.0)

    nodes: ClassVar[int] = 64
    largest_block: ClassVar[int] = 512
    accuracy: ClassVar[float] = 1e-9
    polished: ClassVar[bool] = True

    @property
    def y(self) -> Any:
        return self.ms[1]

    def at_y(self, y: Array) -> "Replicas":
        return eqx.tree_at(lambda p: p.ms[1], self, y)

    def spread(self, state: State) -> Array:
        """y (q1 - q0)/(1 - q1)."""
        site = state.parts["site"]
        return self.ms[1] * site.overlaps[1] / site.complement

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
        if self.model.prior.norm == "spherical":
            return self._on_sphere(first, alpha)
        return tuple(
            first.at[0].add(outer).at[1].set(inner + more + slope * spread) for outer, more, slope in shifts
        )

    def _on_sphere(self, first: Array, alpha: Array) -> tuple[Array, ...]:
        """The site's relations are explicit: what is left is one equation for the share of q1 - q0 in q1 (y = inf: of lim y (q1 - q0))."""
        ratio = jnp.asarray(self.q1, float) / (1.0 - jnp.asarray(self.q1, float))

        def at(share: Array) -> tuple[Array, Array]:
            inner = share * ratio
            outer = ratio / (1.0 + inner) if self.frozen else (ratio - inner) / (1.0 + self.y * inner)
            x = first.at[:2].set(jnp.log(jnp.stack([outer, inner]) / alpha))
            return x, self.state(x, self.nodes // 4).residual[0]

        x, left = jax.vmap(at)(jnp.asarray(_SHARES[self.frozen]))
        crosses = jnp.sign(left[:-1]) * jnp.sign(left[1:]) < 0
        first_crossing = jnp.argmax(crosses)
        middle = 0.5 * (x[first_crossing] + x[first_crossing + 1])
        start = jnp.where(crosses[first_crossing], middle, x[x.shape[0] // 2])
        return tuple(lax.stop_gradient(s) for s in (start, x[first_crossing], x[0], x[-1]))

    def state(self, x: Array, n: int) -> State:
        state = super().state(x, n)
        site, q1 = state.parts["site"], jnp.asarray(self.q1, float)
        actual = site.norm - site.complement
        control = jnp.log(actual) - jnp.log(site.complement) - jnp.log(q1) + jnp.log1p(-q1)
        return state._replace(residual=state.residual.at[1].set(control))

    def absent(self, n: int) -> Array:
        """q0 rises to q1 where q1 is the overlap of a typical pair, and would exceed it below (random labels, replica symmetry stable)."""
        if self.labels is not None:
            return jnp.zeros((), bool)
        pair = Bipartite(self.model, (0.0,))
        typical = settled(pair, n)
        below = jnp.asarray(self.q1, float) < typical.state.order["q"] - 1e-8
        return lax.stop_gradient(typical.found & below & (typical.state.parts["replicon"] > 0))

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        site = state.parts["site"]
        free = self.frozen and self.labels is None
        resolved = site.overlaps[1] < LOOSE * site.complement if free else True
        return super().inside(state, edge) & resolved

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        alpha = jnp.asarray(self.model.weight, float)
        site, asked = state.parts["site"], state.parts["asked"]
        energy, entropy = self.thermal(state, phi, n)
        if self.frozen:
            columns = dict(S_I=entropy, S_E=self.fluctuation(state), y=jnp.full_like(phi, jnp.inf))
            slope, gamma = 0.5 * (alpha * asked[1] - site.conjugates[1]), jnp.zeros(())
        else:
            y = jnp.asarray(self.ms[1], float)
            by_y = self.partial(lambda p: p.ms[1], state, self.finer(n))
            columns = dict(S_I=phi + y * by_y, S_E=-y * y * by_y, y=y)
            gamma = 2.0 * (sum(site.conjugates) - alpha * sum(asked))
            slope = -0.25 * (y - 1.0) * gamma
        columns |= dict(entropy=columns["S_I"], energy=energy, slope=self.scale * slope, gamma=gamma)
        if self.labels is not None:
            columns |= self.errors(state)
        return columns

    def errors(self, state: State) -> dict[str, Array]:
        """eps of one replica, eps_center of the barycentre of the cluster: arccos(R/sqrt(q1))/pi."""
        seen = self._seen(state.parts)
        around = seen.rest + (0.0 if self.frozen else seen.overlaps[1])
        angle = lambda rest: clean_error(seen.R, rest)
        return dict(eps=angle(seen.complement + around), eps_center=angle(around))


@poses(LocalEntropy, SphericalPerceptron)
@poses(LocalEntropy, BinaryPerceptron)
def replicas(model: Any, ansatz: LocalEntropy) -> tuple[Problem, ...]:
    require(model, "alpha")
    ansatz.require_quenched()
    y = float("inf") if ansatz.y is INFINITE else jnp.ones(()) if ansatz.y is STAR else ansatz.y
    control = jnp.asarray(ansatz.overlap, float)
    if ansatz.ensemble == "replicas":
        problem = Replicas(model, (0.0, y), control, ansatz.scale)
        if ansatz.y is INFINITE and problem.labels is None:
            return (problem, FreeBall(model, control, ansatz.scale))
    else:
        return _around(model, ansatz, y, control)
    return (AtZeroComplexity(problem) if ansatz.y is STAR else problem,)


def _around(model: Any, ansatz: LocalEntropy, y: Any, control: Array) -> tuple[Problem, ...]:
    """Groups of replicas with a reference."""
    by = "q1" if ansatz.d is None else "S"
    if ansatz.branch is not None and model.prior.norm == "spherical":
        raise ValueError(f"branch = {ansatz.branch}: several saddles are known for binary weights")
    sphere, taught = model.prior.norm == "spherical", getattr(model, "labels", "random") != "random"
    if sphere and ansatz.y is STAR:
        raise ValueError("y = star: on the sphere references have a volume, S_E < 0 at every y")
    if ansatz.ensemble == "constrained":
        if ansatz.y is INFINITE and model.beta is not INFINITE:
            raise ValueError(f"beta = {model.beta}: y = inf around a solution is known for beta = inf")
        kappa = model.kappa if ansatz.kappa_ref is None else ansatz.kappa_ref
        reference = eqx.tree_at(lambda m: m.kappa, model, jnp.asarray(kappa, float))
        kind = ConstrainedOnSphere if sphere else Constrained
        displaced = DisplacedSolutionOnSphere if sphere else DisplacedSolution
        problem, further = kind(model, y, control, by, reference=reference), (reference,)
    else:
        kind, displaced = (AnyReferenceOnSphere, DisplacedOnSphere) if sphere else (AnyReference, Displaced)
        problem, further = kind(model, y, control, by, ansatz.branch), ()
    if ansatz.y is STAR:
        return (AtZeroComplexity(problem),)
    if ansatz.y is INFINITE and ansatz.d is not None:
        far = displaced(model, (0.0,), control, *further)
        if ansatz.ensemble == "constrained":
            return (far, problem)
        ball = () if taught else (FreeBallAround(model, control),)
        groups = () if taught or sphere else (DisplacedGroups(model, (0.0, float("inf")), control),)
        return (problem, far, *groups, *ball)
    return (problem, SingleSolutions(model, y, control)) if problem.shares else (problem,)
