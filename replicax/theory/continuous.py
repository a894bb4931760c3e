r"""Full replica symmetry breaking on the sphere: the Parisi function as a continuous unknown.

    phi = (1/2) [ log(1-q_M) + q_m/lam(q_m) + int dq/lam(q) ] + alpha E_z f(q_m, sqrt(q_m) z - kappa),   lam(q) = 1 - q_M + int_q^q_M x dp,
    d_q f = -(1/2)(f'' + x f'^2),    q_m/lam(q_m)^2 + int dp/lam(p)^2 = alpha <f'^2>_P   wherever x(q) rises,

solved on a grid of x: at fixed x_1 < .. < x_K the functional of a ladder is stationary in its overlaps.  With G_i = alpha <f_i'^2> of the
present ladder (backward f, and forward P by differentiating through it) the equations for the overlaps close,

    1/l_i - 1/l_{i-1} = x_i (G_i - G_{i-1}),    q_i - q_{i-1} = l_{i-1} l_i (G_i - G_{i-1}),    q_0 = l_0^2 G_0,

up to l_0, which 1 - q_K = l_K decides (T = 0: q_K = 1, l_K = chi).  That map contracts, slowly; Anderson's acceleration does the rest.  phi is
a minimum in the overlaps, and falls with the number of levels as K^-4: two grids give the limit and its error.  Solutions and ground states with
fewer than three steps (stable ones) are those of `theory.steps`.

Parisi, PRL 43 (1979) 1754; Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.anderson import fixed_point
from replicax.numerics.brackets import bracketed_root
from replicax.numerics.roots import Root, moving_root
from replicax.theory.ansatz import KRSB, RS, poses, require
from replicax.theory.breaking import Landscape
from replicax.theory.free_entropy import Problem, State
from replicax.theory.ground_state import GroundState
from replicax.theory.hierarchy import Hierarchy
from replicax.theory.models import SphericalPerceptron
from replicax.theory.perceptron import Bipartite
from replicax.theory.steps import (
    LOOSE,
    GroundStates,
    Solutions,
    Unbroken,
    alpha_of,
    broken,
    climbed,
    searched,
)
from replicax.vocabulary.ladder import Ladder, energetic, stabilities
from replicax.vocabulary.limits import INFINITE

#: levels of the two grids of x
LEVELS = (6, 12)
#: steps of the ladder that the grids are made from
FIRST = 3
#: the largest |G/T - 1| that is aimed at, and accepted after so many steps of the map
_STATIONARY, _ACCEPTED, _STEPS = 1e-5, 1e-4, 80
#: nodes of coarse rules, and how far they go (their error: 5e-4)
_ROUGH, _ROUGHLY = 24, 2e-3
#: how much phi feels of its square (seen: 15 to 144)
_FELT = 150.0


def strengths(landscape: Landscape, ladder: Ladder, n: int) -> Array:
    """G_0, .., G_K (absent levels come first, and are G_0): alpha <f_i'^2>_{P_i}, from the derivatives of the energetic term in the variances.

    d E/d D_i = <f_i'' + x_i f_i'^2>/2 (i > 0), d E/d D_0 = <f_0''>/2, and in l_K that of one more level, at x = 1 (T = 0: <f_K'^2>/2).
    """
    kappa = jnp.asarray(landscape.model.kappa, float)

    def bound(outer: Array, steps: Array, rest: Array) -> Array:
        return energetic(ladder._replace(outer=outer, steps=steps, rest=rest), landscape.pattern, kappa, n)

    outer, steps, rest = jax.grad(bound, (0, 1, 2))(ladder.outer, ladder.steps, ladder.rest)
    present, levels = ladder.present[::-1], _levels(ladder)
    xs = jnp.append(0.0, ladder.ms[::-1])
    slopes = jnp.append(outer, jnp.where(present, steps[::-1], outer))
    if landscape.bounded:
        slopes, xs = jnp.append(slopes, rest), jnp.append(xs, 1.0)
    known = levels[: xs.size - 1]
    inner = 2.0 * jnp.diff(slopes) / jnp.where(known, jnp.diff(xs), 1.0)
    if not landscape.bounded:
        inner = jnp.append(inner, 2.0 * rest)
    first = inner[inner.size - 1 - ladder.count]
    return alpha_of(landscape.model) * jnp.where(levels, inner, first)


def _levels(ladder: Ladder) -> Array:
    """Which of the levels 0, .., K there are (absent ones come first)."""
    return jnp.append(ladder.present[::-1], True)


def wanted(ladder: Ladder) -> Array:
    """T_0, .., T_K: q_0/l_0^2 + sum_j D_j/(l_{j-1} l_j), what the G_i are at a stationary ladder."""
    responses, steps = ladder.responses[::-1], ladder.steps[::-1]
    first = ladder.outer / responses[0] ** 2
    return first + jnp.append(0.0, jnp.cumsum(steps / (responses[:-1] * responses[1:])))


def closed(landscape: Landscape, ladder: Ladder, G: Array) -> Ladder:
    """The ladder with the x_i of this one whose T_i are G_i."""
    rises, xs = jnp.diff(G), ladder.ms[::-1]
    lost = jnp.append(0.0, jnp.cumsum(xs * rises))

    def at(y: Array) -> tuple[Array, Array]:
        responses = 1.0 / (jnp.exp(-y) + lost)
        q0 = G[0] * responses[0] ** 2
        return jnp.append(q0, responses[:-1] * responses[1:] * rises), responses

    def excess(y: Array) -> Array:
        steps, responses = at(y)
        return jnp.sum(steps) + (responses[-1] if landscape.bounded else 0.0) - 1.0

    top = -0.5 * jnp.log(G[0])  # q_0 alone is 1 there
    steps, responses = at(bracketed_root(excess, top - 60.0, top).value)
    return ladder._replace(outer=steps[0], steps=steps[:0:-1], rest=responses[-1])


def _increments(ladder: Ladder) -> Array:
    """Which of D_0, absent ones, D_1, .., D_K there are."""
    return jnp.append(True, ladder.present[::-1])


def placed(landscape: Landscape, y: Array, ladder: Ladder) -> Ladder:
    """The ladder with the x_i of this one at coordinates log(q_0/(1 - q_0)), log((q_i - q_{i-1})/(1 - q_i)), i <= K (T = 0: i < K, then log chi)."""
    there = _increments(ladder)
    inner = y if landscape.bounded else y[:-1]
    there = there[: inner.size]
    left = jnp.exp(-jnp.cumsum(jnp.where(there, jnp.logaddexp(0.0, inner), 0.0)))  # 1 - q_i
    steps = jnp.where(there, jnp.exp(inner) * left, 0.0)
    if not landscape.bounded:
        steps = jnp.append(steps, left[-1])
    rest = left[-1] if landscape.bounded else jnp.exp(y[-1])
    return ladder._replace(outer=steps[0], steps=steps[:0:-1], rest=rest)


def coordinates(landscape: Landscape, ladder: Ladder) -> Array:
    """Those of `placed`; absent ones are 0."""
    steps = jnp.append(ladder.outer, ladder.steps[::-1])
    inside = jnp.cumsum(jnp.append(ladder.rest if landscape.bounded else 0.0, ladder.steps))[::-1]
    if landscape.bounded:
        return _log_ratio(steps, inside, _increments(ladder))
    inner = _log_ratio(steps[:-1], inside[:-1], _increments(ladder)[:-1])
    return jnp.append(inner, jnp.log(ladder.rest))


def _log_ratio(a: Array, b: Array, known: Array) -> Array:
    """log(a/b), 0 where it is not known."""
    return jnp.log(jnp.where(known, a, 1.0) / jnp.where(known, b, 1.0))


def lengthened(ladder: Ladder, size: int) -> Ladder:
    """The same in arrays of `size` steps."""
    longer = jnp.zeros(size - ladder.ms.shape[0])
    return ladder._replace(steps=jnp.append(ladder.steps, longer), ms=jnp.append(ladder.ms, longer))


def resampled(values: Array, old: Array, size: Array, keep: Array, ends: bool) -> Array:
    """`old` values at `size` places, in an array of the same length; the first `keep` (0 or 1) stay.

    ends: linearly, from end to end; otherwise by the middles t of equal cells, linearly in -log(1 - t): the largest x grow like a power of their
    number, without bound at T = 0 and at jamming.
    """
    old, size = old - keep, size - keep
    index = jnp.arange(values.shape[0]) - keep
    i = jnp.clip(index, 0, size - 1)
    if ends:
        t, along = i * (old - 1) / (size - 1), lambda t: t
    else:
        t, along = (i + 0.5) * old / size - 0.5, lambda t: -jnp.log1p(-(t + 0.5) / old)
    cell = jnp.clip(jnp.floor(t).astype(int), 0, old - 2)
    left, right = values[keep + cell], values[keep + cell + 1]
    share = (along(t) - along(cell)) / (along(cell + 1) - along(cell))
    return jnp.where(index < 0, values[0], left + share * (right - left))


def finer(landscape: Landscape, ladder: Ladder, size: Array, keep: Array) -> Ladder:
    """A ladder of `size` levels along this one; keep = 1: its first step is a gap, and stays."""
    bounded, old, index = landscape.bounded, ladder.count, jnp.arange(ladder.ms.shape[0])
    turned = lambda values, last: values[jnp.clip(last - jnp.arange(values.shape[0]), 0)]
    ms = turned(ladder.ms, old - 1)
    number = jnp.log(ms) - (jnp.log1p(-ms) if bounded else 0.0)
    number = turned(resampled(number, old, size, keep, ends=False), size - 1)
    ms = jnp.where(index < size, jax.nn.sigmoid(number) if bounded else jnp.exp(number), 0.0)
    # log(1 - q_i), i = 0, .., K (T = 0: i < K)
    distance = turned(jnp.cumsum(jnp.append(ladder.rest if bounded else 0.0, ladder.steps)), old)
    left = jnp.log(jnp.where(distance > 0, distance, 1.0))
    known = 1 if bounded else 0
    left = resampled(left, old + known, size + known, keep, ends=True)
    before = jnp.append(0.0, left[:-1])
    steps = -jnp.expm1(left - before) * jnp.exp(before)
    if not bounded:
        steps = jnp.where(jnp.arange(steps.size) == size, jnp.exp(before), steps)
    rest = jnp.exp(left[size]) if bounded else ladder.rest
    inwards = jnp.where(index < size, turned(steps, size)[:-1], 0.0)
    return Ladder(steps[0], inwards, ms, rest, size)


class Grid(NamedTuple):
    """A solved grid: coordinates, its x (innermost first), levels, the largest |G/T - 1|, steps of the map."""

    y: Array
    xs: Array
    count: Array
    size: Array
    steps: Array

    def ladder(self) -> Ladder:
        """With this x; its overlaps are those at the coordinates."""
        return Ladder(jnp.ones(()), jnp.zeros_like(self.xs), self.xs, jnp.ones(()), self.count)


class Continuous(Problem):
    """Full breaking from ladders on the grids of `LEVELS`, or the fewer than `FIRST` steps that are stable.

    Coordinates: those of the steps, how many there are, then of both grids (`placed`) and their x.  Derivatives of phi and of the overlaps on grids
    are those at fixed x: phi feels a grid only by what it leaves out.
    """

    landscape: Solutions | GroundStates

    nodes: ClassVar[int] = 48
    largest_block: ClassVar[int] = 1
    accuracy: ClassVar[float] = 1e-5
    retried: ClassVar[bool] = False
    levels: ClassVar[int] = LEVELS[-1]

    @property
    def model(self) -> SphericalPerceptron:
        return self.landscape.model

    @property
    def counts(self) -> bool:
        return False

    @property
    def size(self) -> int:
        return 2 * FIRST + self.landscape.ends + 1 + 2 * (2 * LEVELS[-1] + 1)

    def search(self, given: Array | None, refinement: int) -> Root:
        return searched(self, self._found)

    def _found(self) -> Root:
        few = climbed(self.landscape, FIRST)
        ladder = lengthened(self.landscape.ladder(few.x[:-1], jnp.asarray(FIRST)), LEVELS[-1])
        size, steps, grids = lax.cond(
            few.converged & (few.x[-1] == FIRST),
            lambda: self._on_grids(ladder),
            lambda: (few.residual, jnp.zeros(()), jnp.zeros(self.size - few.x.size)),
        )
        return Root(jnp.append(few.x, grids), size, few.steps + steps, few.converged & (size <= _ACCEPTED))

    def _on_grids(self, few: Ladder) -> tuple[Array, Array, Array]:
        """(the largest |G/T - 1|, steps of the map, coordinates): the coarser grid without and with a gap, the finer one along the lower of them."""

        def solved(best: tuple, what: tuple) -> tuple[tuple, Grid]:
            count, keep = what
            source, value, kept = best
            last = count == LEVELS[-1]
            keep = jnp.where(last, kept, keep)
            source_or_few = jax.tree.map(lambda a, b: jnp.where(last, a, b), source, few)
            grid = self.relaxed(finer(self.landscape, source_or_few, count, keep))
            ladder = placed(self.landscape, grid.y, grid.ladder())
            new = self.landscape.value(ladder, self.nodes)
            better = jnp.isfinite(grid.size) & (new < value)
            pick = lambda a, b: jnp.where(better, a, b)
            return jax.tree.map(pick, (ladder, new, keep), best), grid

        counts, keeps = np.array([LEVELS[0], LEVELS[0], LEVELS[1]]), np.array([0, 1, 0])
        start = (few._replace(count=jnp.asarray(FIRST)), jnp.asarray(jnp.inf), jnp.zeros((), int))
        (_, _, keep), every = lax.scan(solved, start, (counts, keeps))
        both = jax.tree.map(lambda a: jnp.stack([a[keep], a[2]]), every)
        coordinates = jnp.concatenate([both.y, both.xs], axis=1)
        return jnp.max(both.size), jnp.sum(every.steps).astype(float), coordinates.ravel()

    def relaxed(self, start: Ladder) -> Grid:
        """Stationary overlaps at the x of `start`: T = G, from where coarse rules see them."""

        def move(y: Array, n: int) -> tuple[Array, Array]:
            ladder = placed(self.landscape, y, start)
            G, T = strengths(self.landscape, ladder, n), wanted(ladder)
            # a level is not left in one step
            rises = jnp.maximum(jnp.diff(G), 0.1 * jnp.diff(T))
            moved = closed(self.landscape, ladder, jnp.append(G[0], G[0] + jnp.cumsum(rises)))
            f = coordinates(self.landscape, moved) - y
            return f, jnp.max(jnp.abs(G / T - 1.0))

        first = coordinates(self.landscape, start)
        rough = fixed_point(lambda y: move(y, _ROUGH), first, tol=_ROUGHLY, memory=10, max_steps=_STEPS // 2)
        found = fixed_point(
            lambda y: move(y, self.nodes), rough.x, tol=_STATIONARY, memory=10, max_steps=_STEPS
        )
        return Grid(found.x, start.ms, start.count, found.size, rough.steps + found.steps)

    def ladders(self, x: Array) -> Ladder:
        """Of both grids, along a first axis; the steps, twice, where those are the answer."""
        last = 2 * FIRST + self.landscape.ends
        count = lax.stop_gradient(x[last]).astype(int)

        def steps() -> Ladder:
            few = self.landscape.ladder(self.landscape.stationary(x[:last], count), count)
            return jax.tree.map(lambda a: jnp.stack([a, a]), lengthened(few, LEVELS[-1]))

        def on_grid(row: tuple[Array, Array]) -> Ladder:
            (y, xs), levels = jnp.split(row[0], [LEVELS[-1] + 1]), row[1]
            grid = Grid(y, lax.stop_gradient(xs), levels, jnp.zeros(()), jnp.zeros(()))

            def residual(z: Array) -> Array:
                ladder = placed(self.landscape, z, grid.ladder())
                left = strengths(self.landscape, ladder, self.nodes) / wanted(ladder) - 1.0
                # absent levels, in front, have that of level 0
                return jnp.where(_increments(ladder), left, z)

            return placed(self.landscape, moving_root(residual, y), grid.ladder())

        rows = x[last + 1 :].reshape(2, -1), np.array(LEVELS)
        return lax.cond(count < FIRST, steps, lambda: lax.map(on_grid, rows))

    def state(self, x: Array, n: int) -> State:
        ladders = self.ladders(x)
        fine = jax.tree.map(lambda a: a[1], ladders)
        squares = stabilities(fine, self.landscape.pattern, jnp.asarray(self.model.kappa, float), n)
        stable = 1.0 - alpha_of(self.model) * fine.responses**2 * squares
        stable = stable[jnp.minimum(jnp.arange(LEVELS[-1] + 1), fine.count)]
        q_M = jnp.ones(()) if self.cold else fine.overlaps[0]
        order = named(fine.outer, q_M, fine.ms[jnp.maximum(fine.count - 1, 0)], fine.ms[0])
        if self.cold:
            order |= dict(chi=fine.rest)
        return State(order, jnp.zeros_like(x), dict(ladders=ladders, fine=fine, stable=stable))

    @property
    def cold(self) -> bool:
        return not self.landscape.bounded

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        """Those on the finer grid, and what levels beyond its add: the values fall as K^-4."""
        coarse, fine = lax.map(
            lambda ladder: jnp.stack(self.landscape.terms(ladder, n)), state.parts["ladders"]
        )
        beyond = (jnp.sum(fine) - jnp.sum(coarse)) / ((LEVELS[1] / LEVELS[0]) ** 4 - 1.0)
        return (*fine, beyond)

    def truncation(self, state: State, terms: tuple[Array, ...]) -> Array:
        """Twice the step from the finer grid to the limit, and what is left to be gained on the grids."""
        left = lax.map(
            lambda ladder: strengths(self.landscape, ladder, self.nodes) / wanted(ladder) - 1.0,
            state.parts["ladders"],
        )
        return 2.0 * jnp.abs(terms[-1]) + _FELT * jnp.max(jnp.abs(left)) ** 2

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        """Not at jamming; fewer steps than `FIRST` are stable."""
        ladder = state.parts["fine"]
        complete = (ladder.count >= FIRST) | (jnp.min(state.parts["stable"]) > -1e-6)
        return complete & ((ladder.rest < LOOSE) if self.cold else (ladder.rest > edge))

    def possible(self, phi: Array, error: Array) -> Array:
        return (-phi > error) if self.cold else super().possible(phi, error)

    def hierarchy(self, state: State, n: int) -> Hierarchy:
        """That of the finer grid."""
        kappa, stable = jnp.asarray(self.model.kappa, float), state.parts["stable"][::-1]
        return Hierarchy(state.parts["fine"], self.landscape.pattern, kappa, stable, self.levels)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        """marginality: the largest |1 - alpha l_i^2 <f_i''^2>| of the levels i > 0 (level 0 may lie below a gap): 0 on a continuous part."""
        stable, count = state.parts["stable"], state.parts["fine"].count
        level = jnp.arange(stable.size)
        inner = (level < count) & (level >= (1 if self.cold else 0))
        marginality, few = jnp.max(jnp.where(inner, jnp.abs(stable), 0.0)), count < FIRST
        columns = dict(marginality=jnp.where(few, jnp.nan, marginality))
        columns |= dict(replicon=jnp.where(few, jnp.min(stable), jnp.nan))
        return columns | _energetics(self.cold, phi)


class Symmetric(Unbroken):
    """The replica-symmetric solution or ground state, where it is stable, in the columns of full breaking."""

    levels: ClassVar[int] = LEVELS[-1]

    def state(self, x: Array, n: int) -> State:
        state = super().state(x, n)
        q = state.order[f"q_{self.k}"]
        order = named(q, q, jnp.ones(()), jnp.ones(()))
        return state._replace(order=order | {k: v for k, v in state.order.items() if k == "chi"})

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return self.plain.columns(state, phi, n)


def named(q_m: Array, q_M: Array, x_m: Array, x_M: Array) -> dict[str, Array]:
    """The ends of x(q): smallest and largest overlap, and x there (T = 0: lim beta x)."""
    return dict(q_m=q_m, q_M=q_M, x_m=x_m, x_M=x_M)


def _energetics(cold: bool, phi: Array) -> dict[str, Array]:
    return dict(energy=-phi) if cold else dict(energy=jnp.zeros_like(phi), entropy=phi)


@poses(KRSB, SphericalPerceptron)
def breaking(model: SphericalPerceptron, ansatz: KRSB) -> tuple[Problem, ...]:
    """RS (k = 0), k steps below jamming and ground states above, or full breaking."""
    require(model, "alpha")
    k = ansatz.k
    if k == 0:
        below = RS().problems(model)
        return (*below, GroundState(model)) if model.beta is INFINITE else below
    if model.beta is not INFINITE:
        raise ValueError(f"beta = {model.beta}: steps are those of solutions and ground states, beta = inf")
    if model.labels != "random":
        raise ValueError(f"labels = {model.labels}: steps are those of random labels")
    if k < float("inf"):
        return broken(model, int(k), ansatz.extended)
    unstable = () if model.loss == "errors" else (Symmetric(GroundState(model), FIRST),)
    return (
        Continuous(Solutions(model, FIRST)),
        Symmetric(Bipartite(model, (0.0,)), FIRST),
        Continuous(GroundStates(model, FIRST)),
        *unstable,
    )
