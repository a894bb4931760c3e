r"""Clusters of solutions on the sphere: one step of replica symmetry breaking, overlaps q0 < q1.

    phi(q0, q1, m) per replica;   m phi = Sigma + m s,   Sigma = -m^2 d phi/d m  (complexity),   s = d(m phi)/d m  (internal entropy).

m = 1: the clusters that make up the replica-symmetric measure (q0 and phi are the RS ones); or m stationary, Sigma = 0.  The stability
of the clusters is 1 - alpha (1 - q1)^2 <f''^2>.  Where q1 -> q0 all conditions vanish with a power of D = (q1 - q0)/(1 - q0); they are
divided by it, which leaves out that trivial root.  Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.roots import newton
from replicax.theory.free_entropy import FAR, Problem, State
from replicax.theory.perceptron import TINY, Bipartite

#: logarithms of (q1 - q0)/(1 - q1) at which the clusters at m = 1 are looked for
_SPREADS = np.linspace(-5.0, 7.0, 31)
_COARSE = 24


def complexity(problem: Bipartite, state: State, n: int) -> Array:
    """Sigma = -m^2 d phi/d m of a problem with levels (0, m)."""
    m = jnp.asarray(problem.ms[1], float)
    return -m * m * problem.partial(lambda p: p.ms[1], state, n)


def separation(state: State) -> Array:
    """D = (q1 - q0)/(1 - q0)."""
    site = state.parts["site"]
    return site.overlaps[1] / (site.overlaps[1] + site.complement)


def coordinates(q0: Array, q1: Array, m: Array, alpha: Array) -> Array:
    """Those of levels (0, m): log(q0/(alpha l0)), log((q1 - q0)/(alpha (1 - q1))), l0 = 1 - q1 + m (q1 - q0)."""
    outer = q0 / (1.0 - q1 + m * (q1 - q0))
    return jnp.log(jnp.stack([outer, (q1 - q0) / (1.0 - q1)])) - jnp.log(alpha)


class Equilibrium(Bipartite):
    """The clusters of the RS measure: levels (0, 1)."""

    nodes: ClassVar[int] = 96

    def starts(self) -> tuple[Array, ...]:
        """At q0 of RS: where the equation of q1 is solved on its stable side, or nearest to it."""
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        rs = Bipartite(self.model, (0.0,))
        root = newton(lambda y: rs.state(y, 32).residual, jnp.stack(rs.starts()), tol=1e-8, limit=FAR)
        points = jnp.asarray(_SPREADS)
        at = lambda c: jnp.append(root.x, c - jnp.log(alpha))
        excess = lax.stop_gradient(jax.vmap(lambda c: self.state(at(c), _COARSE).residual[1])(points))
        least = jnp.argmin(excess)
        behind = jnp.argmax((jnp.arange(points.size) > least) & (excess > 0))
        return (at(points[behind]), at(points[least]))

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return super().inside(state, edge) & (separation(state) > 1e-5)


class Broken(Problem):
    """q0, q1 and m stationary.  Coordinates: those of the levels (0, m), logit m."""

    model: Any

    nodes: ClassVar[int] = 96
    size: ClassVar[int] = 3

    def state(self, x: Array, n: int) -> State:
        m = jax.nn.sigmoid(x[2])
        problem = Bipartite(self.model, (0.0, m))
        state = problem.state(x[:2], n)
        frozen_in = complexity(problem, state, n) / separation(state) ** 2
        return State(state.order | dict(m=m), jnp.append(state.residual, frozen_in), state.parts)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return (state.parts["site"].complement > edge) & (separation(state) > 1e-5)
