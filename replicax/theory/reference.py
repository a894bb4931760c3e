r"""y solutions around a reference that is any configuration: the local entropy of Baldassi et al. (ensemble R, binary weights).

    Phi = -y S^ S - (y/2) q1^ (1-q1) - (y^2/2)(q1 q1^ - q0 q0^) + E_z log sum_{W~} E_v [2 cosh(sqrt(q0^) z + sqrt(q1^-q0^) v + S^ W~)]^y
          + alpha E_z log E_v exp(y psi(sqrt(q0) z + sqrt(q1-q0) v)),        S = W.W~/N = 1 - 2 d.

q1: overlap of two W around the same reference, q0: around different ones (replica symmetric in the reference).  The reference makes a
two-point level between the two Gaussian levels of the site.  phi = Phi/y, S_I = d(y phi)/dy, S_E = y (phi - S_I), d phi/dS = -S^.
y -> inf: q0 = q1 - dq/y, q0^ = q1^ - D/y and W~ is the sign of the field; y = 1: phi = phi_RS + h(d).
Baldassi et al., PRL 115 (2015) 128101, arXiv:1509.05753; J. Stat. Mech. (2016) P023301, arXiv:1511.05634.
"""

from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.quadrature import gaussian_rule
from replicax.numerics.special import log_2cosh
from replicax.theory.free_entropy import Followed, Problem, State
from replicax.theory.perceptron import TINY, Bipartite
from replicax.vocabulary.levels import Level, is_frozen, tower

_SEEDS = ((1.0, 1.0, 1.0), (0.3, 3.0, 0.7), (2.0, 0.3, 0.5), (0.1, 10.0, 0.3), (1.0, 30.0, 0.1))

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


class AnyReference(Followed):
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
    #: where the coordinates of what else pulls at the reference start
    more: ClassVar[tuple[float, ...]] = ()

    @property
    def frozen(self) -> bool:
        return is_frozen(self.y)

    @property
    def counts(self) -> bool:
        return False

    def starts(self) -> tuple[Array, ...]:
        """From the scores at q = 0 and the field that alone would give the control; then the map itself."""
        alpha = jnp.maximum(jnp.asarray(self.model.weight, float), TINY)
        _, (score,), _ = self.model.factor.terminal(jnp.ones(())).derivatives(jnp.zeros(()))
        field = jnp.arctanh(
            jnp.clip(self.control if self.by == "S" else jnp.sqrt(self.control), 0.0, 1.0 - 1e-12)
        )
        step = lambda _, x: x - 0.6 * self.state(x, self.nodes // 4).residual
        seeds = []
        for outer, inner, share in _SEEDS:
            first = jnp.log(score**2 + TINY)
            seeds.append(
                jnp.stack([first + np.log(outer), jnp.log(inner / (1.0 + 0.1 * alpha)), share * field, *self.more])
            )
        relaxed = jax.vmap(lambda x: lax.fori_loop(0, 10, step, x))(jnp.stack(seeds))
        fine = jnp.all(jnp.isfinite(relaxed), axis=1)
        return tuple(jnp.where(ok, x, y) for ok, x, y in zip(fine, relaxed, seeds))

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
        width = 1.0 / (steep if self.frozen else steep * (1.0 + y))
        rule = gaussian_rule(
            (jnp.zeros(()),), (width,), n, even=True, moving=self.frozen
        )  # y = inf: a kink at 0
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
        return columns

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
