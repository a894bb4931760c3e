r"""y solutions around a reference that satisfies the patterns itself, at its own margin (ensemble R, constrained; binary weights).

`reference` with, in its functional, - Q^ (1 - Q)/2 + y s^ (S - s0) more, a field s^ z/sqrt(q0^) + sqrt(Q^ - s^^2/q0^) z' on W~, and in the pattern

    H((kappa~ - c z - e z' - r v)/sqrt(1 - Q - r^2)),   c = s0/sqrt(q0),  e^2 = Q - c^2,  r = (S - s0)/sqrt(q1 - q0),

Q: overlap of two references, s0: of a reference with the W of another one.  With b the score of this H, g that of a W:
Q^ = alpha E<b>^2, s^ = alpha E<g><b>, and S^ - s^ is the field that gives the control.  y -> 0: Franz-Parisi.  y -> inf: 1 - Q, S - s0 ~ 1/y,
and Q^ ~ y^2, s^ ~ y; a violated reference costs y (gap)^2/2 (1 - Q - r^2).  There S_E = -inf (every violated reference loses log(y)/2), and the
patterns may pull at the reference so little (spread, ratio -> 0) that phi is that of any reference.  At distances where references see
typical solutions S^ - s^ = c/y instead, phi = phi_RS and S_E is finite (`DisplacedSolution`).
A teacher has overlap R~ with the references: a field R~^ on W~, - R~ R~^ in Phi, and the field of the teacher in a pattern is, given the others,

    R z/sqrt(q0) + (R~ - c R/sqrt(q0)) z'/e    and an independent part:   the weight of the labels (`vocabulary.labels`) depends on z and z'.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import RANGE, Rule, gaussian_rule, unit_panels
from replicax.numerics.roots import newton
from replicax.numerics.special import H, log_2cosh
from replicax.theory.displaced_solutions import LEANING, NO_SPREAD, DisplacedSolution, Pull, joined, moved
from replicax.theory.free_entropy import FAR, Followed, State, settled
from replicax.theory.perceptron import TINY
from replicax.theory.reference import AnyReference, Asked, Sides
from replicax.vocabulary.labels import Told
from replicax.vocabulary.levels import Level, Terminal, peak, tower

#: added to what the patterns ask of the reference before logarithms are taken, of variance (at finite y on both sides) and of ratios: at y = inf
#: it may feel none of them
_UNFELT = {False: (1e-4, TINY), True: (1e-13, 1e-13)}
#: in units of what is undecided, where a reference is no longer in doubt
_DECIDED = 8.0
#: coordinates of a pull that is hardly felt
_WEAK = (-4.0, -4.0, -4.0)
#: fewer replicas than this are reached from so many
_FEW = 0.5
#: residual of the coarse map to which the first start is followed
_CLOSE = 1e-5
#: three nested integrals with so many times the square root of n nodes each
_THIN = (6.0, 5.0, 8.5)
#: where the Gaussian of the second one ends (4e-14 outside)
_REACH = 7.5


class _Both(Terminal):
    """u -> y log f(h + u) + log f~(h~ + r u): one pattern seen by the W and by their reference."""

    own: Any
    planted: Any
    y: Array
    h: Array
    h_planted: Array
    r: Array

    def __call__(self, *u: Array) -> Array:
        return self.y * self.own(self.h + u[0]) + self.planted(self.h_planted + self.r * u[0])


class Constrained(Followed, AnyReference):
    """Coordinates: those of `AnyReference` (S^ - s^ in place of S^), log of `Pull.spread` per alpha, log of `Pull.ratio`, with a teacher log of
    `Pull.lean` per alpha, in units of (1+y)/y.
    """

    reference: Any = None

    largest_block: ClassVar[int] = 1
    #: where a reference hardly differs from the barycentre of the W around it, what is left of them is a small difference
    tolerance: ClassVar[float] = 1e-9
    oriented: ClassVar[bool] = False

    @property
    def more(self) -> tuple[float, ...]:
        return (-1.5, -1.0, *LEANING[: self.labels is not None])

    def finer(self, n: int) -> int:
        return 3 * n // 2

    @property
    def _distant(self) -> bool:
        """Whether it is also looked for from y = inf."""
        return not self.frozen and self.by == "S" and self.labels is None

    def starts(self) -> tuple[Array, ...]:
        return self.prepare(self.nodes)[0]

    def prepare(self, n: int, skip: Array | bool = False) -> tuple[tuple[Array, ...], Array]:
        """Around any reference at first, which then begins to feel the patterns; where that fails from `DisplacedSolution`, for many replicas
        around references far away, then as around any reference.
        """
        blank = jnp.zeros(self.size)
        first = lax.cond(skip, lambda: blank, lambda: self._close())
        residual = lambda x: self.state(x, n // self.coarser).residual
        root = newton(residual, first[None], tol=_CLOSE, limit=FAR, tries=jnp.where(skip, 0, 1))

        def others() -> Array:
            seeds = self._relaxed()
            far = (self._far_away(seeds[0]),) if self._distant else ()
            return jnp.stack([*far, *seeds])

        count = len(self.seeds()) + self._distant
        none = lambda: jnp.zeros((count, self.size))
        rest = lax.cond(root.converged | skip, none, others)
        start = jnp.where(root.converged, root.x, first)
        return tuple(lax.stop_gradient(x) for x in (start, *rest)), jnp.zeros((), bool)

    def _close(self) -> Array:
        """Where references that begin to feel the patterns lead; few replicas: from a moderate number of them."""
        if self.frozen:
            return self._felt()
        y = jnp.maximum(jnp.asarray(self.y, float), _FEW)
        easy = self.at_y(y)
        residual = lambda x: easy.state(x, self.nodes // 4).residual
        few = self.y < y
        root = newton(residual, easy._felt()[None], tol=1e-4, limit=FAR, tries=jnp.where(few, 1, 0))
        less = jnp.log((1.0 + y) / (1.0 + self.y))
        nothing = 0.0 * y
        taught = () if self.labels is None else (less, nothing)
        first = root.x + jnp.stack([nothing, jnp.log(self.y / y), nothing, 2.0 * less, less, *taught])
        return jnp.where(few & ~root.converged, self.seeds()[0], first)

    def _displaced(self) -> DisplacedSolution:
        return DisplacedSolution(self.model, (0.0,), self.control, reference=self.reference)

    def _far_away(self, otherwise: Array) -> Array:
        """y = inf where references see typical solutions, taken to y: fields on W~ of order 1."""
        n, problem = self.nodes // 2, self._displaced()
        far = settled(problem, n, tol=1e-4)
        spread, ratio, tilt = jnp.exp(far.x[1]), jnp.exp(far.x[2]), jnp.sinh(far.x[3])
        x = self._with_fields(far.x[0], far.state, spread, ratio, tilt)
        return jnp.where(far.found & jnp.all(jnp.isfinite(x)), x, otherwise)

    def _with_fields(self, typical: Array, state: State, spread: Array, ratio: Array, tilt: Array) -> Array:
        """Coordinates at fields spread, ratio and tilt on W~ (not per y); a tilt moves the W by the inverse of their replicon."""
        y, alpha = jnp.asarray(self.y, float), jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        shift = moved(state) * tilt**2 / (y * alpha)
        fields = (jnp.log(spread) - 2.0 * jnp.log1p(y), jnp.log(ratio) - jnp.log1p(y))
        return jnp.stack([typical, jnp.log(shift + TINY), jnp.arcsinh(tilt / (y * self._turn)), *fields])

    def _free(self) -> AnyReference:
        """The same around any reference."""
        return AnyReference(self.model, self.y, self.control, self.by)

    def _felt(self) -> Array:
        n = self.nodes // 4
        free = settled(self._free(), n, tol=1e-6)
        step = lambda _, x: x.at[3:].add(-0.6 * self.state(x, n).residual[3:])
        weak = jnp.asarray(_WEAK[: len(self.more)])
        felt = lax.fori_loop(0, 8, step, jnp.concatenate([free.x[:3], weak, free.x[3:]]))
        return jnp.where(free.found & jnp.all(jnp.isfinite(felt)), felt, self.seeds()[0])

    @property
    def shares(self) -> bool:
        return False

    @property
    def _unit(self) -> Array:
        return jnp.ones(()) if self.frozen else 1.0 + 1.0 / jnp.asarray(self.y, float)

    def _pull(self, x: Array) -> Pull:
        alpha = jnp.asarray(self.model.weight, float)
        lean = 0.0 if self.labels is None else self._unit * alpha * jnp.exp(x[5])
        return Pull(self._unit * jnp.exp(x[4]), self._unit**2 * alpha * jnp.exp(x[3]), lean)

    def _pulled(self, x: Array, site: dict[str, Any], asked: Asked) -> tuple[Array, ...]:
        gains, (no_field, no_ratio) = site["gains"], _UNFELT[self.frozen]
        ratio, own = asked.cross / (jnp.exp(x[0]) * gains.levels * self._unit), asked.own / self._unit**2
        spread = jnp.log(jnp.exp(x[3]) * gains.spread + (0.0 if self.frozen else no_field))
        pulled = [
            spread - jnp.log(own + no_field),
            x[4] + jnp.log(gains.ratio) - jnp.log(ratio + no_ratio),
        ]
        if self.labels is not None:
            pulled.append(x[5] + jnp.log(gains.lean) - jnp.log(asked.told / self._unit + no_ratio))
        return tuple(pulled)

    def _of_references(self, site: dict[str, Any]) -> dict[str, Array]:
        pull, outer = site["pull"], site["outer"]
        taught = {} if self.labels is None else dict(R_ref=site["R_ref"])
        if self.frozen:
            return taught | dict(q=jnp.ones_like(outer), t=site["S"])
        y = jnp.asarray(self.y, float)
        if taught:
            taught["R_ref_hat"] = y * pull.lean
        cross = y * pull.ratio * outer
        q_hat = y**2 * (pull.spread + pull.ratio**2 * outer)
        return taught | dict(
            q=1.0 - site["wide"],
            q_hat=q_hat,
            t=site["cross"],
            t_hat=cross,
            S_hat=site["field"] + cross,
        )

    def _outside(self, steep: Array, inner: Array, field: Array, pull: Pull, R_hat: Array, n: int) -> Rule:
        """Where W~ changes its mind, at y = inf over what its own field leaves undecided, however narrow; the W jump where theirs changes its
        sign.  Without a teacher both lie at x = 0.
        """
        if not self.frozen and self.labels is None:
            return super()._outside(steep, inner, field, pull, R_hat, n)
        level = (Level((inner,), self.y),)
        seen = lambda x: tower(self.model.prior.terminal(jnp.zeros(())), level, n, (x,))
        if not self.frozen:
            width = 1.0 / (steep * (1.0 + self.y))
            doubt = self._doubt(seen, field, pull, R_hat)
            return gaussian_rule((-R_hat / steep, (doubt - R_hat) / steep), (width, width), n)
        slope = jnp.maximum(jnp.abs(seen(field).score[0] + pull.ratio), TINY)
        undecided, smooth = jnp.sqrt(pull.spread + NO_SPREAD) / (steep * slope), jnp.minimum(1.0, 1.0 / steep)
        if self.labels is not None:
            doubt, jumps = self._doubt(seen, field, pull, R_hat), (field - R_hat, -field - R_hat)
            places = (*(j / steep for j in jumps), (doubt - R_hat) / steep)
            return gaussian_rule(places, (smooth, smooth, jnp.minimum(smooth, undecided)), n, moving=True)
        jump = jnp.abs(field) / steep
        cut = lax.stop_gradient(jnp.minimum(_DECIDED * undecided, 0.5 * jump))
        s, ds = unit_panels(max(1, n // 32))
        near = Rule(cut * s, 2.0 * cut * ds)
        width = jnp.where(_DECIDED * undecided < 0.5 * jump, smooth, jnp.minimum(smooth, undecided))
        far = gaussian_rule((cut, jump), (lax.stop_gradient(width), smooth), n, lower=cut, moving=True)
        return Rule(jnp.append(near.nodes, far.nodes), jnp.append(near.jacobian, 2.0 * far.jacobian))

    def _doubt(self, seen: Any, field: Array, pull: Pull, R_hat: Array) -> Array:
        """Where the fields on W~, that of the W around it and its own, cancel (bisection: they grow with x)."""
        own = lambda x: pull.ratio * (x - R_hat) + pull.lean
        total = lambda x: 0.5 * (seen(x + field).value - seen(x - field).value) + own(x)
        most = jnp.abs(R_hat - pull.lean / pull.ratio) + jnp.abs(field) / pull.ratio + 1.0

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            middle = 0.5 * (ends[0] + ends[1])
            above = total(middle) > 0
            return jnp.where(above, ends[0], middle), jnp.where(above, middle, ends[1])

        low, high = lax.fori_loop(0, 30, halve, (-most, most))
        return lax.stop_gradient(0.5 * (low + high))

    def _sides(self, lean: Array, pull: Pull, n: int) -> Sides:
        """Averages over an independent field of variance y^2 `spread`."""
        root = jnp.sqrt(pull.spread + NO_SPREAD)
        if self.frozen:
            u = lean / root
            ahead, behind = H(-u), H(u)
            density = jnp.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
            size = lean * (ahead - behind) + 2.0 * root * density
            return Sides(ahead, behind, 2.0 * density / root, 4.0 * ahead * behind, size)
        rule = gaussian_rule((-lean / root,), (1.0 / (self.y * root),), n)
        mean = lambda a: jnp.sum(rule.weights * a, -1)
        u = self.y * (lean[..., None] + root * rule.nodes)
        ahead, behind = jax.nn.sigmoid(2.0 * u), jax.nn.sigmoid(-2.0 * u)
        forward, back = mean(ahead), mean(behind)
        lone = forward - back
        spread = mean((ahead - behind - lone[..., None]) ** 2)
        return Sides(forward, back, mean(4.0 * ahead * behind), spread, mean(log_2cosh(u)) / self.y)

    def _told(self, site: dict[str, Any], root: Array, beside: Array) -> Told:
        """What the labels say, in the standard normals of h and of what the references see beside it."""
        if self.labels is None:
            return Told(None)
        shift = site["R_ref"] - site["c"] * site["R"]
        V = jnp.maximum(site["rest"] / (site["q0"] + TINY) - (shift / beside) ** 2, TINY)
        return Told(self.labels, site["R"] / root, shift / beside, V)

    def _asked(self, site: dict[str, Any], n: int) -> Asked:
        pull = site["pull"]
        if self.frozen:
            return self._asked_at_once(site, pull, n)
        y = jnp.asarray(self.y, float)
        own = self.model.factor.terminal(site["complement"])
        planted = self.reference.factor.terminal(site["narrow"])
        root, beside, wide = (
            jnp.sqrt(site["q0"] + TINY),
            jnp.sqrt(site["apart"] + NO_SPREAD),
            jnp.sqrt(site["gap"]),
        )
        away = site["c"] * root
        outer, middle, inner = (int(share * n**0.5) for share in _THIN)
        seen = self.model.factor.bends(site["complement"] + site["gap"], 0.0)
        asked = self.reference.factor.bends(site["wide"], 0.0)
        told = self._told(site, root, beside)
        bends = _narrowest(
            tuple(b / root for b in seen.positions) + tuple(b / away for b in asked.positions),
            tuple(w / root for w in seen.widths) + tuple(w / away for w in asked.widths),
        )
        first = gaussian_rule(*joined(bends, told.first()), outer)

        def at(z: Array) -> Asked:
            """What patterns at this z ask for, averaged over what the references see beside it."""
            h, here = root * z, away * z
            bends = _narrowest(
                tuple((b - here) / beside for b in asked.positions),
                tuple(w / beside * jnp.ones_like(h) for w in asked.widths),
            )
            second = gaussian_rule(*joined(bends, told.second(z)), middle, lower=-_REACH, upper=_REACH)
            h_planted = here + beside * second.nodes
            h = h * jnp.ones_like(h_planted)
            both = _Both(own, planted, y, h, h_planted, site["r"])
            centre, width = peak(
                lambda u: tower(both, (), n, (u,)), jnp.zeros_like(h), wide * jnp.ones_like(h), 1.0
            )
            along = wide * (jnp.abs(site["r"]) + TINY)
            wall = self.reference.factor.bends(site["narrow"], 0.0)
            (turn,), (narrow,) = _narrowest(
                tuple(jnp.sign(site["r"]) * (b - h_planted) / along for b in wall.positions),
                tuple(w / along * jnp.ones_like(h) for w in wall.widths),
            )
            ends = dict(lower=centre - RANGE, upper=centre + RANGE)
            third = gaussian_rule((centre, turn), (width, narrow), inner, **ends)
            u = wide * third.nodes
            near, far = h[..., None] + u, h_planted[..., None] + site["r"] * u
            one = lambda f, at: jax.jvp(f, (at,), (jnp.ones_like(at),))
            (value, g), (value_planted, b) = one(own, near), one(planted, far)
            exponent = y * value + value_planted + third.log_weights
            top = lax.stop_gradient(jnp.max(exponent, -1))
            share = jnp.exp(exponent - top[..., None])
            total = jnp.sum(share, -1)
            inside = lambda a: jnp.sum(share * a, -1) / total
            log_weight, signal = told.density(z, second.nodes)
            weights = second.weights * jnp.exp(log_weight)
            mean = lambda a: jnp.sum(weights * a)
            b = b / y
            score, score_planted = inside(g), inside(b)
            around = g - score[..., None]
            return Asked(
                mean(jnp.log(total) + top) / y,
                mean(score**2),
                mean(inside(around**2)),
                taught=mean(signal * score),
                cross=mean(score * score_planted),
                own=mean((score_planted - pull.ratio * score) ** 2),
                together=y * mean(inside(around * b)),
                told=mean(signal * score_planted),
            )

        # node by node: what one of them needs stays in the cache
        every = lax.map(at, first.nodes)
        return jax.tree.map(lambda a: jnp.sum(first.weights * a), every)

    def _asked_at_once(self, site: dict[str, Any], pull: Pull, n: int) -> Asked:
        """y = inf: the maximum over v; below a kink in z' the reference would be violated, and pays (gap)^2/(2 narrow)."""
        own = self.model.factor.terminal(site["complement"])
        root, beside, gap = jnp.sqrt(site["q0"] + TINY), jnp.sqrt(site["apart"] + NO_SPREAD), site["gap"]
        r, narrow, kappa = site["r"], site["narrow"], jnp.asarray(self.reference.kappa, float)
        seen = self.model.factor.bends(site["complement"] + gap, 0.0)
        told = self._told(site, root, beside)
        bends = tuple(b / root for b in seen.positions), tuple(w / root for w in seen.widths)
        first = gaussian_rule(*joined(bends, told.first()), n)
        h, away = root * first.nodes, site["c"] * root * first.nodes
        highest = lambda f, like: tower(f, (Level((gap * jnp.ones_like(like),), float("inf")),), n, (like,))
        edge = (kappa - away - r * gap * highest(own, h).score[0]) / beside
        width = jnp.sqrt(narrow + r**2 * gap) / beside * jnp.ones_like(h)
        second = gaussian_rule(*joined(((edge,), (width,)), told.second(first.nodes)), n, moving=True)
        log_weight, signal = told.density(first.nodes[:, None], second.nodes)
        weights = first.weights[:, None] * second.weights * jnp.exp(log_weight)
        away = away[:, None] + beside * second.nodes
        h = h[:, None] * jnp.ones_like(away)
        missing = lambda g: jnp.maximum(kappa - g, 0.0)
        pays = lambda g: -0.5 * missing(g) ** 2 / narrow
        out = highest(_Both(own, pays, jnp.ones(()), h, away, r), jnp.zeros_like(h))
        u = gap * out.score[0]
        at = tower(own, (), n, (h + u,))
        score, curvature = at.score[0], at.hessian[0][0]
        short = missing(away + r * u)
        score_planted = short / narrow
        stiff = jnp.where(short > 0, r / narrow, 0.0)
        loose = 1.0 / (1.0 / gap - curvature + r * stiff)
        mean = lambda a: jnp.sum(weights * a)
        return Asked(
            mean(out.value),
            mean(score**2),
            mean(curvature**2 * loose),
            taught=mean(signal * score),
            cross=mean(score * score_planted),
            own=mean((score_planted - pull.ratio * score) ** 2),
            together=-mean(curvature * stiff * loose),
            told=mean(signal * score_planted),
        )

    def _fluctuation(self, state: State) -> Array:
        """Every violated reference would lose log(y)/2."""
        return jnp.full_like(state.order["S"], -jnp.inf)


def _narrowest(positions: tuple, widths: tuple) -> tuple[tuple, tuple]:
    """The one of several bends."""
    widths_ = jnp.stack(widths)
    which = jnp.argmin(widths_, 0)[None]
    pick = lambda a: jnp.take_along_axis(a, which, 0)[0]
    return (pick(jnp.stack(positions)),), (pick(widths_),)
