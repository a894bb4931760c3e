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

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.anderson import FixedPoint, fixed_point
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
    GroundStates,
    Solutions,
    Steps,
    Unbroken,
    alpha_of,
    broken,
    searched,
    unsatisfied,
)
from replicax.vocabulary.ladder import Ladder, energetic, stabilities
from replicax.vocabulary.limits import INFINITE

#: levels of the two grids of x
LEVELS = (6, 12)
#: steps of the ladder that the grids are made from
FIRST = 3
#: the largest |G/T - 1| that is aimed at, and accepted after so many steps of the map
_STATIONARY, _ACCEPTED, _STEPS = 1e-6, 1e-4, 80
#: how much phi feels of its square (seen: 15 to 144)
_FELT = 150.0


def strengths(landscape: Landscape, ladder: Ladder, n: int) -> Array:
    """G_0, .., G_K: alpha <f_i'^2>_{P_i}, from the derivatives of the energetic term in the variances of the levels.

    d E/d D_i = <f_i'' + x_i f_i'^2>/2 (i > 0), d E/d D_0 = <f_0''>/2, and in l_K that of one more level, at x = 1 (T = 0: <f_K'^2>/2).
    """
    kappa = jnp.asarray(landscape.model.kappa, float)

    def bound(outer: Array, steps: Array, rest: Array) -> Array:
        return energetic(ladder._replace(outer=outer, steps=steps, rest=rest), landscape.pattern, kappa, n)

    outer, steps, rest = jax.grad(bound, (0, 1, 2))(ladder.outer, ladder.steps, ladder.rest)
    xs = jnp.append(0.0, ladder.ms[::-1])
    slopes = jnp.append(outer, steps[::-1])
    if landscape.bounded:
        slopes, xs = jnp.append(slopes, rest), jnp.append(xs, 1.0)
        inner = 2.0 * jnp.diff(slopes) / jnp.diff(xs)
    else:
        inner = jnp.append(2.0 * jnp.diff(slopes) / jnp.diff(xs), 2.0 * rest)
    return alpha_of(landscape.model) * inner


def wanted(ladder: Ladder) -> Array:
    """T_0, .., T_K: q_0/l_0^2 + sum_j D_j/(l_{j-1} l_j), what the G_i are at a stationary ladder."""
    responses, steps = ladder.responses[::-1], ladder.steps[::-1]
    first = ladder.outer / responses[0] ** 2
    return first + jnp.append(0.0, jnp.cumsum(steps / (responses[:-1] * responses[1:])))


def closed(landscape: Landscape, xs: Array, G: Array) -> Ladder:
    """The ladder whose T_i are G_i at these x_i."""
    rises = jnp.diff(G)
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
    return Ladder(steps[0], steps[:0:-1], xs[::-1], responses[-1], jnp.asarray(xs.shape[0]))


def placed(landscape: Landscape, y: Array, xs: Array) -> Ladder:
    """The ladder at coordinates log(q_0/(1 - q_0)), log((q_i - q_{i-1})/(1 - q_i)), i <= K (T = 0: i < K, then log chi)."""
    inner = y if landscape.bounded else y[:-1]
    left = jnp.exp(-jnp.cumsum(jnp.logaddexp(0.0, inner)))  # 1 - q_i
    steps = jnp.exp(inner) * left
    if not landscape.bounded:
        steps = jnp.append(steps, left[-1])
    rest = left[-1] if landscape.bounded else jnp.exp(y[-1])
    return Ladder(steps[0], steps[:0:-1], xs[::-1], rest, jnp.asarray(xs.shape[0]))


def coordinates(landscape: Landscape, ladder: Ladder) -> Array:
    steps = jnp.append(ladder.outer, ladder.steps[::-1])
    inside = jnp.cumsum(jnp.append(ladder.rest if landscape.bounded else 0.0, ladder.steps))[::-1]
    if landscape.bounded:
        return jnp.log(steps / inside)
    return jnp.append(jnp.log(steps[:-1] / inside[:-1]), jnp.log(ladder.rest))


def resampled(values: Array, size: int, keep: Array, ends: bool) -> Array:
    """`values` at `size` places; the first `keep` (0 or 1) stay.

    ends: linearly, from end to end; otherwise by the middles t of equal cells, linearly in -log(1 - t): the largest x grow like a power of their
    number, without bound at T = 0 and at jamming.
    """
    old = values.shape[0] - keep
    i = jnp.arange(size) - keep
    if ends:
        t, along = i * (old - 1) / (size - 1 - keep), lambda t: t
    else:
        t, along = (i + 0.5) * old / (size - keep) - 0.5, lambda t: -jnp.log1p(-(t + 0.5) / old)
    cell = jnp.clip(jnp.floor(t).astype(int), 0, old - 2)
    left, right = values[keep + cell], values[keep + cell + 1]
    share = (along(t) - along(cell)) / (along(cell + 1) - along(cell))
    return jnp.where(i < 0, values[0], left + share * (right - left))


def finer(landscape: Landscape, ladder: Ladder, size: int, keep: Array) -> tuple[Array, Array]:
    """(coordinates, x) of a ladder of `size` levels along this one; keep = 1: its first step is a gap, and stays."""
    ms = ladder.ms[::-1]
    bounded = landscape.bounded
    number = jnp.log(ms) - (jnp.log1p(-ms) if bounded else 0.0)
    number = resampled(number, size, keep, ends=False)
    xs = jax.nn.sigmoid(number) if bounded else jnp.exp(number)
    # log(1 - q_i)
    left = jnp.log(jnp.cumsum(jnp.append(ladder.rest if bounded else 0.0, ladder.steps))[::-1])
    left = resampled(left if bounded else left[:-1], size + 1 if bounded else size, keep, ends=True)
    steps = jnp.log(-jnp.expm1(jnp.diff(left, prepend=0.0))) - jnp.diff(left, prepend=0.0)
    return steps if bounded else jnp.append(steps, jnp.log(ladder.rest)), xs


class Continuous(Problem):
    """Full breaking from ladders on the grids of `LEVELS`; coordinates: those of every ladder (`placed`) and its x.

    Derivatives of phi and of the overlaps are those at fixed grids of x: phi feels a grid only by what it leaves out.
    """

    landscape: Solutions | GroundStates

    nodes: ClassVar[int] = 48
    largest_block: ClassVar[int] = 1
    accuracy: ClassVar[float] = 1e-5
    retried: ClassVar[bool] = False
    size: ClassVar[int] = sum(2 * k + 1 for k in LEVELS)

    @property
    def model(self) -> SphericalPerceptron:
        return self.landscape.model

    @property
    def counts(self) -> bool:
        return False

    def search(self, given: Array | None, refinement: int) -> Root:
        return searched(self, self._found)

    def _found(self) -> Root:
        landscape = self.landscape
        rows = landscape.climb(jnp.asarray(FIRST))
        ladder = landscape.ladder(rows.x[-1], jnp.asarray(FIRST))
        broken = jnp.all(rows.converged) & (rows.value[0] < landscape.symmetric())

        def from_ladder(keep: Array) -> tuple[FixedPoint, Array, Array]:
            start, xs = finer(landscape, ladder, LEVELS[0], keep)
            found = self.relaxed(start, xs)
            value = landscape.value(placed(landscape, found.x, xs), self.nodes)
            return found, xs, jnp.where(jnp.isfinite(found.size), value, jnp.inf)

        found, xs, values = lax.map(from_ladder, jnp.arange(2))
        keep = jnp.argmin(values)
        x, steps, size = [], jnp.sum(found.steps), jnp.zeros(())
        last, grid = jax.tree.map(lambda a: a[keep], (found, xs))
        for levels in LEVELS:
            if levels != LEVELS[0]:
                start, grid = finer(landscape, placed(landscape, last.x, grid), levels, keep)
                last = self.relaxed(start, grid)
                steps = steps + last.steps
            x += [last.x, grid]
            size = jnp.maximum(size, last.size)
        return Root(jnp.concatenate(x), size, steps.astype(float), broken & (size <= _ACCEPTED))

    def relaxed(self, start: Array, xs: Array) -> FixedPoint:
        """Stationary overlaps at these x: T = G."""

        def move(y: Array) -> tuple[Array, Array]:
            ladder = placed(self.landscape, y, xs)
            G, T = strengths(self.landscape, ladder, self.nodes), wanted(ladder)
            # a level is not left in one step
            rises = jnp.maximum(jnp.diff(G), 0.1 * jnp.diff(T))
            moved = closed(self.landscape, xs, jnp.append(G[0], G[0] + jnp.cumsum(rises)))
            f = coordinates(self.landscape, moved) - y
            return f, jnp.max(jnp.abs(G / T - 1.0))

        return fixed_point(move, start, tol=_STATIONARY, memory=10, max_steps=_STEPS)

    def ladders(self, x: Array) -> list[Ladder]:
        found = []
        for k in LEVELS:
            y, xs, x = x[: k + 1], lax.stop_gradient(x[k + 1 : 2 * k + 1]), x[2 * k + 1 :]

            def residual(z: Array, xs: Array = xs) -> Array:
                ladder = placed(self.landscape, z, xs)
                return strengths(self.landscape, ladder, self.nodes) / wanted(ladder) - 1.0

            found.append(placed(self.landscape, moving_root(residual, y), xs))
        return found

    def state(self, x: Array, n: int) -> State:
        coarse, fine = self.ladders(x)
        overlaps = fine.overlaps
        order = named(overlaps[-1], jnp.ones(()) if self.cold else overlaps[0], fine.ms[-1], fine.ms[0])
        if self.cold:
            order |= dict(chi=fine.rest)
        return State(order, jnp.zeros_like(x), dict(coarse=coarse, fine=fine))

    @property
    def cold(self) -> bool:
        return not self.landscape.bounded

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        terms = self.landscape.terms(state.parts["fine"], n)
        return (*terms, self.limit(state, n))

    def limit(self, state: State, n: int) -> Array:
        """What levels beyond those of the finer grid add: the values fall as K^-4."""
        coarse, fine = (self.landscape.value(state.parts[k], n) for k in ("coarse", "fine"))
        return (fine - coarse) / ((LEVELS[1] / LEVELS[0]) ** 4 - 1.0)

    def truncation(self, state: State, n: int) -> Array:
        """Twice the step from the finer grid to the limit, and what is left to be gained on the grids."""
        ladders = (state.parts[name] for name in ("coarse", "fine"))
        left = [strengths(self.landscape, ladder, self.nodes) / wanted(ladder) - 1.0 for ladder in ladders]
        worst = jnp.max(jnp.abs(jnp.concatenate(left)))
        return 2.0 * jnp.abs(self.limit(state, n)) + _FELT * worst**2

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        ladder = state.parts["fine"]
        return unsatisfied(self, state, ladder) if self.cold else ladder.rest > edge

    def stable(self, state: State, n: int) -> Array:
        """1 - alpha l_i^2 <f_i''^2> of the levels of the finer grid, innermost first."""
        ladder = state.parts["fine"]
        squares = stabilities(ladder, self.landscape.pattern, jnp.asarray(self.model.kappa, float), n)
        return 1.0 - alpha_of(self.model) * ladder.responses**2 * squares

    def hierarchy(self, state: State, n: int) -> Hierarchy:
        """That of the finer grid."""
        kappa, stable = jnp.asarray(self.model.kappa, float), self.stable(state, n)[::-1]
        return Hierarchy(state.parts["fine"], self.landscape.pattern, kappa, stable, LEVELS[-1])

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        """marginality: the largest |1 - alpha l_i^2 <f_i''^2>| of the levels i > 0 (level 0 may lie below a gap): 0 on a continuous part."""
        stable = self.stable(state, n)
        inner = stable[1:-1] if self.cold else stable[:-1]
        columns = dict(marginality=jnp.max(jnp.abs(inner)))
        return columns | _energetics(self.cold, phi)


class Settled(Steps):
    """Fewer than `FIRST` steps, all of their levels stable, in the columns of full breaking."""

    levels: ClassVar[int] = LEVELS[-1]

    def state(self, x: Array, n: int) -> State:
        state = super().state(x, n)
        ladder = state.parts["ladder"]
        outermost = ladder.ms[jnp.maximum(ladder.count - 1, 0)]
        q_M = jnp.ones(()) if self.cold else ladder.overlaps[0]
        order = named(ladder.outer, q_M, outermost, ladder.ms[0])
        return state._replace(order=order | {k: v for k, v in state.order.items() if k == "chi"})

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return super().inside(state, edge) & (state.parts["ladder"].count < self.k)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return dict(replicon=jnp.min(state.parts["stable"])) | _energetics(self.cold, phi)


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
        Settled(Solutions(model, FIRST), FIRST),
        Symmetric(Bipartite(model, (0.0,)), FIRST),
        Continuous(GroundStates(model, FIRST)),
        Settled(GroundStates(model, FIRST), FIRST),
        *unstable,
    )
