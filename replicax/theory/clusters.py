r"""Clusters of solutions on the sphere: one step of replica symmetry breaking, overlaps q0 < q1.

    phi(q0, q1, m) per replica;   m phi = Sigma + m s,   Sigma = -m^2 d phi/d m  (complexity),   s = d(m phi)/d m  (internal entropy).

m = 1: the clusters that make up the replica-symmetric measure (q0 and phi are the RS ones); or m stationary, Sigma = 0.  The stability
of the clusters is 1 - alpha (1 - q1)^2 <f''^2>.  Where q1 -> q0 all conditions vanish with a power of D = (q1 - q0)/(1 - q0); they are
divided by it, which leaves out that trivial root.  Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.

phi is a convex functional of x(q) (Auffinger & Chen, Commun. Math. Phys. 335 (2015) 1429), so that replica symmetry, x = theta(q - q_RS), is
its minimum where no small part of a jump at any other q' lowers it.  For q' > q_RS that derivative is Sigma(q'; m = 1) >= 0; for q' < q_RS, where
the spherical side is linear in q' and that of the patterns a power series with positive coefficients, it follows from the replicon.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.brackets import vertex
from replicax.numerics.minimise import minimise
from replicax.numerics.roots import Root, newton
from replicax.theory.free_entropy import FAR, Problem, State, settled
from replicax.theory.perceptron import TINY, Bipartite
from replicax.theory.stability import breaking_point

#: logarithms of (q1 - q0)/(1 - q1) at which the clusters at m = 1 are looked for
_SPREADS = np.linspace(-5.0, 7.0, 31)
_COARSE = 24
#: and their least complexity is looked for, with so many nodes (next to jamming they see negative ones where there are none: twice as many
#: decide where replica symmetry is stable otherwise); in units of D^2 it is known to this
_NARROWEST, _WIDEST, _PLACES, _SIGHT = -2.5, 10.0, 26, 32
DOUBT = 1e-4
#: below this D complexities are integrals, by these nodes and weights on (0, 1)
_NARROW = 0.05
_WITHIN = tuple(0.5 * (x + shift) for x, shift in zip(np.polynomial.legendre.leggauss(4), (1.0, 0.0)))
#: nodes of a rough minimum over q0, q1 and m, and how far (in coordinates) it may be from the true one
_FEW, _NEXT = 32, 0.5
#: logit m in clusters that have just ceased to be many
_FULL = (3.0, 6.0)
#: replica symmetry has just broken where its replicon is above -_CLOSE; continuously below this m
_CLOSE, _SLOW = 0.02, 0.98
_ROUNDING = 1e-11


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


def complexity_left(problem: Bipartite, state: State, n: int) -> Array:
    """Sigma/D^3 at m = 1 where q0 and q1 solve their equations, at small D without cancellation, nor the root D = 0 of Sigma and of the equation
    of q1.

    dSigma/dq1 = (T_1 - G_1)/2, where T_1 = G_1 is the equation of q1, so that with its logarithmic residual r(q) at the same q0

        Sigma = (1/2) int_0^D dD' D'/(1 - D') (1 - e^(-r)),

    of which what r(q1) = 0 alone makes vanish is taken away.
    """
    site, alpha = state.parts["site"], jnp.asarray(problem.model.weight, float)
    D, few = separation(state), max(48, n // 2)
    narrow = jnp.minimum(D, _NARROW)
    outer = jnp.log(site.overlaps[0] / (site.overlaps[1] + site.complement))
    s, ds = _WITHIN

    def residual(part: Array) -> Array:
        at = jnp.stack([outer, jnp.log(part) - jnp.log1p(-part)]) - jnp.log(alpha)
        return problem.state(at, few).residual[1]

    r = jax.vmap(residual)(narrow * jnp.append(s, 1.0))
    risen = -jnp.exp(-r[-1]) * jnp.expm1(r[-1] - r[:-1]) / narrow
    integral = 0.5 * jnp.sum(ds * s * risen / (1.0 - narrow * s))
    return jnp.where(D < _NARROW, integral, complexity(problem, state, n) / jnp.maximum(D, _NARROW) ** 3)


def least_complexity(model: Any, state: State) -> tuple[Array, Array]:
    """(min over q1 of Sigma/D^2 at m = 1, where it is: coordinates), q0 the replica-symmetric one of `state`; inf without patterns.  Its end
    q1 -> q0 is that of the replicon.
    """
    site, alpha = state.parts["site"], jnp.asarray(model.weight, float)
    problem, some = Bipartite(model, (0.0, jnp.ones(()))), alpha > TINY
    outer = jnp.log(jnp.where(some, site.overlaps[0] / site.complement, 1.0))
    unit = jnp.log(jnp.where(some, alpha, 1.0))

    spreads = jnp.linspace(_NARROWEST, _WIDEST, _PLACES)
    places = jnp.column_stack([jnp.full(_PLACES, outer), spreads]) - unit

    def seen(n: int) -> Array:
        def at(x: Array) -> Array:
            inside = problem.state(x, n)
            return complexity(problem, inside, n) / separation(inside) ** 2

        return jax.vmap(at)(places)

    values = seen(_SIGHT)
    decisive = (state.parts["replicon"] > 0) & (jnp.min(values) < DOUBT)
    values = lax.cond(decisive, lambda: seen(2 * _SIGHT), lambda: values)
    least = jnp.argmin(values)
    return jnp.where(some, -vertex(-values, least), jnp.inf), places[least]


class Equilibrium(Bipartite):
    """The clusters of the RS measure: levels (0, 1)."""

    nodes: ClassVar[int] = 96

    def starts(self) -> tuple[Array, ...]:
        """At q0 of RS: where the equation of q1 is solved on its stable side, or nearest to it."""
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        symmetric = settled(Bipartite(self.model, (0.0,)), 32, tol=1e-8)
        points = jnp.asarray(_SPREADS)
        at = lambda c: jnp.append(symmetric.x, c - jnp.log(alpha))
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

    def value(self, x: Array, n: int) -> Array:
        """phi, which is least here."""
        problem = Bipartite(self.model, (0.0, jax.nn.sigmoid(x[2])))
        return problem.phi(problem.state(x[:2], n), n)

    def lowest(self, symmetric: Array, state: State) -> Root:
        """The minimum of phi below that without steps (`symmetric`, `state`), by Newton's method from where it is next to: beyond the de
        Almeida-Thouless line m at the breaking point; where replica symmetry is stable the clusters of least complexity, at m next to 1; further
        away a rough minimum below the lowest of a few points.

        Converged where that finds a root next to its start, or below it.
        """
        replicon, breaks = state.parts["replicon"], self._breaks(state)
        close = (replicon < 0) & (replicon > -_CLOSE) & (breaks < _SLOW)
        best = lax.cond(close, lambda: self._parted(state, breaks), lambda: self._rough(state))
        _, clusters = least_complexity(self.model, state)
        starts = jnp.stack([best, *(jnp.append(clusters, number) for number in _FULL)])
        residual = lambda x: self.state(x, self.nodes).residual
        tries = jnp.where(replicon > 0, 1 + len(_FULL), 1)
        root = newton(residual, lax.stop_gradient(starts), tol=1e-9, max_steps=20, limit=FAR, tries=tries)
        found, below = lax.map(lambda x: self.value(x, self.nodes), jnp.stack([root.x, best]))
        there = (jnp.max(jnp.abs(root.x - best)) < _NEXT) | (found < below)
        broken = found < symmetric + _ROUNDING * (1.0 + jnp.abs(symmetric))
        apart = self.inside(self.state(root.x, self.nodes))
        return root._replace(converged=root.converged & there & broken & apart)

    def _breaks(self, state: State) -> Array:
        q, rest = state.order["q"], state.parts["site"].complement
        return jnp.clip(breaking_point(self.model, q, rest, self.nodes)[0], 1e-3, 1.0)

    def _parted(self, state: State, m: Array) -> Array:
        """q0 and q1 stationary at this m, close to q."""
        q, rest = state.order["q"], state.parts["site"].complement
        start = coordinates(q - 0.15 * m * rest, q + 0.15 * rest, m, jnp.asarray(self.model.weight, float))
        number = jnp.log(m) - jnp.log1p(-m)
        residual = lambda x: self.state(jnp.append(x, number), self.nodes).residual[:2]
        return jnp.append(newton(residual, start[None], tol=1e-9, max_steps=20, limit=FAR).x, number)

    def _rough(self, state: State) -> Array:
        """A rough minimum of phi over q0 < q < q1 and m."""
        q, rest = state.order["q"], state.parts["site"].complement
        shifts = (jnp.array([0.2, 0.8, 2.5]), jnp.array([0.5, 0.1, 0.02]), jnp.array([-3.5, -2.0, -0.5, 1.0]))
        further, closer, number = (g.ravel() for g in jnp.meshgrid(*shifts))
        q0, m = jax.nn.sigmoid(jnp.log(q / rest) - further), jax.nn.sigmoid(number)
        alpha = jnp.asarray(self.model.weight, float)
        places = jax.vmap(lambda q0, q1, m: coordinates(q0, q1, m, alpha))(q0, 1.0 - closer * rest, m)
        tries = lax.stop_gradient(jnp.column_stack([places, number]))
        value = lambda x: self.value(x, _FEW)
        return minimise(value, tries[jnp.nanargmin(jax.vmap(value)(tries))], tol=1e-7, max_steps=25).x
