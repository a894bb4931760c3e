r"""y solutions around a reference that satisfies the patterns itself, at its own margin (ensemble R, constrained; binary weights).

`reference` with, in its functional, - Q^ (1 - Q)/2 + y s^ (S - s0) more, a field s^ z/sqrt(q0^) + sqrt(Q^ - s^^2/q0^) z' on W~, and in the pattern

    H((kappa~ - c z - e z' - r v)/sqrt(1 - Q - r^2)),   c = s0/sqrt(q0),  e^2 = Q - c^2,  r = (S - s0)/sqrt(q1 - q0),

Q: overlap of two references, s0: of a reference with the W of another one.  With b the score of this H, g that of a W:
Q^ = alpha E<b>^2, s^ = alpha E<g><b>, and S^ - s^ is the field that gives the control.  y -> 0: Franz-Parisi.  y -> inf: 1 - Q, S - s0 ~ 1/y,
and Q^ ~ y^2, s^ ~ y; a violated reference costs y (gap)^2/2 (1 - Q - r^2).  There S_E = -inf (every violated reference loses log(y)/2), and the
patterns may pull at the reference so little (spread, ratio -> 0) that phi is that of any reference.  At distances where references see
typical solutions S^ - s^ = c/y instead, phi = phi_RS and S_E is finite (`DisplacedSolution`).
"""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import RANGE, Rule, gaussian_rule, unit_panels
from replicax.numerics.roots import newton
from replicax.numerics.special import H, log_2cosh
from replicax.theory.displaced import Displaced
from replicax.theory.free_entropy import FAR, Followed, State
from replicax.theory.perceptron import TINY, Bipartite
from replicax.theory.reference import AnyReference, Asked, Sides
from replicax.vocabulary.levels import Level, Terminal, peak, tower

#: added to a variance that vanishes at y = 1, where its square root has no derivative
_NO_SPREAD = 1e-13
#: added to both sides of the equation of that variance before their logarithms are compared
_LITTLE = 1e-4
#: y = inf: added to what the patterns ask of the reference before logarithms are taken: it may feel none of them
_NOTHING = 1e-13
#: in units of what is undecided, where a reference is no longer in doubt
_DECIDED = 8.0
#: coordinates of a pull that is hardly felt
_WEAK = (-4.0, -4.0)
#: fewer replicas than this are reached from so many
_FEW = 0.5
#: residual of the coarse map to which the first start is followed
_CLOSE = 1e-5
#: three nested integrals with so many times the square root of n nodes each
_THIN = (6.0, 5.0, 8.5)
#: where the Gaussian of the second one ends (4e-14 outside)
_REACH = 7.5


class Pull(NamedTuple):
    """Field on W~ per y: ratio times that of the W, and an independent one of variance `spread`."""

    ratio: Array
    spread: Array


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
    """Coordinates: those of `AnyReference` (S^ - s^ in place of S^), log of `Pull.spread` per alpha, log of `Pull.ratio`, in units of (1+y)/y."""

    reference: Any = None

    largest_block: ClassVar[int] = 1
    #: where a reference hardly differs from the barycentre of the W around it, what is left of them is a small difference
    tolerance: ClassVar[float] = 1e-9
    oriented: ClassVar[bool] = False
    more: ClassVar[tuple[float, ...]] = (-1.5, -1.0)

    def finer(self, n: int) -> int:
        return 3 * n // 2

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
            far = () if self.frozen or self.by != "S" else (self._far_away(seeds[0]),)
            return jnp.stack([*far, *seeds])

        count = len(self.seeds()) + (not self.frozen and self.by == "S")
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
        first = root.x + jnp.stack([0.0 * y, jnp.log(self.y / y), 0.0 * y, 2.0 * less, less])
        return jnp.where(few & ~root.converged, self.seeds()[0], first)

    def _displaced(self) -> "DisplacedSolution":
        return DisplacedSolution(self.model, (0.0,), self.control, reference=self.reference)

    def _far_away(self, otherwise: Array) -> Array:
        """y = inf where references see typical solutions, taken to y: fields on W~ of order 1."""
        n, problem = self.nodes // 2, self._displaced()
        residual = lambda x: problem.state(x, n).residual
        root = newton(residual, jnp.stack(problem.starts()), tol=1e-4, limit=FAR)
        state = problem.state(root.x, n)
        spread, ratio, tilt = jnp.exp(root.x[1]), jnp.exp(root.x[2]), jnp.sinh(root.x[3])
        x = self._with_fields(root.x[0], state, spread, ratio, tilt)
        return jnp.where(root.converged & jnp.all(jnp.isfinite(x)), x, otherwise)

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
        free = self._free()
        residual = lambda x: free.state(x, n).residual
        root = newton(residual, jnp.stack(free.starts()), tol=1e-6, limit=FAR)
        step = lambda _, x: x.at[3:].add(-0.6 * self.state(x, n).residual[3:])
        felt = lax.fori_loop(0, 8, step, jnp.append(root.x, jnp.asarray(_WEAK)))
        return jnp.where(root.converged & jnp.all(jnp.isfinite(felt)), felt, self.seeds()[0])

    @property
    def shares(self) -> bool:
        return False

    @property
    def _unit(self) -> Array:
        return jnp.ones(()) if self.frozen else 1.0 + 1.0 / jnp.asarray(self.y, float)

    def _pull(self, x: Array) -> Pull:
        alpha = jnp.asarray(self.model.weight, float)
        return Pull(self._unit * jnp.exp(x[4]), self._unit**2 * alpha * jnp.exp(x[3]))

    def _pulled(self, x: Array, site: dict[str, Any], asked: Asked) -> tuple[Array, ...]:
        gains = site["gains"]
        ratio, own = asked.cross / (jnp.exp(x[0]) * gains.levels * self._unit), asked.own / self._unit**2
        spread = jnp.exp(x[3]) * gains.spread
        if self.frozen:
            spread, own = jnp.log(spread), jnp.log(own + _NOTHING)
            return (spread - own, x[4] + jnp.log(gains.ratio) - jnp.log(ratio + _NOTHING))
        spread, own = jnp.log(spread + _LITTLE), jnp.log(own + _LITTLE)
        return (spread - own, x[4] + jnp.log(gains.ratio) - jnp.log(ratio + TINY))

    def _of_references(self, site: dict[str, Any]) -> dict[str, Array]:
        pull, outer = site["pull"], site["outer"]
        if self.frozen:
            return dict(q=jnp.ones_like(outer), t=site["S"])
        y = jnp.asarray(self.y, float)
        cross = y * pull.ratio * outer
        q_hat = y**2 * (pull.spread + pull.ratio**2 * outer)
        return dict(
            q=1.0 - site["wide"],
            q_hat=q_hat,
            t=site["cross"],
            t_hat=cross,
            S_hat=site["field"] + cross,
        )

    def _outside(self, steep: Array, inner: Array, field: Array, pull: Pull, R_hat: Array, n: int) -> Rule:
        """At y = inf W~ changes its mind over what its own field leaves undecided, however narrow; the W jump where theirs changes its sign."""
        if not self.frozen:
            return super()._outside(steep, inner, field, pull, R_hat, n)
        level = (Level((inner,), float("inf")),)
        tilt = tower(self.model.prior.terminal(jnp.zeros(())), level, n, (field,)).score[0] + pull.ratio
        undecided = jnp.sqrt(pull.spread + _NO_SPREAD) / (steep * jnp.maximum(jnp.abs(tilt), TINY))
        jump, smooth = jnp.abs(field) / steep, jnp.minimum(1.0, 1.0 / steep)
        cut = lax.stop_gradient(jnp.minimum(_DECIDED * undecided, 0.5 * jump))
        s, ds = unit_panels(max(1, n // 32))
        near = Rule(cut * s, 2.0 * cut * ds)
        width = jnp.where(_DECIDED * undecided < 0.5 * jump, smooth, jnp.minimum(smooth, undecided))
        far = gaussian_rule((cut, jump), (lax.stop_gradient(width), smooth), n, lower=cut, moving=True)
        return Rule(jnp.append(near.nodes, far.nodes), jnp.append(near.jacobian, 2.0 * far.jacobian))

    def _sides(self, lean: Array, pull: Pull, n: int) -> Sides:
        """Averages over an independent field of variance y^2 `spread`."""
        root = jnp.sqrt(pull.spread + _NO_SPREAD)
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

    def _asked(self, site: dict[str, Any], n: int) -> Asked:
        pull = site["pull"]
        if self.frozen:
            return self._asked_at_once(site, pull, n)
        y = jnp.asarray(self.y, float)
        own = self.model.factor.terminal(site["complement"])
        planted = self.reference.factor.terminal(site["narrow"])
        root, beside, wide = (
            jnp.sqrt(site["q0"] + TINY),
            jnp.sqrt(site["apart"] + _NO_SPREAD),
            jnp.sqrt(site["gap"]),
        )
        away = site["c"] * root
        outer, middle, inner = (int(share * n**0.5) for share in _THIN)
        seen = self.model.factor.bends(site["complement"] + site["gap"], 0.0)
        asked = self.reference.factor.bends(site["wide"], 0.0)
        first = gaussian_rule(
            *_narrowest(
                tuple(b / root for b in seen.positions) + tuple(b / away for b in asked.positions),
                tuple(w / root for w in seen.widths) + tuple(w / away for w in asked.widths),
            ),
            outer,
        )

        def at(h: Array) -> Asked:
            """What patterns of this field of the W ask for, averaged over that of the reference beside it."""
            here = site["c"] * h
            positions = tuple((b - here) / beside for b in asked.positions)
            widths = tuple(w / beside * jnp.ones_like(h) for w in asked.widths)
            second = gaussian_rule(*_narrowest(positions, widths), middle, lower=-_REACH, upper=_REACH)
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
            mean = lambda a: jnp.sum(second.weights * a)
            b = b / y
            score, score_planted = inside(g), inside(b)
            around = g - score[..., None]
            return Asked(
                mean(jnp.log(total) + top) / y,
                mean(score**2),
                mean(inside(around**2)),
                cross=mean(score * score_planted),
                own=mean((score_planted - pull.ratio * score) ** 2),
                together=y * mean(inside(around * b)),
            )

        # node by node: what one of them needs stays in the cache
        every = lax.map(at, root * first.nodes)
        return jax.tree.map(lambda a: jnp.sum(first.weights * a), every)

    def _asked_at_once(self, site: dict[str, Any], pull: Pull, n: int) -> Asked:
        """y = inf: the maximum over v; below a kink in z' the reference would be violated, and pays (gap)^2/(2 narrow)."""
        own = self.model.factor.terminal(site["complement"])
        root, beside, gap = jnp.sqrt(site["q0"] + TINY), jnp.sqrt(site["apart"] + _NO_SPREAD), site["gap"]
        r, narrow, kappa = site["r"], site["narrow"], jnp.asarray(self.reference.kappa, float)
        seen = self.model.factor.bends(site["complement"] + gap, 0.0)
        first = gaussian_rule(
            tuple(b / root for b in seen.positions), tuple(w / root for w in seen.widths), n
        )
        h, away = root * first.nodes, site["c"] * root * first.nodes
        highest = lambda f, like: tower(f, (Level((gap * jnp.ones_like(like),), float("inf")),), n, (like,))
        edge = (kappa - away - r * gap * highest(own, h).score[0]) / beside
        width = jnp.sqrt(narrow + r**2 * gap) / beside * jnp.ones_like(h)
        second = gaussian_rule((edge,), (width,), n, moving=True)
        weights = first.weights[:, None] * second.weights
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
            cross=mean(score * score_planted),
            own=mean((score_planted - pull.ratio * score) ** 2),
            together=-mean(curvature * stiff * loose),
        )

    def _fluctuation(self, state: State) -> Array:
        """Every violated reference would lose log(y)/2."""
        return jnp.full_like(state.order["S"], -jnp.inf)


def moved(state: State) -> Array:
    """What the patterns add to a shift of typical solutions, 1/replicon - 1."""
    replicon = jnp.clip(state.parts["replicon"], 0.02, 1.0)
    return (1.0 - replicon) / replicon


def _narrowest(positions: tuple, widths: tuple) -> tuple[tuple, tuple]:
    """The one of several bends."""
    widths_ = jnp.stack(widths)
    which = jnp.argmin(widths_, 0)[None]
    pick = lambda a: jnp.take_along_axis(a, which, 0)[0]
    return (pick(jnp.stack(positions)),), (pick(widths_),)


class DisplacedSolution(Displaced):
    r"""`Displaced` where the reference satisfies the patterns: phi = phi_RS, and references with overlap S with the magnetisations t = tanh(h),

        S_E = -(1/2) Q^ (1-Q) - s^ rho - c S + E log 2cosh(s^ h/q^ + sqrt(Q^ - s^^2/q^) z' + c t)
              + alpha E log H((kappa~ - (S/q) h_mu - sqrt(Q - S^2/q) z' - rho psi'(h_mu))/sqrt(1-Q)),

    stationary in all but S; rho: the reaction of the patterns to c.  c = 0: typical solutions, S_E = phi_RS(kappa~).
    Coordinates: that of q^, log of spread/alpha and ratio (`Pull`, without y), arsinh(c).
    """

    reference: Any = None

    largest_block: ClassVar[int] = 64
    size: ClassVar[int] = 4  # type: ignore[misc]

    def starts(self) -> tuple[Array, ...]:
        guesses = ((-0.5, -0.5, 0.0), (0.5, -1.0, 1.5), (-2.0, 0.0, -1.0), (0.0, -2.0, 2.5))
        return tuple(jnp.append(x, jnp.asarray(g)) for x in self._typical.starts() for g in guesses)

    def absent(self, n: int) -> Array:
        return jnp.zeros((), bool)

    def _of_references(self, typical: State, pull: Pull, tilt: Array, n: int) -> dict[str, Array]:
        """Moments of W~ at the fields of typical solutions."""
        q, steep = typical.order["q"], jnp.sqrt(typical.order["q_hat"] + TINY)
        width = 1.0 / (steep * (1.0 + pull.ratio + jnp.abs(tilt)))
        # the two fields on W~ may cancel
        most = jnp.maximum(-tilt / pull.ratio, 0.0)
        other = lax.fori_loop(0, 8, lambda _, h: most * jnp.tanh(h), most) / steep
        rule = gaussian_rule((jnp.zeros(()), other), (width, width), n, even=True)
        h = steep * rule.nodes
        t = jnp.tanh(h)
        level = (Level((pull.spread * jnp.ones_like(h),), 0.0),)
        out = tower(self.model.prior.terminal(jnp.zeros(())), level, n, (pull.ratio * h + tilt * t,))
        mean = lambda a: jnp.sum(rule.weights * a)
        m, doubt = out.score[0], out.curvature[0]
        S = mean(t * m)
        apart = mean((m - S / q * t) ** 2 + out.gap[0][0])
        return dict(
            S=S, apart=apart, wide=mean(doubt), rho=tilt * mean((1.0 - t * t) * doubt), value=mean(out.value)
        )

    def _asked(self, q: Array, complement: Array, site: dict[str, Array], ratio: Array, n: int) -> Asked:
        own, planted = self.model.factor.terminal(complement), self.reference.factor.terminal(site["wide"])
        root, along = jnp.sqrt(q + TINY), jnp.abs(site["S"]) / jnp.sqrt(q + TINY) + TINY
        seen = self.model.factor.bends(complement, 0.0)
        asked = self.reference.factor.bends(site["wide"] + site["apart"], 0.0)
        rule = gaussian_rule(
            (
                *(b / root for b in seen.positions),
                *(jnp.sign(site["S"]) * b / along for b in asked.positions),
            ),
            (*(w / root for w in seen.widths), *(w / along for w in asked.widths)),
            n,
        )
        h = root * rule.nodes
        score = own.derivatives(h)[1][0]
        level = (Level((site["apart"] * jnp.ones_like(h),), 0.0),)
        out = tower(planted, level, n, (site["S"] / q * h + site["rho"] * score,))
        mean = lambda a: jnp.sum(rule.weights * a)
        b = out.score[0]
        return Asked(
            mean(out.value),
            mean(score**2),
            jnp.zeros(()),
            cross=mean(score * b),
            own=mean(out.gap[0][0] + (b - ratio * score) ** 2),
        )

    def state(self, x: Array, n: int) -> State:
        typical = self._typical.state(x[:1], n)
        q, q_hat, alpha = typical.order["q"], typical.order["q_hat"], jnp.asarray(self.model.weight, float)
        pull, tilt = Pull(jnp.exp(x[2]), alpha * jnp.exp(x[1])), jnp.sinh(x[3])
        site = self._of_references(typical, pull, tilt, n)
        asked = self._asked(q, typical.parts["site"].complement, site, pull.ratio, n)
        residual = jnp.stack([
            x[1] - jnp.log(asked.own + TINY),
            x[2] - jnp.log(alpha * asked.cross / q_hat + TINY),
            jnp.arctanh(site["S"]) - jnp.arctanh(jnp.asarray(self.control, float)),
        ])  # fmt: skip
        field = pull.spread + pull.ratio**2 * q_hat
        S_E = site["value"] + alpha * asked.value - 0.5 * field * site["wide"]
        S_E = S_E - pull.ratio * q_hat * site["rho"] - tilt * site["S"]
        order = dict(q0=q, q1=q, q0_hat=q_hat, q1_hat=q_hat, S=site["S"], S_hat=0.0 * q)
        order |= dict(q=1.0 - site["wide"], t=site["S"])
        return State(order, jnp.append(typical.residual, residual), typical.parts | dict(S_E=S_E))

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return Bipartite.inside(self, state, edge) & (1.0 - state.order["q"] > edge)


class DisplacedSolutionOnSphere(DisplacedSolution):
    """The same on the sphere, where the magnetisations are t = (1-q) h and W~ is Gaussian."""

    def _of_references(self, typical: State, pull: Pull, tilt: Array, n: int) -> dict[str, Array]:
        left, q_hat = typical.parts["site"].complement, typical.order["q_hat"]
        along = pull.ratio + tilt * left
        size = along**2 * q_hat + pull.spread
        multiplier = 0.5 + jnp.sqrt(0.25 + size)  # (size + multiplier)/multiplier^2 = <W~^2> = 1
        return dict(
            S=along * left * q_hat / multiplier,
            apart=pull.spread / multiplier**2,
            wide=1.0 / multiplier,
            rho=tilt * left / multiplier,
            value=0.5 * (size / multiplier - jnp.log(multiplier) + multiplier - 1.0),
        )
