r"""One step of replica symmetry breaking with any of m and q1 given; the others are stationary.

    m and q1      y = m replicas at overlap q1 (`theory.replicas`)
    q1            the same where the complexity S_E = -m^2 d phi/dm vanishes (`theory.zero_complexity`)
    m             clusters, q0 < q1, at any Parisi parameter; of binary weights also those of one configuration each,
                  q1 -> 1:  phi = phi_RS(beta m)/m,  q0^ = q^_RS/m^2;  the larger phi
    neither       the sphere: clusters or ground states (`theory.steps`); binary weights above capacity: the frozen phase

Krauth & Mezard, J. Phys. France 50 (1989) 3057; Monasson, PRL 75 (1995) 2847.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.homotopy import between, walk
from replicax.theory.ansatz import KRSB, Frozen, LocalEntropy, OneRSB, poses, require
from replicax.theory.clusters import complexity
from replicax.theory.free_entropy import Problem, State, settled
from replicax.theory.models import BinaryPerceptron, RandomFeatures, RecurrentNetwork, SphericalPerceptron
from replicax.theory.perceptron import Bipartite
from replicax.vocabulary.limits import INFINITE, STAR

#: logarithms of the inner increment of q^, per pattern, at which clusters are looked for; `_COARSE` nodes see the largest
_INNER = np.linspace(-4.0, 8.0, 37)
_COARSE = 48
#: the residual to which the equation of q0 is solved there, before a last step
_SCANNED = 1e-3
#: the least that is left of the equation of q1 where the scan has not just missed its zeros
_CLOSE = 3e-3


class Clusters(Bipartite):
    """Levels (0, m), q0 and q1 stationary, q1 > q0."""

    nodes: ClassVar[int] = 96
    largest_block: ClassVar[int] = 512

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """Along solutions of the equation of q0, from q1 = q0 up: where that of q1 is solved, first the highest of the maxima of phi
        (m < 1: the lowest of its minima), then the largest q1.  Two solutions between two points are looked for where it turns.  There are no
        clusters where it keeps its sign.
        """
        plain = Bipartite(self.model, (0.0,))
        tries = jnp.where(skip, 0, len(plain.starts()))
        symmetric = settled(plain, 32, tol=1e-8, tries=tries)
        points = jnp.asarray(_INNER)

        def residual(z: Array, c: Array) -> tuple[Array, Array]:
            left = self.state(jnp.append(z, c), _COARSE).residual
            return left[:1], left[1]

        walked = walk(residual, symmetric.x, points, tol=_SCANNED, skip=skip)
        points, walked = between(points, walked, lambda left: left)
        x, left = jnp.concatenate([walked.x, points[:, None]], 1), walked.seen
        places, both = 0.5 * (x[:-1] + x[1:]), walked.found[:-1] & walked.found[1:]
        crosses = both & (left[:-1] * left[1:] <= 0)
        stable = both & (left[:-1] <= 0) & (left[1:] > 0)
        best = self._best(places, jnp.where(jnp.any(stable), stable, crosses))
        last = places.shape[0] - 1 - jnp.argmax(crosses[::-1])
        least = jnp.argmin(jnp.where(walked.found, jnp.abs(left), jnp.inf))
        none = jnp.all(walked.found) & (jnp.abs(left[least]) > _CLOSE) & ~jnp.any(crosses)
        return tuple(lax.stop_gradient((places[best], places[last], x[least]))), none

    def _best(self, places: Array, among: Array) -> Array:
        """Of the places `among` all: the highest of phi (m < 1: the lowest)."""
        sign = jnp.sign(jnp.asarray(self.ms[1], float) - 1.0)
        rows = jnp.nonzero(among, size=among.size)[0]

        def compare(i: Array, best: tuple[Array, Array]) -> tuple[Array, Array]:
            place = places[rows[i]]
            weight = sign * self.phi(self.state(place, _COARSE), _COARSE)
            better = weight > best[1]
            return jnp.where(better, rows[i], best[0]), jnp.where(better, weight, best[1])

        none = (jnp.zeros((), int), jnp.asarray(-jnp.inf))
        return lax.stop_gradient(lax.fori_loop(0, jnp.sum(among), compare, none))[0]

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """Clusters of binary weights contain at least one configuration."""
        site, n = state.parts["site"], self.nodes
        apart = super().inside(state, edge) & (site.overlaps[1] > 1e-6 * site.norm)
        if self.model.prior.norm == "spherical":
            return apart
        columns = self.columns(state, self.phi(state, n), n)
        return apart & (columns["S_I"] + _heat(self.model, columns["energy"]) > -1e-9)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        m = jnp.asarray(self.ms[1], float)
        energy, _ = self.thermal(state, phi, n)
        S_E = complexity(self, state, n)
        S_I = phi - S_E / m
        return dict(entropy=S_I, energy=energy, m=m, S_I=S_I, S_E=S_E)


def _heat(model: Any, energy: Array) -> Array:
    """beta energy."""
    return jnp.zeros_like(energy) if model.beta is INFINITE else jnp.asarray(model.beta, float) * energy


class Single(Problem):
    """Every configuration its own cluster at given m: the RS saddle at inverse temperature beta m."""

    model: BinaryPerceptron
    m: Array

    size: ClassVar[int] = 1

    @property
    def counts(self) -> bool:
        return False

    @property
    def family(self) -> Bipartite:
        model = self.model
        if model.beta is not INFINITE:
            model = eqx.tree_at(lambda p: p.beta, model, jnp.asarray(model.beta, float) * self.m)
        return Bipartite(model, (0.0,))

    def starts(self) -> tuple[Array, ...]:
        return self.family.starts()

    def absent(self, n: int) -> Array:
        return self.family.absent(n)

    def state(self, x: Array, n: int) -> State:
        state = self.family.state(x, n)
        q0, q0_hat = state.order["q"], state.order["q_hat"] / self.m**2
        order = dict(q0=q0, q1=jnp.ones(()), q0_hat=q0_hat)
        return State(order, state.residual, state.parts)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return self.family.inside(state, edge)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return tuple(t / self.m for t in self.family.terms(state, n))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        energy, S_E = self.family.thermal(state, self.m * phi, n)
        S_I = -_heat(self.model, energy)
        return dict(entropy=S_I, energy=energy, m=self.m + jnp.zeros_like(phi), S_I=S_I, S_E=S_E)


def _at_overlap(model: Any, ansatz: OneRSB) -> tuple[Problem, ...]:
    y = STAR if ansatz.m is None else ansatz.m
    return LocalEntropy(q1=ansatz.q1, y=y).problems(model)


@poses(OneRSB, RecurrentNetwork)
@poses(OneRSB, RandomFeatures)
def given_overlap(model: Any, ansatz: OneRSB) -> tuple[Problem, ...]:
    if ansatz.q1 is None:
        raise ValueError(f"q1 is missing: known for {model.name} at a given q1, with m given or stationary")
    return _at_overlap(model, ansatz)


@poses(OneRSB, SphericalPerceptron)
@poses(OneRSB, BinaryPerceptron)
def one_step(model: Any, ansatz: OneRSB) -> tuple[Problem, ...]:
    require(model, "alpha")
    if ansatz.q1 is not None:
        return _at_overlap(model, ansatz)
    if model.labels != "random":
        raise ValueError(f"labels = {model.labels}: with labels of a teacher q1 must be given")
    spherical = model.prior.norm == "spherical"
    if ansatz.m is None:
        return (KRSB(k=1) if spherical else Frozen()).problems(model)
    m = jnp.asarray(ansatz.m, float)
    clusters = Clusters(model, (0.0, m))
    return (clusters,) if spherical else (clusters, Single(model, m))
