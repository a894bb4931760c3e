r"""y solutions around a reference that is any configuration: the local entropy of Baldassi et al. (ensemble R, binary weights).

    Phi = -y S^ S - (y/2) q1^ (1-q1) - (y^2/2)(q1 q1^ - q0 q0^) + E_z log sum_{W~} E_v [2 cosh(sqrt(q0^) z + sqrt(q1^-q0^) v + S^ W~)]^y
          + alpha E_z log E_v exp(y psi(sqrt(q0) z + sqrt(q1-q0) v)),        S = W.W~/N = 1 - 2 d.

q1: overlap of two W around the same reference, q0: around different ones (replica symmetric in the reference).  The reference makes a
two-point level between the two Gaussian levels of the site.  phi = Phi/y, S_I = d(y phi)/dy, S_E = y (phi - S_I), d phi/dS = -S^.
y -> inf: q0 = q1 - dq/y, q0^ = q1^ - D/y and W~ is the sign of the field; y = 1: phi = phi_RS + h(d).  At small y and d this solution ends
in a fold: beyond, only references with one solution each are left, q1 = 1 and Phi = phi_RS + h(d) (`SingleSolutions`).  They already outweigh
those with exp(N S_I) where their Phi is larger (y > 1); the number exp(N S_E) of the latter remains what it is (branch = metastable).
Baldassi et al., PRL 115 (2015) 128101, arXiv:1509.05753; J. Stat. Mech. (2016) P023301, arXiv:1511.05634.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import Rule, gaussian_rule
from replicax.numerics.roots import newton, solve_linear
from replicax.numerics.special import binary_entropy, log_2cosh
from replicax.theory.free_entropy import BRANCH, FAR, Problem, State
from replicax.theory.perceptron import TINY, Bipartite
from replicax.vocabulary.levels import Level, is_frozen, tower
from replicax.vocabulary.limits import INFINITE

_SEEDS = ((1.0, 1.0, 1.0), (0.3, 3.0, 0.7), (2.0, 0.3, 0.5), (0.1, 10.0, 0.3), (1.0, 30.0, 0.1))
#: where the second coordinate is scanned, as part of the way from its lower bound to groups that are frozen
_SCAN = np.linspace(0.0, 1.0, 40) ** 1.5
#: the coordinates that the scan solves for, and its largest step
_OTHERS = np.array([0, 2])
_CAP = 2.0
#: groups are frozen where (1 - q1)/(1 - S^2) is less than this
_NEAR = 0.1

#: variance that takes the place of q0^ = 0, where its square root has no derivative (at y = inf the site depends on that root itself: less)
_NO_FIELD = 1e-16


class Sides(NamedTuple):
    """The two values of W~: their probabilities, <4 P(+) P(-)> (y = inf: lim y), the variance of P(+) - P(-), log-partition/y."""

    ahead: Array
    behind: Array
    unsure: Array
    spread: Array
    value: Array


class Asked(NamedTuple):
    """Of the patterns, with g = psi', < > of v: value, E<g>^2, E(<g^2> - <g>^2), hessian and fluctuation (`Moments`); where the
    reference has to satisfy them, b its score/y: E<g><b>, E(<b> - ratio <g>)^2, y E(<g b> - <g><b>).
    """

    value: Array
    outer: Array
    gap: Array
    hessian: Array | float = 0.0
    fluctuation: Array | float = 0.0
    cross: Array | float = 0.0
    own: Array | float = 0.0
    together: Array | float = 0.0


class Along(NamedTuple):
    """Solutions of all equations but the second: coordinates, what that one is off by, 1 - q1, and where they were found."""

    x: Array
    excess: Array
    complement: Array
    found: Array


class _Scan(NamedTuple):
    index: Array
    attempt: Array
    count: Array
    z: Array
    base: Array  # the last solution
    lowest: Array
    along: Along


class Dense(NamedTuple):
    """Coordinates close to solutions (the dominant first; where there is none where one is closest); whether there is none; whether
    there is one that outweighs groups of single solutions.
    """

    starts: tuple[Array, ...]
    none: Array
    dominant: Array


class AnyReference(Problem):
    """Coordinates: log(q0^/alpha), log(y (q1^ - q0^)/alpha), S^.

    y: an array, or inf (a float); control: the overlap S with the reference, or q1 (`by`).
    """

    model: Any
    y: Any
    control: Array
    by: str = eqx.field(static=True)

    nodes: ClassVar[int] = 64
    largest_block: ClassVar[int] = 256
    accuracy: ClassVar[float] = 1e-9
    size: ClassVar[int] = 3
    #: the determinant of the saddle is positive on stable branches
    oriented: ClassVar[bool] = True
    #: where the coordinates of what else pulls at the reference start
    more: ClassVar[tuple[float, ...]] = ()

    @property
    def frozen(self) -> bool:
        return is_frozen(self.y)

    @property
    def counts(self) -> bool:
        return self.model.beta is INFINITE

    def starts(self) -> tuple[Array, ...]:
        """What a scan finds (finite y); then from the scores at q = 0 and the field that alone would give the control, and the map itself."""
        return self.prepare(self.nodes)[0]

    def _relaxed(self) -> tuple[Array, ...]:
        seeds = self._seeds()
        step = lambda _, x: x - 0.6 * self.state(x, self.nodes // 4).residual
        relaxed = jax.vmap(lambda x: lax.fori_loop(0, 10, step, x))(seeds)
        fine = jnp.all(jnp.isfinite(relaxed), axis=1, keepdims=True)
        return tuple(jnp.where(fine, relaxed, seeds))

    def absent(self, n: int) -> Array:
        return self.prepare(n)[1]

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        if self.frozen:
            return self._relaxed(), jnp.zeros((), bool)
        found = self.dense(n // 2, skip)
        return (*found.starts, *self._relaxed()), found.none

    def _seeds(self) -> Array:
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        _, (score,), _ = self.model.factor.terminal(jnp.ones(())).derivatives(jnp.zeros(()))
        field = jnp.arctanh(
            jnp.clip(self.control if self.by == "S" else jnp.sqrt(self.control), 0.0, 1.0 - 1e-12)
        )
        first = jnp.log(score**2 + TINY)
        return jnp.stack([
            jnp.stack([first + np.log(outer), jnp.log(inner / (1.0 + 0.1 * alpha)), share * field, *self.more])
            for outer, inner, share in _SEEDS
        ])  # fmt: skip

    def along(self, n: int, skip: Array | bool = False) -> Along:
        """A scan of the second coordinate, from its lower bound (where it vanishes beside what it would have to be) until the groups freeze.

        Newton on the other two coordinates, one step a turn, from the solution before.
        """
        alpha, y = jnp.maximum(jnp.asarray(self.model.weight, float), TINY), self._count
        seeds, others, shares = self._seeds()[:, _OTHERS], _OTHERS, jnp.asarray(np.append(0.0, _SCAN))

        def at(z: Array, second: Array) -> tuple[Array, Along]:
            x = jnp.stack([z[0], second, z[1]])
            state = self.state(x, n)
            return state.residual[others], Along(x, state.residual[1], state.parts["site"]["complement"], jnp.array(True))

        def turn(s: _Scan) -> _Scan:
            first = s.index == 0
            highest = jnp.maximum(s.lowest + 1.0, jnp.log((10.0 * y + 30.0) / ((1.0 + y) * alpha)))
            second = jnp.where(first, -20.0, s.lowest - 0.3 + (highest - s.lowest + 0.3) * shares[s.index])
            r, push, here = jax.linearize(lambda z: at(z, second), s.z, has_aux=True)
            move = -solve_linear(jax.vmap(push, out_axes=1)(jnp.eye(2)), r)
            move = move * jnp.minimum(1.0, _CAP / jnp.maximum(jnp.max(jnp.abs(move)), 1e-300))
            fine = jnp.all(jnp.isfinite(move)) & jnp.all(jnp.isfinite(r))
            good = fine & (jnp.max(jnp.abs(r)) < 1e-4)
            lost = ~good & (~fine | (s.count >= jnp.where(first, 30, 10)))
            again = lost & first & (s.attempt + 1 < seeds.shape[0])
            left = (good | lost) & ~again
            attempt = s.attempt + again
            base = jnp.where(good, s.z, s.base)
            z = jnp.where(again, seeds[attempt], jnp.where(left, base, s.z + move))
            here = here._replace(found=good)
            along = jax.tree.map(lambda all, one: jnp.where(left, all.at[s.index].set(one), all), s.along, here)
            lowest = jnp.where(first & good, -20.0 - here.excess, s.lowest)
            count = jnp.where(good | lost, 0, s.count + 1)
            return _Scan(s.index + left, attempt, count, z, base, lowest, along)

        zero, none = jnp.zeros((), int), jnp.zeros(shares.size)
        empty = Along(jnp.zeros((shares.size, 3)), none, none, jnp.zeros(shares.size, bool))
        start = _Scan(jnp.where(skip, shares.size, zero), zero, zero, seeds[0], seeds[0], jnp.zeros(()), empty)
        found = lax.while_loop(lambda s: s.index < shares.size, turn, lax.stop_gradient(start)).along
        return jax.tree.map(lambda a: lax.stop_gradient(a[1:]), found)

    def dense(self, n: int, skip: Array | bool = False) -> Dense:
        """What `along` says of the solutions.

        At fixed q1 the second equation is d Phi/d q1 = (1/2) (y - 1) (what it would have to be - what it is), times alpha; several solutions
        are compared by its integral (Maxwell's construction): most replicas y > 1 are where Phi is largest, y < 1 where it is least.
        """
        x, excess, left, ok = self.along(n, skip)
        there = ok[1:] & ok[:-1]
        rises = there & (excess[:-1] < 0) & (excess[1:] >= 0)
        if self.by == "q1":
            rises = rises | (there & (excess[:-1] >= 0) & (excess[1:] < 0))
        first, last = jnp.argmax(rises), rises.shape[0] - 1 - jnp.argmax(rises[::-1])

        def between(i: Array) -> Array:
            share = excess[i] / (excess[i] - excess[i + 1])
            return x[i] + share * (x[i + 1] - x[i])

        pull = jnp.where(ok, jnp.exp(x[:, 1]) * -jnp.expm1(-excess), 0.0)
        steps = jnp.where(there, 0.5 * (pull[1:] + pull[:-1]) * (left[:-1] - left[1:]), 0.0)
        gain = lambda i, j: jnp.sum(jnp.where((jnp.arange(steps.size) >= i) & (jnp.arange(steps.size) < j), steps, 0.0))
        found = jnp.any(rises)
        one, other = between(first), between(last)
        swap = gain(first + 1, last + 1) < 0.0
        best = jnp.where(swap, last, first)
        highest = jnp.where(ok, excess, -jnp.inf)
        top = jnp.argmax(highest)
        pair = jnp.where(swap, jnp.stack([other, one]), jnp.stack([one, other]))
        end = jnp.maximum(jnp.sum(jnp.cumprod(ok)) - 1, 0)
        frozen = ok[0] & (left[end] < _NEAR * (1.0 - jnp.asarray(self.control, float) ** 2)) & (excess[end] < 0)
        none = ~found & frozen & (_vertex(highest, top) < -0.02 * (32 / n) ** 2)
        starts = jnp.where(found, pair, x[top])
        return Dense(tuple(starts), none & (self.by == "S"), found & (gain(best + 1, steps.size) > 0.0))

    def state(self, x: Array, n: int) -> State:
        alpha, y = jnp.asarray(self.model.weight, float), self._count
        outer, inner, field = alpha * jnp.exp(x[0]), alpha * jnp.exp(x[1]) / y, x[2]
        pull = self._pull(x)
        site = self._site(outer, inner, field, pull, n)
        asked = self._asked(site, pull, n)
        wanted = jnp.asarray(self.control, float)
        if self.by == "S":
            control = 0.5 * (jnp.log1p(site["S"]) - jnp.log(site["far"])) - jnp.arctanh(wanted)
        else:
            control = jnp.log(site["q1"]) - jnp.log(site["complement"]) - jnp.log(wanted) + jnp.log1p(-wanted)
        residual = [
            x[0] - jnp.log(asked.outer + TINY),
            x[1] - jnp.log(y * asked.gap + TINY),
            control,
            *self._pulled(x, pull, asked),
        ]
        conjugate = outer if self.frozen else outer + inner
        order = dict(q0=site["q0"], q1=site["q1"], q0_hat=outer, q1_hat=conjugate, S=site["S"], S_hat=field)
        parts = dict(x=x, site=site, asked=asked, outer=outer, inner=inner, field=field, pull=pull)
        return State(order | self._of_references(parts), jnp.stack(residual), parts)

    @property
    def _count(self) -> Array:
        """y; 1 where its limit has been taken."""
        return jnp.ones(()) if self.frozen else jnp.asarray(self.y, float)

    def _pull(self, x: Array) -> Any:
        """What the reference feels beside the W."""
        return None

    def _pulled(self, x: Array, pull: Any, asked: Asked) -> tuple[Array, ...]:
        """The equations of `pull`."""
        return ()

    def _of_references(self, parts: dict[str, Any]) -> dict[str, Array]:
        return {}

    def _sides(self, lean: Array, pull: Any, n: int) -> Sides:
        """W~ in a field y lean (y = inf: it takes the sign of z > 0)."""
        if self.frozen:
            nothing = jnp.zeros_like(lean)
            return Sides(jnp.ones_like(lean), nothing, nothing, nothing, lean)
        u = self.y * lean
        ahead, behind = jax.nn.sigmoid(2.0 * u), jax.nn.sigmoid(-2.0 * u)
        return Sides(ahead, behind, 4.0 * ahead * behind, jnp.zeros_like(u), log_2cosh(u) / self.y)

    def _site(self, outer: Array, inner: Array, field: Array, pull: Any, n: int) -> dict[str, Array]:
        """Moments of t = tanh(sqrt(q0^) z + sqrt(q1^-q0^) v + S^ W~) under the tilted measure, which is even in (z, W~)."""
        y, steep = self.y, jnp.sqrt(outer + (1e-14 if self.frozen else 1.0) * _NO_FIELD)
        rule = self._outside(steep, inner, field, pull, n)
        x, weights = steep * rule.nodes, rule.weights
        settled = self.frozen and pull is None  # W~ = sign z
        if self.frozen:  # one more point, where the field of the W on one side is 0+
            edge = 1e-13 + (0.0 if settled else field)
            x, weights = jnp.append(x, edge), jnp.append(weights, 0.0)
        mean = lambda values: jnp.sum(weights * values)
        terminal = self.model.prior.terminal(jnp.zeros(()))
        h = x[None] + field * (jnp.ones((1, 1)) if settled else jnp.array([[1.0], [-1.0]]))
        out = tower(terminal, (Level((inner * jnp.ones_like(h),), y),), n, (h,))
        up, down, t, t_down = out.value[0], out.value[-1], out.score[0][0], out.score[0][-1]
        sides = self._sides(0.5 * (up - down) + (0.0 if pull is None else pull.ratio * x), pull, n)
        average = lambda a: mean(sides.ahead * a[0] + sides.behind * a[-1])
        lone, middle, half = sides.ahead - sides.behind, 0.5 * (t + t_down), 0.5 * (t - t_down)
        within = average(out.gap[0][0])
        if self.frozen:  # the score jumps by 2 t(0+) where that field changes sign, see `levels._crossing`
            density = jnp.exp(-0.5 * (edge / steep) ** 2) / (steep * np.sqrt(2 * np.pi))
            within = within + 2.0 * density * (t[-1] if settled else 2.0 * sides.behind[-1] * t_down[-1])
        q0, gap = mean((middle + lone * half) ** 2 + sides.spread * half**2), within + mean(sides.unsure * half**2)
        shared = mean(sides.unsure * half)
        cross = mean(lone * (middle + lone * half) + sides.spread * half)
        c, r = cross / (q0 + TINY), shared / (gap + TINY)
        left = 1.0 - c * half
        return dict(
            q0=q0,
            gap=gap,
            q1=q0 if self.frozen else q0 + gap,
            complement=average(out.curvature[0]),
            S=mean(sides.ahead * t - sides.behind * t_down),
            far=mean(sides.ahead * (1.0 - t) + sides.behind * (1.0 + t_down)),
            value=mean(0.5 * (up + down) + sides.value),
            fluctuation=average(out.fluctuation),
            cross=cross,
            shared=shared,
            wide=mean(sides.unsure),
            c=c,
            r=r,
            apart=mean((lone * left - c * middle) ** 2 + sides.spread * left**2),
            narrow=mean(sides.unsure * (1.0 - r * half) ** 2) + r**2 * within,
        )

    def _outside(self, steep: Array, inner: Array, field: Array, pull: Any, n: int) -> Rule:
        """The rule in z (even): W~ changes its mind at z = 0, over 1/y."""
        width = 1.0 / (steep if self.frozen else steep * (1.0 + self.y))
        return gaussian_rule((jnp.zeros(()),), (width,), n, even=True, moving=self.frozen)

    def _asked(self, site: dict[str, Array], pull: Any, n: int) -> Asked:
        """What the patterns ask for."""
        levels = (Level((site["q0"],), 0.0), Level((site["gap"],), self.y))
        out = tower(self.model.factor.terminal(site["complement"]), levels, n)
        return Asked(out.value, out.overlap[0][0], out.gap[1][0], out.hessian[0][0], out.fluctuation)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        parts, order = state.parts, state.order
        site, pull = parts["site"], parts["pull"]
        if self.frozen:
            coupling = site["gap"] * parts["outer"] + site["q0"] * parts["inner"]
        else:
            coupling = self.y * (order["q1"] * order["q1_hat"] - order["q0"] * order["q0_hat"])
        interaction = (
            -parts["field"] * order["S"] - 0.5 * order["q1_hat"] * site["complement"] - 0.5 * coupling
        )
        if pull is not None:
            own = pull.spread + pull.ratio**2 * parts["outer"]
            shared = pull.ratio * parts["outer"] * site["shared"]
            interaction = interaction - self._count * (0.5 * own * site["wide"] + shared)
        value = self._site(parts["outer"], parts["inner"], parts["field"], pull, n)["value"]
        return (interaction, value, self.model.weight * self._asked(site, pull, n).value)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        energy, entropy = self.thermal(state, phi, n)
        if self.frozen:
            columns = dict(S_I=entropy, S_E=self._fluctuation(state), y=jnp.full_like(phi, jnp.inf))
        else:
            y = jnp.asarray(self.y, float)
            by_y = self.partial(lambda p: p.y, state, n)
            columns = dict(S_I=phi + y * by_y, S_E=-y * y * by_y, y=y)
        columns |= dict(
            entropy=columns["S_I"], energy=energy, slope=self.slope(self, state.parts["x"], state, n)
        )
        if self.shares:
            columns["branch"] = self._branch(phi, columns["S_I"], n)
        return columns

    @property
    def shares(self) -> bool:
        """Whether groups of one solution each compete (they would be counted with weight at beta < inf)."""
        return self.by == "S" and not self.frozen and self.model.beta is INFINITE

    def _branch(self, phi: Array, S_I: Array, n: int) -> Array:
        """Groups of many solutions have more weight than those of one where Phi is larger for y > 1, smaller for y < 1."""
        y = jnp.asarray(self.y, float)
        single = SingleSolutions(self.model, self.y, self.control)
        residual = lambda x: single.typical.state(x, n).residual
        root = newton(residual, jnp.stack(single.starts()), tol=1e-10, limit=FAR)
        excess = y * (phi - single.phi(single.state(root.x, n), n))
        apart = jnp.abs(y - 1.0) > 1e-4
        ahead = jnp.where(apart, excess / jnp.where(apart, y - 1.0, 1.0), S_I)
        known = jnp.where(root.converged & (ahead <= 0), BRANCH["metastable"], BRANCH["dense"])
        return lax.stop_gradient(known)

    def slope(self, problem: Problem, x: Array, state: State, n: int) -> Array:
        """d phi/d(control) = -S^ dS/d(control), along the solutions x of `problem` (this one, or this one at its y*); control: d or q1."""
        along = jnp.asarray(self.model.weight, float) * state.parts["asked"].together - state.parts["field"]
        if self.by == "S":
            return -2.0 * along
        return along * problem.total("control", x, lambda s: s.order["S"], n)

    def at_y(self, y: Array) -> "AnyReference":
        return eqx.tree_at(lambda p: p.y, self, y)

    def _fluctuation(self, state: State) -> Array:
        """S_E = lim (Phi - y phi): what the Gaussian fluctuations around the maxima and the terms of order 1/y of q0, q0^ leave."""
        site, factor, inner = state.parts["site"], state.parts["asked"], state.parts["inner"]
        alpha, dq = jnp.asarray(self.model.weight, float), site["gap"]
        moved = inner * site["complement"] + alpha * dq * factor.hessian
        # without patterns no field tells the sign of the reference
        either = jnp.where(state.parts["outer"] > 0, 0.0, np.log(2.0))
        return site["fluctuation"] + alpha * factor.fluctuation - 0.5 * moved + either

    def inside(self, state: State, edge: float = 1e-12) -> Array:
        """At y = inf the reference takes the sign of the field where S^ > 0 only (else: `Displaced`)."""
        aligned = state.order["S_hat"] > 0 if self.frozen else jnp.ones((), bool)
        return aligned & (state.parts["site"]["complement"] > edge)


def _vertex(values: Array, top: Array) -> Array:
    """The largest value of the parabola through the largest of `values` and its neighbours."""
    i = jnp.clip(top, 1, values.shape[0] - 2)
    a, b, c = values[i - 1], values[i], values[i + 1]
    bend = 2.0 * b - a - c
    return jnp.where(jnp.isfinite(bend) & (bend > 0), b + 0.125 * (c - a) ** 2 / jnp.where(bend > 0, bend, 1.0), b)


class SingleSolutions(Problem):
    """References with one solution each, q1 = 1: Phi = phi_RS + h(d) at every y, S_I = 0.  All that is left where `AnyReference` has no
    solution, but for y < 1 only if there are not many around typical pairs (y = 1); else S_I has vanished at some larger y < 1, below which
    replica symmetry in the groups is broken.

    Coordinates: that of replica symmetry.
    """

    model: Any
    y: Any
    control: Array

    nodes: ClassVar[int] = AnyReference.nodes
    size: ClassVar[int] = 1
    largest_block: ClassVar[int] = AnyReference.largest_block
    failure: ClassVar[str] = "no solution"
    remains: ClassVar[bool] = True

    @property
    def typical(self) -> Bipartite:
        return Bipartite(self.model, (0.0,))

    def starts(self) -> tuple[Array, ...]:
        return self.typical.starts()

    def state(self, x: Array, n: int) -> State:
        typical, S = self.typical.state(x, n), jnp.asarray(self.control, float)
        q, q_hat = typical.order["q"], typical.order["q_hat"]
        order = dict(q0=q, q1=jnp.ones_like(q), q0_hat=q_hat, S=S, S_hat=jnp.arctanh(S) / self.y)
        return State(order, typical.residual, dict(typical=typical))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        around = binary_entropy(0.5 * (1.0 - state.order["S"]))
        return tuple(t / self.y for t in (*self.typical.terms(state.parts["typical"], n), around))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        nothing, y = jnp.zeros_like(phi), jnp.asarray(self.y, float)
        return dict(
            S_I=nothing,
            S_E=y * phi,
            y=y,
            entropy=nothing,
            energy=nothing,
            slope=2.0 * state.order["S_hat"],
            branch=nothing + BRANCH["frozen"],
        )

    def inside(self, state: State, edge: float = 1e-12) -> Array:
        """There are solutions; y < 1: there are few of them around a pair of y = 1."""
        n, y = self.nodes // 2, jnp.asarray(self.y, float)
        pairs = AnyReference(self.model, jnp.ones(()), self.control, "S").dense(n)
        typical = self.typical.phi(state.parts["typical"], n)
        return (typical >= 0.0) & ((y >= 1.0) | ~pairs.dominant)


class Displaced(Bipartite):
    """y = inf with a reference so far away that it costs no typical solution: S below E|tanh(sqrt(q^) z)| of replica symmetry.

    phi = phi_RS and S^ = 0; the references are those with overlap S with the magnetisations t, S_E = E log 2cosh(c t) - c S.
    Coordinates: that of q^, then log c.
    """

    control: Array

    largest_block: ClassVar[int] = 512
    size: ClassVar[int] = 2  # type: ignore[misc]

    @property
    def _typical(self) -> Bipartite:
        return Bipartite(self.model, self.ms)

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        return tuple(jnp.append(x, guess) for x in self._typical.starts() for guess in (0.0, 2.0))

    def _references(self, q_hat: Array, tilt: Array, n: int) -> tuple[Array, Array, Array]:
        """S, E|t| - S and E log 2cosh(c t)."""
        steep = jnp.sqrt(q_hat + 1e-14 * _NO_FIELD)
        rule = gaussian_rule((jnp.zeros(()),), (1.0 / ((1.0 + tilt) * steep),), n, even=True, moving=True)
        t = jnp.tanh(steep * rule.nodes)
        mean = lambda values: jnp.sum(rule.weights * values)
        left = 2.0 * t / (1.0 + jnp.exp(2.0 * tilt * t))
        return mean(t * jnp.tanh(tilt * t)), mean(left), mean(log_2cosh(tilt * t))

    def state(self, x: Array, n: int) -> State:
        state = self._typical.state(x[:1], n)
        q_hat, tilt, S = state.order["q_hat"], jnp.exp(x[1]), jnp.asarray(self.control, float)
        overlap, left, entropy = self._references(q_hat, tilt, n)
        ratio = jnp.log(overlap) - jnp.log(left) - jnp.log(S) + jnp.log(overlap + left - S)
        order = dict(q0=state.order["q"], q1=state.order["q"], q0_hat=q_hat, q1_hat=q_hat, S=S, S_hat=0.0 * S)
        return State(order, jnp.append(state.residual, ratio), state.parts | dict(S_E=entropy - tilt * S))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        energy, entropy = self.thermal(state, phi, n)
        nothing = jnp.zeros_like(phi)
        return dict(
            S_I=entropy,
            S_E=state.parts["S_E"],
            y=nothing + jnp.inf,
            entropy=entropy,
            energy=energy,
            slope=nothing,
        )

    def absent(self, n: int) -> Array:
        return jnp.zeros((), bool)
