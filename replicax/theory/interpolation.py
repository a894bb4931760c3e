r"""Between solutions of the sphere: train error of normalised weighted means of typical solutions.

    W = sqrt(N) sum_a gamma_a W_a/|sum_a gamma_a W_a|,   n^2 = sum_a gamma_a^2 + 2 sum_{a<b} gamma_a gamma_b p_ab,   sum_a gamma_a = 1,

violates margin kappa with probability P(sum_a gamma_a Delta_a < kappa n).  Given the cavity fields h_a (Gaussian, variances q_a, covariances
p_ab) the Delta_a are independent, N(h_a, 1 - q_a) restricted to Delta_a >= kappa_a.  Two solutions of margins kappa_1, kappa_2 on the
same patterns have the overlap

    p = (1 - q_1) (1 - q_2) alpha E[g_1(h_1) g_2(h_2)],   cov(h_1, h_2) = p,   g = d/dh log f,

which is q where the margins are equal.  Annesi, Lauditi, Lucibello, Malatesta, Perugini, Pittorino & Saglietti, PRL 131 (2023) 227301,
arXiv:2305.10623 (the idea; the formulas are derived here within replica symmetry).
"""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.numerics.brackets import bracketed_root
from replicax.numerics.faddeeva import log_scaled_tail
from replicax.numerics.quadrature import RANGE, gaussian_rule, unit_panels
from replicax.numerics.special import H, log_H, log_hinge, mills, mills_1
from replicax.theory.ansatz import Interpolation, poses, require
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import Number, SphericalPerceptron
from replicax.theory.perceptron import TINY, Bipartite
from replicax.vocabulary.levels import Bends, Level, tower
from replicax.vocabulary.limits import INFINITE

#: end and step of the trapezoid rule along the contour of `mean_below`
_CONTOUR = np.arange(0.0, 4.4, 0.07)
#: variance between the fields of two solutions that is no longer told from none
_NOTHING = 1e-14
#: weights of a mean below this are none
_LEAST = 1e-12


def cross_score(
    typical: Bipartite, state: State, along: Array, other: Bends, inner: Callable, n: int
) -> Array:
    """E[g_1(h_1) g_2(h_2)]: h_1 = sqrt(q) z of a typical solution, inner(along z) = E[g_2 | z], which bends at `other`."""
    terminal = typical.model.factor.terminal(state.parts["site"].complement)
    root, own = jnp.sqrt(state.order["q"] + TINY), terminal.bends(0, 0.0)
    positions = (*(b / root for b in own.positions), *(b / along for b in other.positions))
    widths = (*(w / root for w in own.widths), *(w / along for w in other.widths))
    rule = gaussian_rule(positions, widths, n)
    _, (score,), _ = terminal.derivatives(root * rule.nodes)
    return jnp.sum(rule.weights * score * inner(along * rule.nodes))


class Couple(Problem):
    """Two typical solutions on the same patterns, margins kappa (model) and kappa_ref (reference).

    Coordinates: those of the two saddles, then log(q^_12/(alpha sqrt(L_1 L_2))), L = 1/(1-q): with s = q L, s_12 = p sqrt(L_1 L_2), equal
    margins have the same three.
    """

    model: Any
    reference: Any
    gamma: Array

    largest_block: ClassVar[int] = 64
    size: ClassVar[int] = 3

    @property
    def counts(self) -> bool:
        return False

    @property
    def pair(self) -> tuple[Bipartite, Bipartite]:
        return Bipartite(self.model, (0.0,)), Bipartite(self.reference, (0.0,))

    def starts(self) -> tuple[Array, ...]:
        first, second = (problem.starts() for problem in self.pair)
        return tuple(jnp.concatenate([x, y, 0.5 * (x + y)]) for x, y in zip(first, second))

    def state(self, x: Array, n: int) -> State:
        first, second = self.pair
        one, two = first.state(x[:1], n), second.state(x[1:2], n)
        free_1, free_2 = one.parts["site"].complement, two.parts["site"].complement
        alpha = jnp.asarray(self.model.weight, float)
        norm = jnp.sqrt(free_1 * free_2)
        p = alpha * jnp.exp(x[2]) * norm
        along = jnp.sqrt(alpha * free_2 + TINY) * jnp.exp(x[2] - 0.5 * x[0])
        rest = -two.order["q"] * jnp.expm1(2.0 * x[2] - x[0] - x[1])
        other = second.model.factor.terminal(free_2)
        bends = other.bends(0, 0.0)
        wide = tuple(jnp.sqrt(w**2 + jnp.maximum(rest, 0.0)) for w in bends.widths)

        def inner(h: Array) -> Array:
            return tower(other, (Level((rest * jnp.ones_like(h),), 0.0),), n, (h,)).score[0]

        asked = cross_score(first, one, along, Bends(bends.positions, wide), inner, n)
        residual = x[2] - 0.5 * jnp.log(free_1 * free_2) - jnp.log(asked)
        parts = dict(one=one, two=two, along=along, rest=rest)
        order = dict(q=one.order["q"], p=p)
        return State(order, jnp.concatenate([one.residual, two.residual, residual[None]]), parts)

    def absent(self, n: int) -> Array:
        first, second = self.pair
        return first.absent(n) | second.absent(n)

    def missing(self, state: State, n: int) -> Array:
        """Of the second solution, where there is the first."""
        first, second = self.pair
        return second.absent(n) & ~first.absent(n)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        first, second = self.pair
        return first.inside(state.parts["one"], edge) & second.inside(state.parts["two"], edge)

    def terms(self, state: State, n: int) -> tuple[Array, ...]:
        """phi of the solutions of margin kappa."""
        return self.pair[0].terms(state.parts["one"], n)

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        replicon = jnp.minimum(state.parts["one"].parts["replicon"], state.parts["two"].parts["replicon"])
        return dict(replicon=replicon, train_error=self._error(state, n))

    def _error(self, state: State, n: int) -> Array:
        r"""E_{h_1, h_2} \int_{kappa_1} dD rho_1(D) C_2((kappa n - gamma D)/(1 - gamma)), rho and C density and distribution of Delta_a."""
        gamma, other = self.gamma, 1.0 - self.gamma
        kappa, kappa_2 = (jnp.asarray(m.kappa, float) for m in (self.model, self.reference))
        free_1, free_2 = (state.parts[k].parts["site"].complement for k in ("one", "two"))
        lost = 2.0 * gamma * other * (1.0 - state.order["p"])
        room = -kappa * lost / (1.0 + jnp.sqrt(1.0 - lost)) + other * (kappa - kappa_2)
        open_ = room > 0
        room = jnp.where(open_, room, 1.0)
        root, along = jnp.sqrt(state.order["q"] + TINY), state.parts["along"]
        rest = jnp.sqrt(jnp.maximum(state.parts["rest"], 0.0) + _NOTHING)
        spread_1, spread_2 = jnp.sqrt(free_1), jnp.sqrt(free_2)
        widths = (spread_1 / root, jnp.sqrt(free_2 + rest**2) / along)
        outer = gaussian_rule((kappa / root, kappa_2 / along), widths, n // 2)
        share, dshare = (jnp.asarray(x) for x in unit_panels(max(1, n // 32)))

        def given(z: Array) -> Array:
            """The error at one value of the common field."""
            at = along * z
            inner = gaussian_rule(((kappa_2 - at) / rest,), (spread_2 / rest,), n // 2)
            u_1, u_2 = (kappa - root * z) / spread_1, (kappa_2 - at - rest * inner.nodes) / spread_2
            # where gamma is small nothing is left of rho_1 before the end of its range
            reach = jnp.minimum(
                room / jnp.maximum(gamma, _LEAST), spread_1 * (RANGE + jnp.maximum(0.0, -u_1))
            )
            above = reach * share
            left = jnp.maximum(room - gamma * above, 0.0) / jnp.maximum(other, _LEAST) / spread_2
            log_rho = -0.5 * (u_1 + above / spread_1) ** 2 - log_H(u_1)
            weight = jnp.exp(log_rho) * (reach / (spread_1 * np.sqrt(2 * np.pi))) * dshare
            below = -jnp.expm1(log_H(u_2[:, None] + left[None]) - log_H(u_2)[:, None])
            return inner.weights @ below @ weight

        mean = jnp.sum(outer.weights * lax.map(given, outer.nodes))
        return jnp.where(open_, mean, 0.0)


class WithMaximumMargin(Problem):
    """A typical solution of margin kappa and the one of maximum margin, where (1 - q_2) g_2 becomes (kappa_max - h_2)_+.

    Coordinates: that of the saddle, log(p/(alpha sqrt(1 - q))), kappa_max.
    """

    model: Any

    size: ClassVar[int] = 3

    @property
    def typical(self) -> Bipartite:
        return Bipartite(self.model, (0.0,))

    def starts(self) -> tuple[Array, ...]:
        top = bracketed_root(self._end, -30.0, 200.0, tol=1e-6)
        margin = jnp.where(top.converged, top.value, 0.0)
        # p^2 = q/2
        scale = 0.5 * jnp.log(2.0 * jnp.maximum(jnp.asarray(self.model.weight, float), TINY))
        return tuple(jnp.concatenate([x, 0.5 * x - scale, margin[None]]) for x in self.typical.starts())

    def _end(self, kappa_max: Array) -> Array:
        """log of alpha <(kappa_max - h)_+^2> = 1."""
        return jnp.log(jnp.asarray(self.model.weight, float)) + log_hinge(kappa_max)

    def state(self, x: Array, n: int) -> State:
        one = self.typical.state(x[:1], n)
        free, alpha = one.parts["site"].complement, jnp.asarray(self.model.weight, float)
        along = jnp.sqrt(alpha) * jnp.exp(x[1] - 0.5 * x[0])
        spread = jnp.sqrt(1.0 - along**2)

        def inner(h: Array) -> Array:
            """E(kappa_max - h - spread z)_+."""
            u = (h - x[2]) / spread
            return spread * (jnp.exp(-0.5 * u**2) / np.sqrt(2 * np.pi) - u * H(u))

        asked = cross_score(self.typical, one, along, Bends((x[2],), (spread,)), inner, n)
        residual = [x[1] - 0.5 * jnp.log(free) - jnp.log(asked), self._end(x[2])]
        order = dict(q=one.order["q"], p=alpha * jnp.exp(x[1]) * jnp.sqrt(free))
        return State(order, jnp.append(one.residual, jnp.stack(residual)), dict(one=one, kappa_max=x[2]))

    def inside(self, state: State, edge: float = 1e-14) -> Array:
        return self.typical.inside(state.parts["one"], edge)


class Uniform(Bipartite):
    """y typical solutions with equal weights; y = inf: their barycentre."""

    y: Number = 2.0

    largest_block: ClassVar[int] = 64

    @property
    def counts(self) -> bool:
        return False

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return dict(replicon=state.parts["replicon"], train_error=self._error(state, n))

    def _error(self, state: State, n: int) -> Array:
        q, V = state.order["q"], state.parts["site"].complement
        kappa, root = jnp.asarray(self.model.kappa, float), jnp.sqrt(q + TINY)
        typical = kappa < 0  # else the mean of solutions is one
        kappa = jnp.where(typical, kappa, -1.0)
        y = self.y if self.y is INFINITE else jnp.asarray(self.y, float)
        share = V if self.y is INFINITE else V * (1.0 - 1.0 / y)  # 1 - n^2
        room = -kappa * share / (1.0 + jnp.sqrt(1.0 - share))  # of the mean of Delta above kappa
        edge = _mean_reaches(kappa, room, V)
        if self.y is INFINITE:
            return jnp.where(typical, jnp.exp(log_H(-edge / root)), 0.0)
        wide = jnp.sqrt(V) / root
        rule = gaussian_rule((kappa / root, edge / root), (wide, wide / jnp.sqrt(y)), n)
        below = mean_below((kappa - root * rule.nodes) / jnp.sqrt(V), y, room / jnp.sqrt(V))
        return jnp.where(typical, jnp.sum(rule.weights * below), 0.0)


def _mean_reaches(kappa: Array, room: Array, V: Array) -> Array:
    """The field h at which <Delta> = kappa + room: u + room/sqrt(V) = mills(u), u = (kappa - h)/sqrt(V)."""
    target = room / jnp.sqrt(V)
    # in v = mills(u) - u, the mean of (Delta - kappa)/sqrt(V), which falls with u
    step = lambda _, u: u - (mills(u) - u - target) / (mills_1(u) - 1.0)
    u = lax.fori_loop(0, 60, step, -target)
    return kappa - jnp.sqrt(V) * u


def mean_below(u: Array, y: Number, room: Number) -> Array:
    r"""P(mean of y independent E_a < room), E_a = x_a - u of standard normal x_a restricted to x_a >= u; elementwise in u.

    E exp(-t E_a) = R(u + t)/R(u) with the scaled tail R, and

        P = (1/2 pi i) \int dt/t [R(u + t)/R(u)]^y e^{y room t}

    along a hyperbola through the saddle point c > 0 of the integrand.  c solves a concave rising equation: Newton climbs to it.
    """
    u, y, room = (jnp.asarray(x, float) for x in (u, y, room))
    slope = lambda t: y * (u + t - mills(u + t) + room) - 1.0 / t
    curve = lambda t: y * (1.0 - mills_1(u + t)) + 1.0 / t**2
    c = lax.fori_loop(0, 60, lambda _, t: t - slope(t) / curve(t), jnp.full_like(u, 1.0 / (y * room)))
    c, w = (lax.stop_gradient(x)[..., None] for x in (c, 1.0 / jnp.sqrt(curve(c))))
    v = jnp.asarray(_CONTOUR).reshape((1,) * u.ndim + (-1,))
    t = c + w * (1j * jnp.sinh(v) - 0.5 * (jnp.cosh(v) - 1.0))
    dt = w * (1j * jnp.cosh(v) - 0.5 * jnp.sinh(v))
    scale = (-0.5 * u**2 - 0.5 * np.log(2 * np.pi) - log_H(u))[..., None]
    exponent = y * (log_scaled_tail(u[..., None] + t) + scale + room * t) - jnp.log(t)
    values = jnp.imag(jnp.exp(exponent) * dt) / np.pi
    step = _CONTOUR[1] - _CONTOUR[0]
    return step * (jnp.sum(values, -1) - 0.5 * values[..., 0])


@poses(Interpolation, SphericalPerceptron)
def interpolate(model: SphericalPerceptron, ansatz: Interpolation) -> tuple[Problem, ...]:
    check_solutions(model)
    gamma, reference = ansatz.gamma, ansatz.kappa_ref
    if gamma is not None or reference is not None:
        gamma = jnp.asarray(0.5 if gamma is None else gamma, float)
        kappa = model.kappa if reference is None else reference
        other = eqx.tree_at(lambda m: m.kappa, model, jnp.asarray(kappa, float))
        return (Couple(model, other, gamma),)
    return (Uniform(model, (0.0,), ansatz.y),)


def check_solutions(model: SphericalPerceptron) -> None:
    require(model, "alpha")
    for name, value, wanted in (("beta", model.beta, INFINITE), ("labels", model.labels, "random")):
        if value is not wanted and value != wanted:
            raise ValueError(f"{name} = {value}: the means are those of solutions, {name} = {wanted}")
