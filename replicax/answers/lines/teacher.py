r"""Learning from a teacher with binary weights: first-order transition to large R, spinodal, critical end point.

The branches are solutions x(alpha) of one map.  At the transition two of them have equal phi, at a spinodal the Jacobian J of the map is
singular, at the critical end point the fold itself degenerates: with J v = 0, det J has zero derivative along v (a cusp in alpha, kappa).
Gyorgyi, Phys. Rev. A 41 (1990) 7097; Baldassi, Malatesta, Perugini & Zecchina, arXiv:2304.13871.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from replicax.answers.status import CODE
from replicax.answers.thresholds import System, define
from replicax.numerics.roots import newton
from replicax.theory.free_entropy import Searched, State
from replicax.theory.models import BinaryPerceptron
from replicax.theory.perceptron import Bipartite, Informed

#: fields along the teacher R^ at which the curve alpha(R^) is traced
_GRID = np.geomspace(0.1, 11.0, 400)
_COARSE = 32
#: a margin at which there still are two branches, and not much room between them (beta = inf)
_NEAR_THE_END = -0.16


class Curve(NamedTuple):
    """All branches at once: alpha, the coordinates of the saddle, R and phi as functions of R^ (`_GRID`)."""

    alpha: Array
    x: Array
    R: Array
    phi: Array

    @property
    def folds(self) -> tuple[Array, Array, Array]:
        """(whether alpha turns, index of its first maximum, index of the minimum behind it)."""
        falls = (self.alpha[1:] < self.alpha[:-1]) & (self.R[1:] < 1.0 - 1e-9)
        top = jnp.argmax(falls)
        behind = jnp.arange(falls.shape[0]) > top
        return jnp.any(falls), top, jnp.argmin(jnp.where(behind, self.alpha[:-1], jnp.inf))


class _Line(Searched):
    """What the three have in common; the last coordinate but that of a margin is log alpha."""

    model: BinaryPerceptron
    curve: Curve

    @property
    def margin(self) -> Array:
        return jnp.asarray(self.model.kappa, float)

    def code(self, x: Array, n: int) -> Array:
        return jnp.asarray(CODE["ok"])


def _at(model: BinaryPerceptron, alpha: Array, kappa: Array | None = None) -> Bipartite:
    """The saddle at given alpha (and margin)."""
    model = eqx.tree_at(lambda m: m.alpha, model, alpha, is_leaf=lambda x: x is None)
    if kappa is not None:
        model = eqx.tree_at(lambda m: m.kappa, model, kappa, is_leaf=lambda x: x is None)
    return Bipartite(model, (0.0,))


def _curve(model: BinaryPerceptron, kappa: Array | None = None) -> Curve:
    """At given R^ the map gives alpha and q^ (coarse nodes): alpha(R^) is single-valued where R(alpha) is not."""

    def point(field: Array) -> tuple[Array, Array, Array, Array]:
        def residual(y: Array) -> Array:
            return _at(model, jnp.exp(y[1]), kappa).state(_coordinates(y, field), _COARSE).residual

        start = jnp.stack([jnp.log(1e-3 * field), jnp.log(field)])
        relax = lambda _, y: y + jnp.array([-1.0, 1.0]) * residual(y)
        root = newton(residual, lax.fori_loop(0, 12, relax, start)[None], tol=1e-8, max_steps=25)
        alpha, x = jnp.exp(root.x[1]), _coordinates(root.x, field)
        problem = _at(model, alpha, kappa)
        state = problem.state(x, _COARSE)
        keep = lambda v: jnp.where(root.converged, v, jnp.nan)
        return keep(alpha), x, keep(state.order["R"]), problem.phi(state, _COARSE)

    rows = jax.vmap(point)(jnp.asarray(_GRID))
    # a lost point repeats the one before it
    kept = lax.cummax(jnp.where(jnp.isfinite(rows[0]), jnp.arange(_GRID.size), 0))
    return Curve(*lax.stop_gradient(jax.tree.map(lambda v: v[kept], rows)))


def _coordinates(y: Array, field: Array) -> Array:
    """Those of the saddle from (log q^, log alpha) at given R^."""
    return jnp.stack([y[0], jnp.log(field)]) - y[1]


def _determinant(problem: Bipartite, n: int) -> Callable[[Array], Array]:
    return lambda x: jnp.linalg.det(jax.jacfwd(lambda y: problem.state(y, n).residual)(x))


class Transition(_Line):
    """Two branches with equal phi; margin 0: the lower branch and perfect learning, phi = 0.

    Coordinates: those of the lower branch, those of the upper, log alpha.
    """

    size: ClassVar[int] = 5

    def value(self, x: Array) -> Array:
        return jnp.exp(x[-1])

    def starts(self) -> tuple[Array, ...]:
        """Where the interpolated phi of the two branches cross between the folds; at small margins, where the upper one has phi ~ 0."""
        curve, perfect, index = self.curve, self.margin == 0, jnp.arange(_GRID.size)
        _, top, bottom = curve.folds
        lowest = jnp.where(perfect, 0.5, curve.alpha[bottom])
        alphas = jnp.linspace(0.0, 1.0, 130)[1:-1] * (curve.alpha[top] - lowest) + lowest
        # abscissae of the other branch are pushed out of the way, in order
        on_low = jnp.where(index <= top, curve.alpha, 1e3 + index)
        on_high = jnp.where(index >= bottom, curve.alpha, -1e3 + index)
        low = lambda v: jnp.interp(alphas, on_low, v)
        high = lambda v: jnp.interp(alphas, on_high, v)
        ahead = jnp.where(perfect, 0.0, high(curve.phi)) > low(curve.phi)
        first = jnp.argmax(ahead)
        parts = [low(curve.x[:, 0]), low(curve.x[:, 1]), high(curve.x[:, 0]), high(curve.x[:, 1])]
        parts = [jnp.where(perfect & (i > 1), 0.0, v[first]) for i, v in enumerate(parts)]
        empty = jnp.argmax(low(curve.phi) < 0)
        upper = Informed(_at(self.model, alphas[empty]).model, (0.0,)).starts()[0]
        small = [low(curve.x[:, 0])[empty], low(curve.x[:, 1])[empty], upper[0], upper[1]]
        return (
            jnp.stack([*parts, jnp.log(alphas[first])]),
            lax.stop_gradient(jnp.stack([*small, jnp.log(alphas[empty])])),
        )

    def state(self, x: Array, n: int) -> State:
        problem, perfect = _at(self.model, self.value(x)), self.margin == 0
        low = problem.state(x[:2], n)
        high = problem.state(jnp.where(perfect, x[:2], x[2:4]), n)
        upper = jnp.where(perfect, x[2:4], high.residual)
        gap = problem.phi(low, n) - jnp.where(perfect, 0.0, problem.phi(high, n))
        return State(low.order, jnp.concatenate([low.residual, upper, gap[None]]), dict(high=high))

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        return dict(R=self.state(x, n).order["R"])

    def absent(self, n: int) -> Array:
        """For margins > 0 the teacher breaks its own constraints; beyond the critical end there is one branch."""
        return (self.margin > 0) | ~self.curve.folds[0]

    def inside(self, x: Array, n: int) -> Array:
        state = self.state(x, n)
        upper = jnp.where(self.margin == 0, 1.0, state.parts["high"].order["R"])
        return (self.margin <= 0) & (upper - state.order["R"] > 1e-4)


class Spinodal(_Line):
    """Where the branch of small R ends: det J = 0.  Coordinates: those of the saddle, log alpha."""

    size: ClassVar[int] = 3

    def value(self, x: Array) -> Array:
        return jnp.exp(x[-1])

    def starts(self) -> tuple[Array, ...]:
        """The first maximum of alpha along the curve."""
        curve = self.curve
        _, top, _ = curve.folds
        return tuple(jnp.append(curve.x[i], jnp.log(curve.alpha[i])) for i in (top, jnp.maximum(top - 2, 0)))

    def absent(self, n: int) -> Array:
        return ~self.curve.folds[0]

    def state(self, x: Array, n: int) -> State:
        problem = _at(self.model, self.value(x))
        state = problem.state(x[:2], n)
        fold = _determinant(problem, n)(x[:2])
        return State(state.order, jnp.append(state.residual, fold), state.parts)

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        return dict(R=self.state(x, n).order["R"])

    def inside(self, x: Array, n: int) -> Array:
        """The lower branch ends where alpha is largest along it: there d^2 alpha/dR^2 < 0, det J falls along v (towards larger R)."""
        problem = _at(self.model, self.value(x))
        return _along_null(problem, x[:2], n) < 0


class CriticalEnd(_Line):
    """Where the first-order line ends.  Coordinates: those of the saddle, log alpha, kappa."""

    size: ClassVar[int] = 4

    def value(self, x: Array) -> Array:
        return x[3]

    def starts(self) -> tuple[Array, ...]:
        """Between the folds at a margin just above that of the end."""
        curve = self.curve
        _, top, bottom = curve.folds
        return tuple(
            jnp.append(jnp.append(curve.x[i], jnp.log(curve.alpha[i])), _NEAR_THE_END)
            for i in ((top + bottom) // 2, top, bottom)
        )

    def _problem(self, x: Array) -> Bipartite:
        return _at(self.model, jnp.exp(x[2]), x[3])

    def state(self, x: Array, n: int) -> State:
        problem = self._problem(x)
        state = problem.state(x[:2], n)
        fold, cusp = _determinant(problem, n)(x[:2]), _along_null(problem, x[:2], n)
        return State(state.order, jnp.concatenate([state.residual, jnp.stack([fold, cusp])]), state.parts)

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        return dict(alpha=jnp.exp(x[2]), R=self.state(x, n).order["R"])

    def inside(self, x: Array, n: int) -> Array:
        return x[3] < 0


def _along_null(problem: Bipartite, x: Array, n: int) -> Array:
    """The derivative of det J along its null vector (towards larger R^)."""
    jacobian = jax.jacfwd(lambda y: problem.state(y, n).residual)(x)
    null = jnp.stack([-jacobian[0, 1], jacobian[0, 0]])
    return jax.jvp(_determinant(problem, n), (x,), (null / jnp.linalg.norm(null),))[1]


def _check(model: Any) -> BinaryPerceptron:
    if model.labels != "teacher":
        raise ValueError(f"labels = {model.labels}: this threshold needs labels=teacher")
    return model


define(
    "teacher-transition",
    BinaryPerceptron,
    System("alpha", lambda model, _: Transition(_check(model), _curve(model))),
)
define("spinodal", BinaryPerceptron, System("alpha", lambda model, _: Spinodal(_check(model), _curve(model))))
define(
    "critical-end",
    BinaryPerceptron,
    System("kappa", lambda model, _: CriticalEnd(_check(model), _curve(model, jnp.asarray(_NEAR_THE_END)))),
)
