r"""k steps of replica symmetry breaking on the sphere: solutions below jamming, ground states above.

Below: beta = inf, phi = (1/2) log(1 - q_k) + entropic + alpha energetic (vocabulary/ladder.py), least over q_0 < .. < q_k and
m_1 < .. < m_k < 1, with f_k = log H(-h/sqrt(1 - q_k)).  Above: q_k = 1, chi = lim beta (1 - q_k), c_i = lim beta m_i, and the energy e per
weight from -e = min [entropic + alpha energetic] with

    f_k(h) = max_u [ -l(h + u) - u^2/(2 chi) ].

Where breaking lowers nothing the replica-symmetric solution is the answer: all q_i are q, and m_i = 1.  Stabilities: 1 - alpha l_i^2
<f_i''^2>_{P_i}, by the answer of the energetic term to a nudge of f_i.  Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019,
arXiv:1702.06919.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.quadrature import RANGE
from replicax.numerics.roots import Root
from replicax.numerics.special import log_add_exp, log_diff_H, log_H
from replicax.theory.breaking import FINE, Landscape, quadratic_tilt
from replicax.theory.clusters import DOUBT, Broken, least_complexity
from replicax.theory.free_entropy import Problem, State, settled
from replicax.theory.ground_state import GroundState
from replicax.theory.hierarchy import Hierarchy
from replicax.theory.jamming import Contact
from replicax.theory.models import SphericalPerceptron
from replicax.theory.one_step import Clusters
from replicax.theory.perceptron import Bipartite
from replicax.theory.replicas import Replicas
from replicax.theory.zero_complexity import AtZeroComplexity
from replicax.vocabulary.factors import Errors
from replicax.vocabulary.ladder import (
    Absorbing,
    Ladder,
    Pattern,
    below_bend,
    energetic,
    entropic,
    stabilities,
)
from replicax.vocabulary.levels import is_frozen
from replicax.vocabulary.limits import INFINITE

#: ground states have errors: below jamming -e falls to 0 from above, along chi or c -> inf, where a search stops beyond this
LOOSE = 1e6
#: log chi where what has become loose is looked for again
_TIGHT = 5.0
#: the least energy that is told from that of solutions
_ENERGY = 1e-10
#: of the symmetric response, that a first step takes
_SHARES = (0.05, 0.1, 0.2, 0.4, 0.7)
#: points of a first look that are looked at again
_LOWEST = 16


class Satisfied(Pattern):
    """f_k = log H(-h/sqrt(1 - q_k)): the pattern is satisfied."""

    def __call__(self, h: Array, ladder: Ladder) -> Array:
        return log_H(-h / jnp.sqrt(ladder.rest))

    bare = __call__

    def bends(self, ladder: Ladder) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        return (jnp.zeros(()),), (jnp.sqrt(ladder.rest),)

    def tilt(self, h: Array, variance: Array, m: Array, response: Array) -> tuple[Array, Array, Array, Array]:
        return quadratic_tilt(h, variance, m, response)


class Violated(Absorbing):
    """Number of errors at T = 0: f_k = -h^2/(2 chi) down to -1, where the error is made instead; the first step in closed form."""

    def __call__(self, h: Array, ladder: Ladder) -> Array:
        c, variance, chi = ladder.ms[0], ladder.steps[0], ladder.rest
        scale, stretch = jnp.sqrt(variance), 1.0 + c * variance / chi
        edge = jnp.sqrt(2.0 * chi)
        # the part between -edge and 0 is a Gaussian of variance D/stretch around h/stretch
        inner = scale / jnp.sqrt(stretch)
        lower, upper = (-edge - h / stretch) / inner, -h / stretch / inner
        moved = -0.5 * c * h**2 / (chi * stretch) - 0.5 * jnp.log(stretch) + log_diff_H(lower, upper)
        wrong = log_H((h + edge) / scale) - c
        return log_add_exp(log_add_exp(log_H(-h / scale), wrong), moved) / c

    def bare(self, h: Array, ladder: Ladder) -> Array:
        return Errors(0.0).envelope(h, ladder.rest)

    def moved(self, x: Array, ladder: Ladder) -> tuple[Array, Array]:
        """Fields between -edge and 0 are moved to the margin."""
        return x, jnp.where((x > 0) | (x < -jnp.sqrt(2.0 * ladder.rest)), 1.0, 0.0)

    def bends(self, ladder: Ladder) -> tuple[tuple[Array, ...], tuple[Array, ...]]:
        width = jnp.sqrt(ladder.innermost)
        return (jnp.zeros(()), -jnp.sqrt(2.0 * ladder.rest)), (width, width)

    def tilt(self, h: Array, variance: Array, m: Array, response: Array) -> tuple[Array, Array, Array, Array]:
        zero = jnp.zeros_like(h)
        return zero, zero + 1.0, -below_bend(h, variance), zero + RANGE + jnp.sqrt(2.0 * m)


def ground_pattern(model: SphericalPerceptron) -> Pattern:
    return Violated() if model.loss == "errors" else Contact(offset=1.0)


class Solutions(Landscape):
    """phi of the solutions (beta = inf).  Last coordinate: log((1 - q_k)/q_0)."""

    model: SphericalPerceptron
    most: int = eqx.field(static=True)

    ends: ClassVar[int] = 1
    bounded: ClassVar[bool] = True
    coarse: ClassVar[int] = 40
    #: where the stability of a level is -l, less than this, fewer steps are an answer: its breaking lowers phi by this times l^3 at most (3 to 20
    #: beyond the Gardner line, kappa in [-2.2, -1.56])
    slight: ClassVar[tuple[float, float]] = (3e-4, 20.0)
    second: ClassVar[tuple] = ((-0.7, 0.5), (-2.3, 2.0), (-3.9, 2.3), (-5.5, 2.6))

    @property
    def pattern(self) -> Pattern:
        return Satisfied()

    def ladder(self, x: Array, count: Array) -> Ladder:
        steps, ms = self.increments(x, count)
        rest = jnp.exp(x[-1])
        outer = 1.0 / (1.0 + jnp.sum(steps) + rest)
        return Ladder(outer, steps * outer, ms, rest * outer, count)

    def terms(self, ladder: Ladder, n: int) -> tuple[Array, ...]:
        kappa = jnp.asarray(self.model.kappa, float)
        bound = alpha_of(self.model) * energetic(ladder, self.pattern, kappa, n)
        return 0.5 * jnp.log(ladder.rest), entropic(ladder), bound

    def value(self, ladder: Ladder, n: int) -> Array:
        return sum(self.terms(ladder, n), jnp.zeros(()))

    def symmetric(self) -> Array:
        return _solved(Bipartite(self.model, (0.0,)))[0]

    def first(self) -> Array:
        """One step, or where that is not found the lowest point of a wide scan."""
        if self.most == 1:
            return self.scan()
        near = self.near()
        return lax.cond(near.converged, lambda: _spread(near.x, self.most), lambda: self.scan())

    def scan(self) -> Array:
        """The lowest point of a wide scan of q_0, (1 - q_1)/(1 - q_0) and m."""
        one = Solutions(self.model, 1)
        grids = (jnp.linspace(-6.0, 6.5, 12), jnp.linspace(-7.0, -0.1, 9), jnp.linspace(-3.5, 1.5, 5))
        outer, inner, number = (g.ravel() for g in jnp.meshgrid(*grids))
        rest = jnp.exp(inner - outer)  # (1 - q1)/q0
        tries = jnp.stack([jnp.log(-jnp.expm1(inner)) - outer, number, jnp.log(rest)], axis=1)
        values = lax.map(lambda x: one.value(one.ladder(x, 1), 12), tries, batch_size=60)
        best = tries[jnp.nanargmin(values)]
        return _spread(best, self.most)

    def near(self) -> Root:
        """One step from the map of two levels (`theory.clusters`), in the coordinates of the ladder."""
        symmetric, state = _solved(Bipartite(self.model, (0.0,)))
        problem = Broken(self.model)
        root = problem.lowest(symmetric, state)
        site = problem.state(root.x, self.fine).parts["site"]
        outer = jnp.log(site.overlaps[0])
        found = jnp.stack([jnp.log(site.overlaps[1]) - outer, root.x[2], jnp.log(site.complement) - outer])
        return root._replace(x=found, jacobian=None)

    def plain(self) -> Array:
        """Without steps there are no solutions (with them at fewer patterns), or replica symmetry has the least phi of all x(q)."""
        problem = Bipartite(self.model, (0.0,))
        _, state = _solved(problem)
        least, _ = least_complexity(self.model, state)
        return problem.absent(self.fine) | ((state.parts["replicon"] > 0) & (least > DOUBT))


class GroundStates(Landscape):
    """-e of the ground states.  Last coordinate: log chi."""

    model: SphericalPerceptron
    most: int = eqx.field(static=True)

    ends: ClassVar[int] = 1
    onwards: ClassVar[bool] = True
    #: as for `Solutions`: up to 3e-4 (squared hinge, kappa = -2 and -2.5)
    slight: ClassVar[tuple[float, float]] = (1e-2, 1e-2)

    @property
    def pattern(self) -> Pattern:
        return ground_pattern(self.model)

    def ladder(self, x: Array, count: Array) -> Ladder:
        steps, ms = self.increments(x, count)
        outer = 1.0 / (1.0 + jnp.sum(steps))
        return Ladder(outer, steps * outer, ms, jnp.exp(x[-1]), count)

    def terms(self, ladder: Ladder, n: int) -> tuple[Array, ...]:
        kappa = jnp.asarray(self.model.kappa, float)
        return entropic(ladder), alpha_of(self.model) * energetic(ladder, self.pattern, kappa, n)

    def value(self, ladder: Ladder, n: int) -> Array:
        return sum(self.terms(ladder, n), jnp.zeros(()))

    def symmetric(self) -> Array:
        """0 below the capacity without steps, where solutions are all that it knows."""
        return jnp.minimum(_solved(GroundState(self.model))[0], 0.0)

    def tightened(self, x: Array) -> Array:
        """Below jamming of fewer steps chi -> inf at their c_i/chi: the same there, from where chi is finite."""
        loose = jnp.maximum(x[-1] - _TIGHT, 0.0)
        return x.at[self.most :].add(-loose)

    def first(self) -> Array:
        """The lowest point of a wide scan of q_0, c_1 and chi, and where one step takes a share of the symmetric response chi: at many patterns
        breaking lowers the energy by less than a chi beside the best one costs.
        """
        one = GroundStates(self.model, 1)
        places = jnp.linspace(-8.0, 6.0, 15)
        tries = [
            g.ravel() for g in jnp.meshgrid(places, jnp.linspace(-3.0, 7.0, 15), jnp.linspace(-9.0, 5.0, 15))
        ]
        whole = _solved(GroundState(self.model))[1].order["chi"]
        outer, share = (g.ravel() for g in jnp.meshgrid(places, jnp.asarray(_SHARES)))
        number = jnp.log(share * whole / jax.nn.sigmoid(outer))
        tries = jnp.concatenate([
            jnp.stack(tries, axis=1),
            jnp.stack([outer, number, jnp.log((1.0 - share) * whole)], axis=1),
        ])  # fmt: skip
        value = lambda n: lambda x: one.value(one.ladder(x, 1), n)
        rough = lax.map(value(20), tries, batch_size=200)
        # the narrowest are not seen well by a first look
        tries = tries[jnp.argsort(rough)[:_LOWEST]]
        values = lax.map(value(self.nodes), tries, batch_size=_LOWEST)
        return _spread(tries[jnp.nanargmin(values)], self.most)


def alpha_of(model: SphericalPerceptron) -> Array:
    return jnp.asarray(model.alpha, float)


def climbed(landscape: Landscape, k: int) -> Root:
    """The minimum of as many of k steps as lower something; coordinates: those of the landscape, then how many."""
    rows = landscape.climb(jnp.asarray(k))
    found = jnp.sum(jnp.cumprod(rows.converged))
    last = jax.tree.map(lambda x: x[jnp.maximum(found - 1, 0)], rows)
    broken = last.value < landscape.symmetric()
    done = (found > 0) & jnp.isfinite(last.value) & broken
    slope = last.slope / (1.0 + jnp.abs(last.value))
    return Root(jnp.append(last.x, found.astype(float)), slope, last.steps.astype(float), done)


def searched(problem: Problem, search: Callable[[], Root]) -> Root:
    """The root by `search`, which is left out where the landscape of the problem is known to need no steps."""
    size = problem.size  # type: ignore[attr-defined]
    nothing = Root(jnp.zeros(size), jnp.asarray(jnp.inf), jnp.zeros(()), jnp.zeros((), bool))
    return lax.cond(problem.landscape.plain(), lambda: nothing, lambda: search())  # type: ignore[attr-defined]


def _spread(one: Array, most: int) -> Array:
    """Coordinates of one step among those of `most`."""
    return jnp.zeros(2 * most + 1).at[0].set(one[0]).at[most].set(one[1]).at[-1].set(one[2])


def _solved(problem: Any) -> tuple[Array, State]:
    """The value of a replica-symmetric problem at its root (inf where it has none), and the state there."""
    n = problem.nodes
    _, state, found = settled(problem, n, tol=1e-11)
    fine = found & problem.inside(state)
    return lax.stop_gradient(jnp.where(fine, problem.phi(state, n), jnp.inf)), state


class Steps(Problem):
    """The minimum of a landscape over k steps, where it is lower than without steps.

    Coordinates: those of the landscape, then how many steps there are: fewer than k where further ones lower nothing.
    """

    landscape: Solutions | GroundStates
    k: int = eqx.field(static=True)

    nodes: ClassVar[int] = 64
    largest_block: ClassVar[int] = 1
    accuracy: ClassVar[float] = 1e-7

    @property
    def model(self) -> SphericalPerceptron:
        return self.landscape.model

    @property
    def cold(self) -> bool:
        return isinstance(self.landscape, GroundStates)

    @property
    def counts(self) -> bool:
        return False

    @property
    def size(self) -> int:
        return 2 * self.k + 2

    @property
    def levels(self) -> int:
        """Steps in the arrays of the Parisi function."""
        return self.k

    def hierarchy(self, state: State, n: int) -> Hierarchy:
        kappa = jnp.asarray(self.model.kappa, float)
        ladder, stable = state.parts["ladder"], state.parts["stable"]
        return Hierarchy(ladder, self.landscape.pattern, kappa, stable, self.levels)

    def search(self, given: Array | None, refinement: int) -> Root:
        """What is lost is looked for again on finer grids."""
        if refinement > 1:
            finer = dataclasses.replace(self.landscape, finer=2)
            return dataclasses.replace(self, landscape=finer).search(given, 1)
        near = self.k == 1 and isinstance(self.landscape, Solutions)
        return searched(self, self._near if near else lambda: climbed(self.landscape, self.k))

    def _near(self) -> Root:
        near = self.landscape.near()
        return lax.cond(
            near.converged,
            lambda: near._replace(x=jnp.append(near.x, 1.0)),
            lambda: climbed(self.landscape, self.k),
        )

    def state(self, x: Array, n: int) -> State:
        count = lax.stop_gradient(x[-1]).astype(int)
        ladder = self.landscape.ladder(self.landscape.stationary(x[:-1], count), count)
        overlaps, ms = ladder.overlaps[::-1], ladder.ms[::-1]
        squares = stabilities(ladder, self.landscape.pattern, jnp.asarray(self.model.kappa, float), n)
        stable = 1.0 - alpha_of(self.model) * ladder.responses**2 * squares
        # absent levels coincide with the outermost
        stable = stable[jnp.minimum(jnp.arange(self.k + 1), count)][::-1]
        if self.cold:
            overlaps = overlaps.at[-1].set(1.0)
        order = named(overlaps, jnp.zeros_like(ms) if self.cold else ms)
        if self.cold:
            order |= dict(chi=ladder.rest)
        return State(order, jnp.zeros_like(x), dict(ladder=ladder, stable=stable))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return self.landscape.terms(state.parts["ladder"], n)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """Not at jamming; and where further steps were worth nothing, nothing must ask for them, or too little to be seen."""
        ladder, stable = state.parts["ladder"], state.parts["stable"]
        complete = (ladder.count == self.k) | (jnp.min(stable) > -self.landscape.slight[0])
        return complete & ((ladder.rest < LOOSE) if self.cold else (ladder.rest > edge))

    def possible(self, phi: Array, error: Array) -> Array:
        return (-phi > jnp.maximum(error, _ENERGY)) if self.cold else super().possible(phi, error)

    def truncation(self, state: State, terms: tuple[Array, ...]) -> Array:
        """What further steps were not seen to lower."""
        most = jnp.maximum(-jnp.min(state.parts["stable"]), 0.0)
        return jnp.where(state.parts["ladder"].count < self.k, self.landscape.slight[1] * most**3, 0.0)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        ladder, stable = state.parts["ladder"], state.parts["stable"]
        columns = dict(replicon=jnp.min(stable)) | {f"stability_{i}": stable[i] for i in range(self.k + 1)}
        if self.cold:
            cs = ladder.ms[::-1]
            columns |= dict(energy=-phi, c=cs[0])
            columns |= {f"c_{i + 1}": cs[i] for i in range(self.k) if self.k > 1}
        else:
            columns |= dict(energy=jnp.zeros_like(phi), entropy=phi)
        return columns


def named(overlaps: Array, ms: Array) -> dict[str, Array]:
    """q_0, .., q_k and m_1, .., m_k by their names (one step: q0, q1, m)."""
    k = ms.shape[0]
    if k == 1:
        return dict(q0=overlaps[0], q1=overlaps[1], m=ms[0])
    return {f"q_{i}": overlaps[i] for i in range(k + 1)} | {f"m_{i + 1}": ms[i] for i in range(k)}


class Unbroken(Problem):
    """The replica-symmetric solution or ground state, where it is stable, in the columns of k steps."""

    plain: Any
    k: int = eqx.field(static=True)

    @property
    def nodes(self) -> int:  # type: ignore[override]
        return self.plain.nodes

    @property
    def size(self) -> int:
        return self.plain.size

    @property
    def counts(self) -> bool:
        return False

    @property
    def levels(self) -> int:
        """Steps in the arrays of the Parisi function."""
        return self.k

    def hierarchy(self, state: State, n: int) -> Hierarchy:
        """No steps: q_0 alone."""
        model, cold, nothing = self.plain.model, isinstance(self.plain, GroundState), jnp.zeros(0)
        rest = state.order["chi"] if cold else state.parts["site"].complement
        outer = jnp.ones(()) if cold else 1.0 - rest
        ladder = Ladder(outer, nothing, nothing, rest, jnp.zeros((), int))
        pattern = ground_pattern(model) if cold else Satisfied()
        stable = self.stability(state, n)[None]
        return Hierarchy(ladder, pattern, jnp.asarray(model.kappa, float), stable, self.levels)

    def starts(self) -> tuple[Array, ...]:
        return self.plain.starts()

    def absent(self, n: int) -> Array:
        return self.plain.absent(n)

    def state(self, x: Array, n: int) -> State:
        state = self.plain.state(x, n)
        q = jnp.broadcast_to(state.order["q"], (self.k + 1,))
        order = named(q, jnp.ones(self.k)) | {k: v for k, v in state.order.items() if k == "chi"}
        return state._replace(order=order)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        return self.plain.terms(state, n)

    def stability(self, state: State, n: int) -> Array:
        return self.plain.columns(state, jnp.zeros(()), n)["replicon"]

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """Stable, and (solutions) no cluster of the measure has a negative complexity."""
        stable = self.plain.inside(state, edge) & (self.stability(state, self.nodes) > -1e-9)
        if isinstance(self.plain, GroundState):
            return stable
        return stable & (least_complexity(self.plain.model, state)[0] > -DOUBT)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        columns = self.plain.columns(state, phi, n)
        stable = columns["replicon"]
        return columns | {f"stability_{i}": stable for i in range(self.k + 1)}


def broken(model: SphericalPerceptron, k: int, extended: bool) -> tuple[Problem, ...]:
    """k steps (extended: m_i without order) below jamming and of the ground states above, or none where they are stable."""
    return (
        Steps(Solutions(model, k, extended=extended), k),
        Unbroken(Bipartite(model, (0.0,)), k),
        Steps(GroundStates(model, k, extended=extended), k),
        *((Unbroken(GroundState(model), k),) if model.loss != "errors" else ()),
    )


class Given(NamedTuple):
    """One step with m or q1 given: what answers with levels (0, m) on the sphere, and its hierarchy."""

    problem: Any

    @property
    def nodes(self) -> int:
        return self.problem.nodes

    def state(self, x: Array, n: int) -> State:
        return self.problem.state(x, n)

    def hierarchy(self, state: State, n: int) -> Hierarchy:
        site, model = state.parts["site"], getattr(self.problem, "family", self.problem).model
        m = jnp.asarray(state.parts["y"] if "y" in state.parts else self.problem.ms[1], float)
        outer, inner = site.overlaps
        ladder = Ladder(outer, inner[None], m[None], site.complement, jnp.ones((), int))
        kappa, weight = jnp.asarray(model.kappa, float), alpha_of(model)
        stable = 1.0 - weight * ladder.responses**2 * stabilities(ladder, Satisfied(), kappa, FINE)
        return Hierarchy(ladder, Satisfied(), kappa, stable[::-1], 1)


def hierarchical(problem: Any) -> Any:
    """The problem, if it knows the hierarchy of its overlaps (`hierarchy`): replica-symmetric ones have one without steps; else None."""
    if hasattr(problem, "hierarchy"):
        return problem
    family = problem.family if isinstance(problem, AtZeroComplexity) else problem
    model = getattr(family, "model", None)
    if not isinstance(model, SphericalPerceptron) or model.beta is not INFINITE or model.labels != "random":
        return None
    if isinstance(family, Clusters | Replicas) and not is_frozen(family.ms[1]):
        return Given(problem)
    symmetric = type(problem) is Bipartite and problem.ms == (0.0,)
    return Unbroken(problem, 0) if symmetric or isinstance(problem, GroundState) else None
