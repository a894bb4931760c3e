r"""Where local entropies cease to be monotone.

alpha-le: the smallest alpha at which the curve has a stationary point inside its range: slope and curvature vanish together,

    F(x; c, alpha) = 0,   F_x u + F_c = 0,   slope(x; c) = 0,   slope_x u + slope_c = 0,      u = dx/dc along the curve,

a bordered system in (x, u, c, log alpha).  On the sphere the curve of y = inf first fails at its end q1 = q_RS, where the RS solution becomes
unstable (de Almeida-Thouless).  Baldassi et al., arXiv:1509.05753; arXiv:2107.01163 (around maximum-margin solutions).

alpha-u: where the curve S_E = 0 around any reference reconnects in the (d, q1) plane: the dense core separates from the large distances.
"""

from collections.abc import Callable
from typing import Any, ClassVar, cast

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import Array, lax

from replicax.answers.lines.perceptron import first_moment_capacity, instability
from replicax.answers.status import CODE
from replicax.answers.thresholds import Augmented, Definition, Options, System, define, definition_of
from replicax.numerics.roots import newton, solve_linear
from replicax.theory.ansatz import FranzParisi, LocalEntropy
from replicax.theory.franz_parisi import Around
from replicax.theory.free_entropy import FAR, Problem, Searched, State
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron
from replicax.theory.reference import AnyReference
from replicax.theory.zero_complexity import AtZeroComplexity
from replicax.vocabulary.limits import INFINITE

#: alpha (in units of that of alpha-le), distance (of the pair distance there, times 2) and y of the pinch
_PINCHES = ((1.015, 1.02, 15.0), (1.03, 0.8, 12.0), (1.0, 1.3, 20.0))


class Inflection(Searched):
    """Coordinates: those of the saddle, their derivatives along the curve, the control, log alpha.

    at(model, options, alpha, c): the problem; guesses(model, options) -> ((alpha, c), ..); report(problem, state, n): further results.
    """

    model: Any
    options: Options
    at: Callable[[Any, Options, Array, Array], Problem] = eqx.field(static=True)
    guesses: Callable[[Any, Options], tuple[tuple[Array, Array], ...]] = eqx.field(static=True)
    report: Callable[[Problem, State, int], dict[str, Array]] = eqx.field(static=True)

    nodes: ClassVar[int] = 64

    def value(self, x: Array) -> Array:
        return jnp.exp(x[-1])

    def _split(self, x: Array) -> tuple[Array, Array, Array, Array]:
        size = (x.shape[0] - 2) // 2
        return x[:size], x[size:-2], x[-2], jnp.exp(x[-1])

    def _curve(self, alpha: Array, n: int) -> Callable[[Array, Array], Array]:
        """(x, c) -> the residual of the saddle, then the slope."""

        def along(x: Array, c: Array) -> Array:
            problem = self.at(self.model, self.options, alpha, c)
            state = problem.state(x, n)
            return jnp.append(state.residual, problem.columns(state, jnp.zeros(()), n)["slope"])

        return along

    def starts(self) -> tuple[Array, ...]:
        """The saddle at each guess, and its derivative along the curve."""

        def at(alpha: Array, c: Array) -> Array:
            problem = self.at(self.model, self.options, alpha, c)
            n = problem.nodes // 4
            curve = lambda x, c: self._curve(alpha, n)(x, c)[:-1]
            x = newton(lambda y: curve(y, c), jnp.stack(problem.starts()), tol=1e-7, limit=FAR).x
            u = -solve_linear(
                jax.jacfwd(curve)(x, c), jax.jvp(lambda c: curve(x, c), (c,), (jnp.ones_like(c),))[1]
            )
            return lax.stop_gradient(jnp.concatenate([x, u, jnp.stack([c, jnp.log(alpha)])]))

        guesses = zip(*self.guesses(self.model, self.options))
        return tuple(jax.vmap(at)(*(jnp.stack([jnp.asarray(g, float) for g in both]) for both in guesses)))

    def state(self, x: Array, n: int) -> State:
        saddle, u, c, alpha = self._split(x)
        values, along = jax.jvp(self._curve(alpha, n), (saddle, c), (u, jnp.ones_like(c)))
        return State({}, jnp.concatenate([values, along]), {})

    def _problem(self, x: Array, n: int) -> tuple[Problem, State]:
        saddle, _, c, alpha = self._split(x)
        problem = self.at(self.model, self.options, alpha, c)
        return problem, problem.state(saddle, n)

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        problem, state = self._problem(x, n)
        return self.report(problem, state, n)

    def code(self, x: Array, n: int) -> Array:
        return jnp.asarray(CODE["ok"])

    def inside(self, x: Array, n: int) -> Array:
        problem, state = self._problem(x, n)
        return problem.inside(state) & ~problem.missing(state, n)


class Reconnection(Searched):
    """A stationary point of S_E at S_E = 0 on the surface of saddles over (d, q1); coordinates: those of `AnyReference` (whose equation of
    the control is left out), log y, the multipliers of its two equations, log alpha.
    """

    model: BinaryPerceptron

    def value(self, x: Array) -> Array:
        return jnp.exp(x[-1])

    def _surface(self, alpha: Array, S: Array | float = 0.0) -> AtZeroComplexity:
        return AtZeroComplexity(AnyReference(_with(self.model, alpha), jnp.ones(()), jnp.asarray(S), "S"))

    def _equations(self, alpha: Array, n: int) -> Callable[[Array], tuple[Array, Array]]:
        """z -> the two equations of the saddle, S_E/y."""

        def equations(z: Array) -> tuple[Array, Array]:
            first, second, _, left = self._surface(alpha).state(z, n).residual
            return jnp.stack([first, second]), left

        return equations

    def starts(self) -> tuple[Array, ...]:
        """Scaled from margin 0 by the overlap and load where local entropies cease to be monotone."""
        (alpha, c), *_ = _dense_guesses(self.model, {})
        found = []
        for share, wider, y in _PINCHES:
            load = jnp.log(share * alpha)
            surface = self._surface(jnp.exp(load), 1.0 - wider * jax.nn.sigmoid(-c))
            n = self.nodes // 4
            family = surface.family.at_y(jnp.asarray(y))
            x = newton(
                lambda x: family.state(x, n).residual, jnp.stack(family.starts()), tol=1e-7, limit=FAR
            ).x
            z = jnp.append(x, jnp.log(y))
            (along, slope) = jax.jacfwd(self._equations(jnp.exp(load), n))(z)
            multipliers = jnp.linalg.lstsq(along.T, slope)[0]
            found.append(lax.stop_gradient(jnp.concatenate([z, multipliers, load[None]])))
        return tuple(found)

    def state(self, x: Array, n: int) -> State:
        z, multipliers, alpha = x[:4], x[4:6], jnp.exp(x[6])
        equations = self._equations(alpha, n)

        def lagrangian(z: Array) -> tuple[Array, tuple[Array, Array]]:
            saddle, left = equations(z)
            return left - multipliers @ saddle, (saddle, left)

        slope, (saddle, left) = jax.grad(lagrangian, has_aux=True)(z)
        return State({}, jnp.concatenate([saddle, left[None], slope]), {})

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        surface = self._surface(self.value(x))
        state = surface.state(x[:4], n)
        site = state.parts["site"]
        return dict(d=0.5 * site["far"], q1=site["q1"], y=state.parts["y"], phi=surface.phi(state, n))

    def code(self, x: Array, n: int) -> Array:
        return jnp.asarray(CODE["ok"])

    def inside(self, x: Array, n: int) -> Array:
        return x[3] > 0.0


class MaximumMargin(Problem):
    """Solutions around one of the largest margin that exists; coordinates: that margin, then those of `Around`."""

    model: Any
    d: Array

    nodes: ClassVar[int] = Around.nodes

    def _around(self, margin: Array) -> Around:
        return FranzParisi(d=self.d, kappa_ref=margin).problems(self.model)[0]

    def starts(self) -> tuple[Array, ...]:
        bare = eqx.tree_at(lambda m: m.kappa, self.model, None)
        largest = Augmented(bare, {}, cast(Definition, definition_of(type(bare), "kappa-max")))
        residual = lambda y: largest.state(y, self.nodes).residual
        root = newton(residual, jnp.stack(largest.starts()), tol=1e-8, limit=FAR)
        margin = lax.stop_gradient(root.x[-1])
        return tuple(jnp.append(margin, x) for x in self._around(margin).starts())

    def state(self, x: Array, n: int) -> State:
        around = self._around(x[0])
        state = around.state(x[1:], n)
        entropy = around.typical.phi(state.parts["reference"], n)
        return state._replace(
            residual=jnp.append(entropy, state.residual), parts=state.parts | dict(margin=x[0])
        )

    def columns(self, state: State, phi: Array, n: int) -> dict[str, Array]:
        return self._around(state.parts["margin"]).columns(state, phi, n)

    def phi(self, state: State, n: int) -> Array:
        return self._around(state.parts["margin"]).phi(state, n)

    def inside(self, state: State, edge: float = 1e-8) -> Array:
        return self._around(state.parts["margin"]).inside(state, edge)


def _with(model: Any, alpha: Array) -> Any:
    return eqx.tree_at(lambda m: m.alpha, model, alpha, is_leaf=lambda x: x is None)


def dense(model: Any, options: Options, alpha: Array, c: Array) -> Problem:
    """c = logit q1."""
    return LocalEntropy(q1=jax.nn.sigmoid(c), y=INFINITE).problems(_with(model, alpha))[0]


def _around_tightest(model: Any, options: Options, alpha: Array, c: Array) -> Problem:
    """c = log d."""
    return MaximumMargin(_with(model, alpha), jnp.exp(c))


def _dense_guesses(model: BinaryPerceptron, options: Options) -> tuple[tuple[Array, Array], ...]:
    """Fractions of the first-moment bound and overlaps that fit |kappa| <= 0.5, and somewhat inside."""
    kappa = jnp.asarray(model.kappa, float)
    alpha, c = (0.755 - 0.072 * kappa) * first_moment_capacity(kappa), 2.44 + 0.67 * kappa
    return ((alpha, c), (0.97 * alpha, c + 0.3), (1.03 * alpha, c - 0.3))


def _tight_guesses(model: BinaryPerceptron, options: Options) -> tuple[tuple[Array, Array], ...]:
    (alpha, _), *_ = _dense_guesses(model, options)
    return ((0.965 * alpha, jnp.asarray(-5.3)),)


def overlap_and_entropy(problem: Problem, state: State, n: int) -> dict[str, Array]:
    return dict(q1=jnp.asarray(problem.q1), phi=problem.phi(state, n))  # type: ignore[attr-defined]


def _distance_and_entropy(problem: Problem, state: State, n: int) -> dict[str, Array]:
    return dict(q1=state.order["q1"], phi=problem.phi(state, n), d=jnp.asarray(problem.d))  # type: ignore[attr-defined]


def _loss(model: BinaryPerceptron, options: Options) -> Inflection:
    if model.labels != "random":
        raise ValueError(f"labels = {model.labels}: alpha-le is that of random labels")
    if options["reference"] == "kappa-max":
        return Inflection(model, options, _around_tightest, _tight_guesses, _distance_and_entropy)
    return Inflection(model, options, dense, _dense_guesses, overlap_and_entropy)


def _reconnection(model: BinaryPerceptron, options: Options) -> Reconnection:
    if model.labels != "random":
        raise ValueError(f"labels = {model.labels}: alpha-u is that of random labels")
    return Reconnection(model)


define("alpha-u", BinaryPerceptron, System("alpha", _reconnection))

_REFERENCE = dict(
    default="replicas",
    choices=("replicas", "kappa-max"),
    numeric=False,
    doc="curve: y = inf replicas, or around solutions of the largest margin",
)
define("alpha-le", BinaryPerceptron, System("alpha", _loss, options=dict(reference=_REFERENCE)))
define(
    "alpha-le",
    SphericalPerceptron,
    instability(lambda problem, state, n: dict(q1=state.order["q"], phi=problem.phi(state, n))),
)
