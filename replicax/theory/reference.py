r"""y solutions around a reference that is any configuration: the local entropy of Baldassi et al. (ensemble R, binary weights).

    Phi = -y S^ S - (y/2) q1^ (1-q1) - (y^2/2)(q1 q1^ - q0 q0^) + E_z log sum_{W~} E_v [2 cosh(sqrt(q0^) z + sqrt(q1^-q0^) v + S^ W~)]^y
          + alpha E_z log E_v exp(y psi(sqrt(q0) z + sqrt(q1-q0) v)),        S = W.W~/N = 1 - 2 d.

q1: overlap of two W around the same reference, q0: around different ones (replica symmetric in the reference).  The reference makes a
two-point level between the two Gaussian levels of the site.  phi = Phi/y, S_I = d(y phi)/dy, S_E = y (phi - S_I), d phi/dS = -S^.
y -> inf: q0 = q1 - dq/y, q0^ = q1^ - D/y and W~ is the sign of the field; y = 1: phi = phi_RS + h(d).  At small y and d this solution ends
in a fold: beyond, only references with one solution each are left, q1 = 1 and Phi = phi_RS + h(d) (`SingleSolutions`).  They already outweigh
those with exp(N S_I) where their Phi is larger (y > 1); the number exp(N S_E) of the latter remains what it is (branch = metastable).
A teacher adds R^ to the field of the W, - R R^ to phi, and tilts the outer measure of the patterns (`vocabulary.labels`).
Baldassi et al., PRL 115 (2015) 128101, arXiv:1509.05753; J. Stat. Mech. (2016) P023301, arXiv:1511.05634.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import Rule, gaussian_rule
from replicax.numerics.special import binary_entropy, log_2cosh
from replicax.theory.ansatz import RS
from replicax.theory.free_entropy import BRANCH, Problem, State, settled
from replicax.theory.perceptron import TINY, Bipartite, clean_error
from replicax.theory.reference_scan import dense
from replicax.vocabulary.labels import Labels
from replicax.vocabulary.levels import Level, is_frozen, tower
from replicax.vocabulary.limits import INFINITE

_SEEDS = ((1.0, 1.0, 1.0), (0.3, 3.0, 0.7), (2.0, 0.3, 0.5), (0.1, 10.0, 0.3), (1.0, 30.0, 0.1))
#: dq in units of 1 - q1 at y = inf: at larger ones phi is that without patterns to all digits
LOOSE = 1e12

#: variance that takes the place of q0^ = 0, where its square root has no derivative (at y = inf the site depends on that root itself: less)
NO_FIELD = 1e-16


class Sides(NamedTuple):
    """The two values of W~: their probabilities, <4 P(+) P(-)> (y = inf: lim y), the variance of P(+) - P(-), log-partition/y."""

    ahead: Array
    behind: Array
    unsure: Array
    spread: Array
    value: Array


class Asked(NamedTuple):
    """Of the patterns, with g = psi', < > of v: value, E<g>^2, E(<g^2> - <g>^2), hessian and fluctuation (`Moments`), taught = E<g>(score of
    the labels); where the reference has to satisfy them, b its score/y: E<g><b>, E(<b> - ratio <g>)^2, y E(<g b> - <g><b>), told =
    E<b>(score of the labels).
    """

    value: Array
    outer: Array
    gap: Array
    hessian: Array | float = 0.0
    fluctuation: Array | float = 0.0
    taught: Array | float = 0.0
    cross: Array | float = 0.0
    own: Array | float = 0.0
    together: Array | float = 0.0
    told: Array | float = 0.0


class Gains(NamedTuple):
    """By which factor a conjugate exceeds alpha times the exponential of its coordinate: those of the levels, R^, and of a `pull`."""

    levels: Array | float = 1.0
    taught: Array | float = 1.0
    spread: Array | float = 1.0
    ratio: Array | float = 1.0
    lean: Array | float = 1.0


class AnyReference(Problem):
    """Coordinates: log(q0^/alpha), log(y (q1^ - q0^)/alpha), arsinh((1 + y) S^) (y = inf: arsinh S^); with a teacher log(R^/alpha) last.

    y: an array, or inf (a float); control: the overlap S with the reference, or q1 (`by`); branch: core (of several solutions that of the
    largest q1), large-d (the smallest), or the one of most weight.
    """

    model: Any
    y: Any
    control: Array
    by: str = eqx.field(static=True)
    branch: str | None = eqx.field(static=True, default=None)

    nodes: ClassVar[int] = 64
    coarser: ClassVar[int] = 2
    largest_block: ClassVar[int] = 256
    accuracy: ClassVar[float] = 1e-9
    polished: ClassVar[bool] = True
    #: the determinant of the saddle is positive on stable branches
    oriented: ClassVar[bool] = True

    def finer(self, n: int) -> int:
        return 3 * n // 2

    @property
    def more(self) -> tuple[float, ...]:
        """Where the coordinates of what else pulls at the reference start."""
        return ()

    @property
    def size(self) -> int:
        return 3 + len(self.more) + (self.labels is not None)

    @property
    def labels(self) -> Labels | None:
        return getattr(self.model, "labelling", None)

    @property
    def frozen(self) -> bool:
        return is_frozen(self.y)

    @property
    def counts(self) -> bool:
        return self.model.beta is INFINITE

    def starts(self) -> tuple[Array, ...]:
        """What a scan finds (finite y); then from the scores at q = 0 and the field that alone would give the control, and the map itself."""
        return self.prepare(self.nodes)[0]

    def _relaxed(self, skip: Array | bool = False) -> tuple[Array, ...]:
        seeds = self.seeds()
        step = lambda _, x: x - 0.6 * self.state(x, self.nodes // 4).residual
        relaxed = jax.vmap(lambda x: lax.fori_loop(0, jnp.where(skip, 0, 10), step, x))(seeds)
        fine = jnp.all(jnp.isfinite(relaxed), axis=1, keepdims=True)
        return tuple(jnp.where(fine, relaxed, seeds))

    def absent(self, n: int) -> Array:
        return self.prepare(n)[1]

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        if self.frozen:
            return self._relaxed(), jnp.zeros((), bool)
        found = dense(self, 3 * n // 8, skip)
        if self.branch:
            return found.starts[:1], found.none
        return (*found.starts, *self._relaxed(found.some)), found.none

    def seeds(self) -> Array:
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        first, *taught = Bipartite(self.model, (0.0,)).first()
        overlap = self.control if self.by == "S" else jnp.sqrt(self.control)
        field = self._bare_field(jnp.clip(overlap, 0.0, 1.0 - 1e-12))
        # references far away follow their y replicas in fields of order 1/y, which Newton finds from below only
        far = () if self.frozen else ((1.0, 1.0, 1.0 / (1.0 + self.y)),)
        return jnp.stack([
            jnp.stack([first + np.log(outer), jnp.log(inner / (1.0 + 0.1 * alpha)), share * field, *self.more, *taught])
            for outer, inner, share in (*_SEEDS, *far)
        ])  # fmt: skip

    def _bare_field(self, S: Array) -> Array:
        """The coordinate of S^ that gives S without patterns."""
        return jnp.arcsinh(jnp.arctanh(S) / self._turn)

    @property
    def _turn(self) -> Array:
        """The fields S^ at which the reference begins to choose its side."""
        return jnp.ones(()) if self.frozen else 1.0 / (1.0 + jnp.asarray(self.y, float))

    def state(self, x: Array, n: int) -> State:
        y, site = self.number, self._site(x, n)
        asked = self._asked(site, n)
        gains, wanted = site["gains"], jnp.asarray(self.control, float)
        if self.by == "S":
            control = 0.5 * (jnp.log1p(site["S"]) - jnp.log(site["far"])) - jnp.arctanh(wanted)
        else:
            control = jnp.log(site["q1"]) - jnp.log(site["complement"]) - jnp.log(wanted) + jnp.log1p(-wanted)
        given = lambda i, gain: jnp.log(jnp.exp(x[i]) * gain + TINY)
        residual = [
            given(0, gains.levels) - jnp.log(asked.outer + TINY),
            given(1, gains.levels) - jnp.log(y * asked.gap + TINY),
            control,
            *self._pulled(x, site, asked),
        ]
        order = dict(q0=site["q0"], q1=site["q1"], q0_hat=site["outer"], S=site["S"], S_hat=site["field"])
        order["q1_hat"] = site["outer"] + (0.0 if self.frozen else site["inner"])
        if self.labels is not None:
            residual.append(given(-1, gains.taught) - jnp.log(asked.taught + TINY))
            order |= dict(R=site["R"], R_hat=site["R_hat"])
        parts = dict(x=x, site=site, asked=asked)
        return State(order | self._of_references(site), jnp.stack(residual), parts)

    @property
    def number(self) -> Array:
        """y; 1 where its limit has been taken."""
        return jnp.ones(()) if self.frozen else jnp.asarray(self.y, float)

    def _pull(self, x: Array) -> Any:
        """What the reference feels beside the W."""
        return None

    def _pulled(self, x: Array, site: dict[str, Any], asked: Asked) -> tuple[Array, ...]:
        """The equations of `pull`."""
        return ()

    def _of_references(self, site: dict[str, Any]) -> dict[str, Array]:
        return {}

    def _site(self, x: Array, n: int) -> dict[str, Any]:
        """The conjugates at coordinates x, the factors (`gains`) by which they exceed alpha times their exponentials, and their moments."""
        alpha = jnp.asarray(self.model.weight, float)
        given = dict(outer=alpha * jnp.exp(x[0]), inner=alpha * jnp.exp(x[1]) / self.number)
        given["field"] = jnp.sinh(x[2]) * self._turn
        given |= dict(
            R_hat=jnp.zeros(()) if self.labels is None else alpha * jnp.exp(x[-1]), pull=self._pull(x)
        )
        return given | dict(gains=Gains()) | self._moments(given, n)

    def _value(self, site: dict[str, Any], n: int) -> Array:
        """Of the site term, at the conjugates of `site`."""
        return self._moments(site, n)["value"]

    def _sides(self, lean: Array, pull: Any, n: int) -> Sides:
        """W~ in a field y lean (y = inf: it takes the sign of z > 0)."""
        if self.frozen:
            nothing = jnp.zeros_like(lean)
            return Sides(jnp.ones_like(lean), nothing, nothing, nothing, lean)
        u = self.y * lean
        ahead, behind = jax.nn.sigmoid(2.0 * u), jax.nn.sigmoid(-2.0 * u)
        return Sides(ahead, behind, 4.0 * ahead * behind, jnp.zeros_like(u), log_2cosh(u) / self.y)

    def _moments(self, given: dict[str, Any], n: int) -> dict[str, Array]:
        """Moments of t = tanh(R^ + sqrt(q0^) z + sqrt(q1^-q0^) v + S^ W~) under the tilted measure.

        All that follows x = R^ + sqrt(q0^) z is even or odd under (x, v, W~) -> -(x, v, W~): it is looked at on x > 0.
        """
        outer, inner, field, pull, R_hat = (given[k] for k in ("outer", "inner", "field", "pull", "R_hat"))
        y, steep = self.y, jnp.sqrt(outer + (1e-14 if self.frozen else 1.0) * NO_FIELD)
        rule = self._outside(steep, inner, field, pull, R_hat, n)
        x, weights = R_hat + steep * rule.nodes, rule.weights
        side, x = jnp.where(x < 0, -1.0, 1.0), jnp.abs(x)
        settled = self.frozen and pull is None  # W~ = sign x
        if self.frozen:  # one more point, where the field of the W on one side is 0+
            edge = 1e-13 + (0.0 if settled else field)
            x, side, weights = jnp.append(x, edge), jnp.append(side, 1.0), jnp.append(weights, 0.0)
        mean = lambda values: jnp.sum(weights * values)
        terminal = self.model.prior.terminal(jnp.zeros(()))
        h = x[None] + field * (jnp.ones((1, 1)) if settled else jnp.array([[1.0], [-1.0]]))
        out = tower(terminal, (Level((inner * jnp.ones_like(h),), y),), n, (h,))
        up, down, t, t_down = out.value[0], out.value[-1], out.score[0][0], out.score[0][-1]
        own = 0.0 if pull is None else pull.ratio * x + side * (pull.lean - pull.ratio * R_hat)
        sides = self._sides(0.5 * (up - down) + own, pull, n)
        average = lambda a: mean(sides.ahead * a[0] + sides.behind * a[-1])
        lone, middle, half = sides.ahead - sides.behind, 0.5 * (t + t_down), 0.5 * (t - t_down)
        within = average(out.gap[0][0])
        if self.frozen:  # the score jumps by 2 t(0+) where that field changes sign, see `levels._crossing`
            at = jnp.stack([edge - R_hat, edge + R_hat]) / steep
            density = jnp.sum(jnp.exp(-0.5 * at**2)) / (steep * np.sqrt(2 * np.pi))
            within = within + density * (t[-1] if settled else 2.0 * sides.behind[-1] * t_down[-1])
        score = middle + lone * half
        q0, gap = mean(score**2 + sides.spread * half**2), within + mean(sides.unsure * half**2)
        R, R_ref, shared = mean(side * score), mean(side * lone), mean(sides.unsure * half)
        cross = mean(lone * score + sides.spread * half)
        c, r = cross / (q0 + TINY), shared / (gap + TINY)
        left = 1.0 - c * half
        return dict(
            q0=q0,
            gap=gap,
            R=R,
            rest=mean((side * score - R) ** 2 + sides.spread * half**2),
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
            R_ref=R_ref,
            narrow=mean(sides.unsure * (1.0 - r * half) ** 2) + r**2 * within,
        )

    def _outside(self, steep: Array, inner: Array, field: Array, pull: Any, R_hat: Array, n: int) -> Rule:
        """The rule in z (without a teacher even): W~ changes its mind at x = 0, over 1/y."""
        width = 1.0 / (steep if self.frozen else steep * (1.0 + self.y))
        return gaussian_rule((-R_hat / steep,), (width,), n, even=self.labels is None, moving=self.frozen)

    def _asked(self, site: dict[str, Any], n: int) -> Asked:
        """What the patterns ask for."""
        levels = (Level((site["q0"],), 0.0), Level((site["gap"],), self.y))
        tilt = None if self.labels is None else self.labels.tilt(site["R"], site["q0"], site["rest"])
        out = tower(self.model.factor.terminal(site["complement"]), levels, n, tilt=tilt)
        scores = out.overlap[0][0], out.gap[1][0]
        return Asked(out.value, *scores, out.hessian[0][0], out.fluctuation, out.cross)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        site = state.parts["site"]
        return self._with(state, self._value(site, n), self._asked(site, n).value)

    def refined(self, state: State, n: int) -> tuple[Array, ...]:
        return self._with(state, self._value(state.parts["site"], self.finer(n)), state.parts["asked"].value)

    def _with(self, state: State, value: Array, asked: Array) -> tuple[Array, ...]:
        """The terms, with what the site and a pattern contribute."""
        order, site = state.order, state.parts["site"]
        pull, outer = site["pull"], site["outer"]
        if self.frozen:
            coupling = site["gap"] * outer + site["q0"] * site["inner"]
        else:
            # y (q1 q1^ - q0 q0^) without its cancellations where y is large
            coupling = self.y * site["gap"] * order["q1_hat"] + order["q0"] * self.y * site["inner"]
        interaction = -site["field"] * site["S"] - 0.5 * order["q1_hat"] * site["complement"] - 0.5 * coupling
        if self.labels is not None:
            interaction = interaction - site["R"] * site["R_hat"]
        if pull is not None:
            own = pull.spread + pull.ratio**2 * outer
            shared = pull.ratio * outer * site["shared"]
            interaction = interaction - self.number * (0.5 * own * site["wide"] + shared)
            interaction = interaction - site["R_ref"] * pull.lean
        return (interaction, value, self.model.weight * asked)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        energy, entropy = self.thermal(state, phi, n)
        if self.frozen:
            columns = dict(S_I=entropy, S_E=self._fluctuation(state), y=jnp.full_like(phi, jnp.inf))
        else:
            y = jnp.asarray(self.y, float)
            by_y = self.partial(lambda p: p.y, state, self.finer(n))
            columns = dict(S_I=phi + y * by_y, S_E=-y * y * by_y, y=y)
        slope, gamma = self.slope(self, state.parts["x"], state, n), -2.0 * self._pushed(state)
        columns |= dict(entropy=columns["S_I"], energy=energy, slope=slope, gamma=gamma)
        if self.labels is not None:
            site = state.parts["site"]
            around = site["rest"] + (0.0 if self.frozen else site["gap"])
            angle = lambda rest: clean_error(site["R"], rest)
            columns |= dict(eps=angle(site["complement"] + around), eps_center=angle(around))
        if self.shares:
            columns["branch"] = self._branch(phi, columns["S_I"], n)
        return columns

    @property
    def shares(self) -> bool:
        """Whether groups of one solution each compete (they would be counted with weight at beta < inf)."""
        return self.by == "S" and not self.frozen and self.model.beta is INFINITE and not self.branch

    def _branch(self, phi: Array, S_I: Array, n: int) -> Array:
        """Groups of many solutions have more weight than those of one where Phi is larger for y > 1, smaller for y < 1."""
        y = jnp.asarray(self.y, float)
        single = SingleSolutions(self.model, self.y, self.control)
        typical = settled(single.typical, n)
        excess = y * (phi - single.phi(single.beside(typical.state), n))
        apart = jnp.abs(y - 1.0) > 1e-4
        ahead = jnp.where(apart, excess / jnp.where(apart, y - 1.0, 1.0), S_I)
        known = jnp.where(typical.found & (ahead <= 0), BRANCH["metastable"], BRANCH["dense"])
        return lax.stop_gradient(known)

    def unstable(self, state: State, columns: dict[str, Array], n: int) -> Array:
        """Groups that exist (S_E >= 0) would have more solutions than there are in all."""
        if self.frozen or self.labels is not None or self.model.beta is not INFINITE:
            return jnp.zeros((), bool)
        every = RS().problems(self.model)[0]
        typical = settled(every, n)
        more = columns["S_I"] > every.phi(typical.state, n) + self.accuracy
        return lax.stop_gradient(typical.found & (columns["S_E"] >= 0) & more)

    def slope(self, problem: Problem, x: Array, state: State, n: int) -> Array:
        """d phi/d(control) = -S^ dS/d(control), along the solutions x of `problem` (this one, or this one at its y*); control: d or q1."""
        along = self._pushed(state)
        if self.by == "S":
            return -2.0 * along
        return along * problem.total("control", x, lambda s: s.order["S"], n)

    def _pushed(self, state: State) -> Array:
        """d phi/dS."""
        return (
            jnp.asarray(self.model.weight, float) * state.parts["asked"].together
            - state.parts["site"]["field"]
        )

    def at_y(self, y: Array) -> "AnyReference":
        return eqx.tree_at(lambda p: p.y, self, y)

    def spread(self, state: State) -> Array:
        """y (q1 - q0)/(1 - q1)."""
        site = state.parts["site"]
        return self.number * site["gap"] / site["complement"]

    def _fluctuation(self, state: State) -> Array:
        """S_E = lim (Phi - y phi): what the Gaussian fluctuations around the maxima and the terms of order 1/y of q0, q0^ leave."""
        site, factor = state.parts["site"], state.parts["asked"]
        alpha, dq = jnp.asarray(self.model.weight, float), site["gap"]
        moved = site["inner"] * site["complement"] + alpha * dq * factor.hessian
        # without patterns no field tells the sign of the reference
        either = jnp.where(site["outer"] > 0, 0.0, np.log(2.0))
        return site["fluctuation"] + alpha * factor.fluctuation - 0.5 * moved + either

    def inside(self, state: State, edge: float = 1e-12) -> Array:
        """At y = inf the reference takes the sign of the field where S^ > 0 only (else: `displaced`), and feels some field (else: `free_ball`)."""
        site = state.parts["site"]
        found = site["complement"] > edge
        if not self.frozen:
            return found
        if self.labels is None:
            found = found & (site["gap"] < LOOSE * site["complement"])
        return found & (state.order["S_hat"] > 0)


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
    largest_block: ClassVar[int] = AnyReference.largest_block
    failure: ClassVar[str] = "no solution"

    @property
    def remains(self) -> Array:
        """At y < 1 `inside` alone tells: S_I grows with y (phi y is convex), and is not positive at y = 1."""
        return jnp.asarray(self.y, float) >= 1.0

    @property
    def typical(self) -> Bipartite:
        return RS().problems(self.model)[0]

    @property
    def size(self) -> int:
        return self.typical.size

    def starts(self) -> tuple[Array, ...]:
        return self.typical.starts()

    def state(self, x: Array, n: int) -> State:
        return self.beside(self.typical.state(x, n))

    def beside(self, typical: State) -> State:
        """References of the solutions of `typical`."""
        S = jnp.asarray(self.control, float)
        q, q_hat = typical.order["q"], typical.order["q_hat"]
        order = dict(q0=q, q1=jnp.ones_like(q), q0_hat=q_hat, S=S, S_hat=jnp.arctanh(S) / self.y)
        order |= {k: v for k, v in typical.order.items() if k in ("R", "R_hat")}
        return State(order, typical.residual, dict(typical=typical))

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        around = binary_entropy(0.5 * (1.0 - state.order["S"]))
        return tuple(t / self.y for t in (*self.typical.terms(state.parts["typical"], n), around))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        nothing, y, errors = jnp.zeros_like(phi), jnp.asarray(self.y, float), {}
        if self.typical.labels is not None:
            eps = self.typical.errors(state.parts["typical"])["eps"]
            errors = dict(eps=eps, eps_center=eps)
        return errors | dict(
            S_I=nothing,
            S_E=y * phi,
            y=y,
            entropy=nothing,
            energy=nothing,
            slope=2.0 * state.order["S_hat"],
            gamma=2.0 * state.order["S_hat"],
            branch=nothing + BRANCH["frozen"],
        )

    def inside(self, state: State, edge: float = 1e-12) -> Array:
        """There are solutions; y < 1: there are few of them around a pair of y = 1."""
        n, y = self.nodes // 2, jnp.asarray(self.y, float)
        pairs = dense(AnyReference(self.model, jnp.ones(()), self.control, "S"), n, y >= 1.0)
        typical = self.typical.phi(state.parts["typical"], n)
        return (typical >= 0.0) & ((y >= 1.0) | ~pairs.dominant)
