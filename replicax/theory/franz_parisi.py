r"""Franz-Parisi: the entropy of solutions at distance d of a typical reference.

    S(d) = lim (1/N) E log #{W : Delta(W) >= kappa, W.Wt = p N},   p = 1 - 2 d,   Wt typical at margin kappa_ref (RS, q_t, q^_t).

Order parameters: q1, overlap of two W around the same reference; t, overlap of W with an independent reference; conjugates q1^, t^, p^:

    S = -q1^(1-q1)/2 - p p^ + t t^ + E_{x, tau} E_z log 2cosh(lambda x + sqrt(v) z + s tau) + alpha E_{z0} E_{w | reference} log f(h),
    x = sqrt(q^_t) z1, tau = +-1 with weight e^{tau x}/2cosh x;   lambda = t^/q^_t,  v = q1^ - t^^2/q^_t,  s = p^ - t^,
    h = (t/sqrt(q_t)) z0 + sigma w,   sigma^2 = q1 - t^2/q_t,   corr(w, field of the reference at fixed z0) = c = (p - t)/(sigma sqrt(1-q_t)).

The reference tilts the measure of w by its own factor (a `Tilt`); the W live in the tower below.  The map, with g = d_h log f and g_t that of the
reference:  v = alpha E[(g - lambda g_t)^2],  lambda q^_t = alpha E[g_t g],  and p of the site at its control: all feasible by construction.
Where weights and constraint are even, q_t = t = 0.  Where cold starts fail the W see few of the patterns of the reference first, then more.
Huang & Kabashima, arXiv:1408.1784; Baldassi et al., arXiv:2107.01163; Barbier et al., arXiv:2310.02850.
"""

from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.numerics.quadrature import Rule, gaussian_rule
from replicax.theory.ansatz import FranzParisi, poses, require
from replicax.theory.free_entropy import Followed, Problem, State, settled
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron, SymmetricPerceptron
from replicax.theory.perceptron import TINY, Bipartite
from replicax.vocabulary.factors import SquaredHinge, WeightTerminal
from replicax.vocabulary.levels import Level, Moments, Terminal, Tilt, least_variance, tower
from replicax.vocabulary.limits import INFINITE

#: v/alpha and lambda are e^x - _NOTHING of their coordinates x: both may vanish (v where W is like any other typical configuration, both
#: where no constraint is felt), and there their logarithms would never arrive
_NOTHING = 1e-4
#: v/alpha where starts are looked for, how many of them are tried, and the nodes for that
_SPREADS, _TRIED, _FEW = (0.0, 0.05, 0.4, 3.0, 25.0), 2, 32
#: where w and the field of the reference are the same, what they share decides: over this width (squared) of the field
_DECIDED = 1e-14
#: points at which the largest crowding is looked for, again around the last one; as far as this part of its range
_ZOOM, _NEARLY = (9, 5, 5), 0.999
#: a crowding below this needs no finer rule to be negative
_ROOMY = -0.1
#: the entropy of a reference that is still taken to exist
_EMPTY = -1e-9


class Around(Followed):
    """Solutions around a reference.  Coordinates: that of the reference, x_v, x_lambda, s (even constraints: x_v, s), where
    v/alpha = e^(x_v) - c, lambda = e^(x_lambda) - c, cut at 0, c = `_NOTHING`.

    model: the W; reference: the same with the margin of the reference; d: the distance.
    """

    model: Any
    reference: Any
    d: Array
    even: bool = eqx.field(static=True)

    nodes: ClassVar[int] = 64
    coarser: ClassVar[int] = 2
    largest_block: ClassVar[int] = 64
    failure: ClassVar[str] = "inner saddle lost"
    accuracy: ClassVar[float] = 1e-9

    @property
    def size(self) -> int:
        return 2 if self.even else 4

    @property
    def overlap(self) -> Array:
        return 1.0 - 2.0 * jnp.asarray(self.d, float)

    @property
    def typical(self) -> Bipartite:
        return Bipartite(self.reference, () if self.even else (0.0,))

    @property
    def _share(self) -> Array:
        """The part of the patterns of the reference that the W see."""
        every = jnp.asarray(self.reference.weight, float)
        return jnp.where(every > 0, self.model.weight / jnp.where(every > 0, every, 1.0), 1.0)

    def _reference(self, n: int) -> Array:
        """Coordinates of the reference (coarse)."""
        return jnp.zeros(0) if self.even else lax.stop_gradient(settled(self.typical, n, tol=1e-8).x)

    def starts(self) -> tuple[Array, ...]:
        """v on a grid, s from the distance, lambda from one step of the map; those first that the map moves least."""
        reference = self._reference(_FEW)
        typical = self.typical.state(reference, _FEW)
        q_t, q_hat_t = typical.order["q"], typical.order["q_hat"]
        alpha = jnp.asarray(self.model.weight, float)
        ratio = jnp.asarray(0.0 if self.even else 0.5)

        def start(v: Array) -> tuple[Array, Array]:
            s = self._distant(q_hat_t, q_t, alpha * v, ratio)
            own = () if self.even else (jnp.log(ratio + _NOTHING),)
            x = jnp.concatenate([reference, jnp.stack([jnp.log(v + _NOTHING), *own, s])])
            if not self.even:
                x = x.at[-2].add(-self.state(x, _FEW).residual[-2])
            worst = jnp.max(jnp.abs(self.state(x, _FEW).residual))
            return x, jnp.where(jnp.isfinite(worst), worst, jnp.inf)

        x, size = jax.vmap(start)(jnp.asarray(_SPREADS))
        x = jnp.where(jnp.isfinite(x), x, 0.0)[jnp.argsort(size)]
        return tuple(x[:_TRIED])

    def _distant(self, q_hat_t, q_t, v, ratio) -> Array:
        """The coordinate of s at which the site has its overlap with the reference (coarse)."""
        ball = jnp.arctanh(jnp.clip(self.overlap, -1.0 + 1e-12, 1.0 - 1e-12))
        wide = jnp.sqrt(1.0 + 0.5 * jnp.pi * v)
        s = jnp.minimum(ball * wide, ball + v)
        for _ in range(3):
            site = self._site(q_hat_t, q_t, v, ratio, s, _FEW)
            s = s + wide * (ball - 0.5 * (jnp.log1p(site["p"]) - jnp.log(site["far"])))
        return s

    def state(self, x: Array, n: int) -> State:
        alpha, p = jnp.asarray(self.model.weight, float), self.overlap
        typical = self.typical
        reference = typical.state(x[: typical.size], n)
        site_t = reference.parts["site"]
        q_t, q_hat_t = reference.order["q"], reference.order["q_hat"]
        above = lambda y: jnp.maximum(jnp.exp(y) - _NOTHING, 0.0)
        inner = x[typical.size :]
        v = alpha * above(inner[0])
        ratio, s = (jnp.zeros(()), inner[1]) if self.even else (above(inner[1]), inner[2])
        site = self._site(q_hat_t, q_t, v, ratio, s, n)
        parts = dict(
            site=site,
            v=v,
            ratio=ratio,
            s=s,
            q_t=q_t,
            q_hat_t=q_hat_t,
            rest_t=site_t.complement,
            reference=reference,
        )
        rule, score_t, out = self._factor(parts, n)
        mean = lambda values: jnp.sum(rule.weights * values)
        v, ratio, scale = site["v"], site["ratio"], site["scale"]
        asked = mean(out.gap[0][0] + (out.score[0] - ratio * score_t) ** 2)
        control = 0.5 * (jnp.log1p(site["p"]) - jnp.log(site["far"])) - 0.5 * (jnp.log1p(p) - jnp.log1p(-p))
        residual = [inner[0] - jnp.log(asked / scale + _NOTHING)]
        if not self.even:
            cross = self._share * mean(score_t * out.score[0]) / (mean(score_t**2) + TINY)
            residual.append(inner[1] - jnp.log(jnp.maximum(cross, 0.0) / jnp.sqrt(scale) + _NOTHING))
        residual = jnp.concatenate([reference.residual, jnp.stack([*residual, control])])
        t_hat = ratio * q_hat_t
        order = dict(q1=site["q1"], q1_hat=v + ratio * t_hat)
        if not self.even:
            order |= dict(t=site["t"], t_hat=t_hat)
        order["p_hat"] = site["s"] + t_hat
        return State(order, residual, parts)

    def _site(self, q_hat_t, q_t, v, ratio, s, n: int) -> dict[str, Array]:
        """Moments of tanh(lambda x + sqrt(v) z + s tau), tau = +1 by symmetry, z averaged in a level of its own."""
        root = jnp.sqrt(q_hat_t)
        if self.even:
            rule = Rule(jnp.zeros(1), jnp.full(1, jnp.sqrt(2 * jnp.pi)))
        else:
            steep, slant = jnp.maximum(root, 1e-10), jnp.maximum(ratio * root, 1e-10)
            rule = gaussian_rule((jnp.zeros(()), -s / slant), (1.0 / steep, 1.0 / slant), n)
        x = root * rule.nodes
        weights = rule.weights * (1.0 + jnp.tanh(x))
        terminal = self.model.prior.terminal(jnp.zeros(()))
        out = tower(terminal, (Level((v * jnp.ones_like(x),), 0.0),), n, (ratio * x + s,))
        mean = lambda values: jnp.sum(weights * values)
        m, complement = out.score[0], mean(out.curvature[0])
        q1, p, t = mean(out.overlap[0][0]), mean(m), mean(jnp.tanh(x) * m)
        # what is left of the overlap beyond the projections on the reference: a sum of squares
        beyond_t = jnp.zeros(()) if self.even else t / q_t
        beyond_p = (p - t) / (1.0 - q_t)
        rest = mean(out.gap[0][0] + (m - beyond_t * jnp.tanh(x) - beyond_p * (1.0 - jnp.tanh(x))) ** 2)
        # tau = -1 is the mirror image: (tau - tanh x) there has weight 1 - tanh x at -x
        moments = dict(q1=q1, p=p, far=1.0 - p, t=t, complement=complement, rest=rest, value=mean(out.value))
        return moments | dict(v=v, ratio=ratio, s=s, scale=jnp.ones(()))

    def _factor(
        self, parts: dict[str, Any], n: int, terminal: Terminal | None = None
    ) -> tuple[Rule, Array, Moments]:
        """The rule in z0, the reference's score there, and the tower of the W at every z0 (terminal: what a pattern asks of W)."""
        site, q_t, rest_t = parts["site"], parts["q_t"], parts["rest_t"]
        factor, planted = self.model.factor, self.reference.factor
        along = (site["p"] - site["t"]) / jnp.sqrt(rest_t)  # sigma c
        terminal = factor.terminal(site["complement"]) if terminal is None else terminal
        # sigma^2; where it is too small for nodes an independent part is added, and taken away again to first order (heat equation)
        spread = along**2 + site["rest"]
        added = jnp.maximum(least_variance(terminal, 0.0) - spread, 0.0)
        spread, rest = spread + added, site["rest"] + added
        c, narrow = along / jnp.sqrt(spread), jnp.maximum(rest / spread, _DECIDED)  # narrow = 1 - c^2
        bends_t = planted.bends(rest_t, 0.0)
        if self.even:
            rule, h_t, h = Rule(jnp.zeros(1), jnp.full(1, jnp.sqrt(2 * jnp.pi))), jnp.zeros(1), jnp.zeros(1)
        else:
            root = jnp.sqrt(q_t)
            slope = site["t"] / root
            bends = factor.bends(site["complement"] + spread, 0.0)
            positions = (*(b / root for b in bends_t.positions), *(b / slope for b in bends.positions))
            widths = (*(w / root for w in bends_t.widths), *(w / slope for w in bends.widths))
            rule = gaussian_rule(positions, widths, n)
            h_t, h = root * rule.nodes, slope * rule.nodes
        value_t, push = jax.jvp(lambda y: planted.log_partition(y, rest_t), (h_t,), (jnp.ones_like(h_t),))
        scale = jnp.sqrt(rest_t) * jnp.where(jnp.abs(c) < 1e-12, 1e-12, c)

        def density(w: Array) -> tuple[Array, Array]:
            field = h_t[:, None] + scale * w
            inner = lambda y: planted.log_partition(y, rest_t * narrow)
            value, score = jax.jvp(inner, (field,), (jnp.ones_like(field),))
            return value - value_t[:, None], score

        at = planted.bends(rest_t * narrow, 0.0)
        tilt = Tilt(
            density,
            tuple((b - h_t) / scale for b in at.positions),
            tuple(w / jnp.abs(scale) for w in at.widths),
            c * jnp.sqrt(rest_t) * push,
        )
        levels = (Level((spread * jnp.ones_like(h),), 0.0),)
        out = tower(terminal, levels, n, (h,), tilt)
        return rule, push, out._replace(value=out.value - 0.5 * added * out.hessian[0][0])

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        parts, order = state.parts, state.order
        site = self._site(parts["q_hat_t"], parts["q_t"], parts["v"], parts["ratio"], parts["s"], n)
        rule, _, out = self._factor(parts, n)
        crossed = 0.0 if self.even else order["t"] * order["t_hat"]
        interaction = (
            -0.5 * order["q1_hat"] * parts["site"]["complement"]
            - parts["site"]["p"] * order["p_hat"]
            + crossed
        )
        return (interaction, site["value"], self.model.weight * jnp.sum(rule.weights * out.value))

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        """slope = dS/dd = -2 dS/dp,  dS/dp = -p^ + alpha E[score of the reference along w times g]; replicon: of the reference."""
        alpha = jnp.asarray(self.model.weight, float)
        # the score of the reference is a narrow peak at small d: the nodes of the finer functional, which share its evaluation
        rule, _, out = self._factor(state.parts, 2 * n)
        slope = -2.0 * (alpha * jnp.sum(rule.weights * out.cross) - state.order["p_hat"])
        energy, entropy = (
            self.thermal(state, phi, n) if hasattr(self.model, "beta") else (jnp.zeros_like(phi), phi)
        )
        return dict(
            entropy=entropy, energy=energy, slope=slope, replicon=state.parts["reference"].parts["replicon"]
        )

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        site = state.parts["site"]
        return (site["complement"] > edge * jnp.minimum(1.0, self.d)) & self.typical.inside(
            state.parts["reference"]
        )

    def missing(self, state: State, n: int) -> Array:
        """There is no typical reference where there is no saddle for it, or where it is counted and its entropy is negative."""
        typical, reference = self.typical, state.parts["reference"]
        phi = typical.phi(reference, n)
        entropy = typical.thermal(reference, phi, n)[1] if hasattr(self.reference, "beta") else phi
        return typical.absent(n) | (~(entropy >= _EMPTY) & typical.counts)


class AroundOnSphere(Around):
    """Weights on the sphere of the reference; the site is Gaussian, in closed form.

    With the multiplier L of |W|^2 = N the mean of w is (lambda x + sqrt(v) z + s tau)/L.  Coordinates: v/L, lambda/sqrt(L) and s/sqrt(L) = sinh of
    the last one in place of v, lambda and s, so that L is explicit.
    """

    @property
    def counts(self) -> bool:
        return False

    def absent(self, n: int) -> Array:
        if self.model.beta is not INFINITE:
            return jnp.zeros((), bool)
        roomy = self.crowding(n // self.coarser) < _ROOMY
        return lax.cond(roomy, lambda: jnp.zeros((), bool), lambda: self.crowding(n) >= 0)

    def crowding(self, n: int) -> Array:
        r"""Negative where there are solutions at this distance: alpha E(kappa - h)_+^2/(1 - p^2) - 1 - y^2, the largest over y.

        As q1 -> 1 the entropy diverges like -(1 - p^2) crowding/(2 (1 - q1)), with t = p - b (1 - q_t), b = p + y sqrt(1 - p^2) and
        q1 - t^2/q_t - (p - t)^2/(1 - q_t) = 1 - p^2 - y^2 (1 - p^2)(1 - q_t)/q_t: all constraints at once leave no space.
        """
        p, apart = self.overlap, 2.0 * jnp.asarray(self.d, float)  # 1 - p
        reference = self.typical.state(self._reference(n), n)
        q_t, rest_t = reference.order["q"], reference.parts["site"].complement
        edge = jnp.arcsinh(jnp.sqrt(q_t / rest_t))
        across = apart * (1.0 + p)
        terminal = WeightTerminal(SquaredHinge(self.model.kappa, 1.0))

        def excess(x: Array) -> Array:
            y = jnp.sinh(x * edge)
            rest = across * (1.0 - y**2 * rest_t / q_t)
            t = p - (p + y * jnp.sqrt(across)) * rest_t
            site = dict(p=p, t=t, rest=rest, complement=jnp.zeros(()))
            rule, _, out = self._factor(dict(site=site, q_t=q_t, rest_t=rest_t), n, terminal)
            short = -2.0 * jnp.sum(rule.weights * out.value)
            return jnp.asarray(self.model.alpha, float) * short / across - 1.0 - y**2

        x, width = jnp.zeros(()), 1.0
        largest = jnp.asarray(-jnp.inf)
        for points in _ZOOM:
            grid = jnp.clip(x + width * jnp.linspace(-1.0, 1.0, points + 2)[1:-1], -_NEARLY, _NEARLY)
            values = lax.map(excess, grid)
            best = jnp.nanargmax(values)
            x, width, largest = grid[best], 2.0 * width / (points + 1), jnp.maximum(largest, values[best])
        return largest

    def _distant(self, q_hat_t, q_t, v, ratio) -> Array:
        p = self.overlap
        return jnp.arcsinh(p * jnp.sqrt((1.0 + v) / (1.0 - p**2)))

    def _site(self, q_hat_t, q_t, v, ratio, s, n: int) -> dict[str, Array]:
        s = jnp.sinh(s)
        both = jnp.sqrt(q_t * q_hat_t)  # <x tau>
        along = ratio**2 * q_hat_t + s**2 + 2.0 * ratio * s * both
        multiplier = 1.0 + along + v
        root, complement = jnp.sqrt(multiplier), 1.0 / multiplier
        p, t = (ratio * both + s) / root, (ratio * both + s * q_t) / root
        q1 = (along + v) / multiplier
        # 1 - p = <(tau - w)^2>/2
        short = 1.0 - s / root
        off = short * jnp.sqrt(q_t) - ratio * jnp.sqrt(q_hat_t) / root
        far = 0.5 * (short**2 * (1.0 - q_t) + off**2 + (1.0 + v) * complement)
        value = 0.5 * multiplier * q1 - 0.5 * jnp.log(multiplier) + 0.5 * (along + v)
        moments = dict(q1=q1, p=p, far=far, t=t, complement=complement, rest=v * complement, value=value)
        return moments | dict(v=v * multiplier, ratio=ratio * root, s=s * root, scale=multiplier)


def _around(model: Any, ansatz: FranzParisi) -> tuple[Problem, ...]:
    require(model, "alpha", "kappa")
    if getattr(model, "labels", "random") != "random":
        raise ValueError(f"labels = {model.labels}: the Franz-Parisi entropy is that of random labels")
    kappa = model.kappa if ansatz.kappa_ref is None else ansatz.kappa_ref
    reference = eqx.tree_at(lambda m: m.kappa, model, jnp.asarray(kappa, float))
    even = model.prior.even and model.factor.even
    kind = AroundOnSphere if model.prior.norm == "spherical" else Around
    return (kind(model, reference, jnp.asarray(ansatz.d, float), even),)


poses(FranzParisi, BinaryPerceptron)(_around)
poses(FranzParisi, SymmetricPerceptron)(_around)
poses(FranzParisi, SphericalPerceptron)(_around)
