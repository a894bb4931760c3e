r"""Where the solutions of the sphere fall into clusters, at negative margin: dynamical, Kauzmann and Gardner lines.

At m = 1 (the clusters of the replica-symmetric measure) clusters appear at alpha_d with stability 0, and their complexity Sigma vanishes at
alpha_K.  Both exist where replica symmetry breaks discontinuously: where the breaking point at the de Almeida-Thouless line exceeds 1.  At
alpha_G the clusters of stationary m < 1 become unstable; they exist there and where the de Almeida-Thouless line leads to one stable step (slope of
the Parisi function < 0).  Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019, arXiv:1702.06919.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.lines.perceptron import breaking, gardner_capacity
from replicax.answers.thresholds import Augmented, Definition, Options, define
from replicax.theory.ansatz import require
from replicax.theory.clusters import Broken, Equilibrium, complexity_left, coordinates, separation
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import SphericalPerceptron
from replicax.vocabulary.limits import INFINITE


class Guess(NamedTuple):
    """Where to look first, between margins: alpha in units of the capacity of replica symmetry, and the order parameters there."""

    kappa: np.ndarray
    columns: dict[str, np.ndarray]

    def at(self, kappa: Array, name: str) -> Array:
        return jnp.exp(jnp.interp(kappa, self.kappa, np.log(self.columns[name])))


_MARGINS = np.array([-8.0, -6.0, -4.5, -3.0, -2.5, -2.0])
_DYNAMICAL = Guess(_MARGINS, dict(part=np.array([0.0679, 0.1123, 0.177, 0.295, 0.337, 0.357])))
_KAUZMANN = Guess(_MARGINS, dict(part=np.array([0.1068, 0.1602, 0.228, 0.323, 0.344, 0.357])))
_GARDNER = Guess(
    np.array([-6.5, -5.8, -5.0, -4.0, -3.0, -2.5, -2.1, -1.75, -1.6, -1.5, -1.475]),
    dict(
        part=np.array([0.1852, 0.2186, 0.2684, 0.355, 0.475, 0.535, 0.553, 0.517, 0.480, 0.446, 0.435]),
        q0=np.array([4.22e-9, 2.63e-7, 1.58e-5, 1e-3, 0.025, 0.095, 0.22, 0.362, 0.432, 0.489, 0.507]),
        rest=np.array([1.21e-4, 1.92e-4, 3.6e-4, 9.9e-4, 4.4e-3, 0.0139, 0.0473, 0.163, 0.29, 0.44, 0.488]),
        m=np.array([0.0603, 0.0678, 0.0799, 0.106, 0.165, 0.236, 0.344, 0.472, 0.529, 0.564, 0.572]),
    ),
)


def _margin(model: Any) -> Array:
    return jnp.asarray(model.kappa, float)


def _solutions(model: SphericalPerceptron) -> SphericalPerceptron:
    require(model, "alpha")
    if model.beta is not INFINITE or model.labels != "random":
        raise ValueError("beta, labels: these are lines of solutions, beta = inf, of random labels")
    return model


def _guesses(guess: Guess):
    def starts(model: SphericalPerceptron, options: Options) -> tuple[Array, ...]:
        centre = guess.at(_margin(model), "part") * gardner_capacity(_margin(model))
        return tuple(f * centre for f in (1.0, 1.02, 0.98, 1.06))

    return starts


def _overlaps(problem: Problem, state: State, n: int) -> dict[str, Array]:
    return dict(q0=state.order["q0"], q1=state.order["q1"])


def _continuous(model: SphericalPerceptron, options: Options, n: int) -> Array:
    """The breaking point is below 1, or replica symmetry does not break."""
    broken, x_break, _ = breaking(model, n)
    return (_margin(model) >= 0) | (broken & (x_break < 1.0))


def _full(model: SphericalPerceptron, options: Options, n: int) -> Array:
    """Replica symmetry does not break, or breaks continuously and completely."""
    broken, x_break, xdot = breaking(model, n)
    return (_margin(model) >= 0) | (broken & (x_break < 1.0) & (xdot > 0))


def _equilibrium(model: SphericalPerceptron, options: Options) -> Equilibrium:
    return Equilibrium(_solutions(model), (0.0, jnp.ones(())))


def _stability(problem: Problem, state: State, n: int) -> Array:
    return state.parts["replicon"] / separation(state)


class GardnerLine(Augmented):
    """Stationary clusters whose stability vanishes."""

    def starts(self) -> tuple[Array, ...]:
        kappa = _margin(self.model)
        q0, rest, m = (_GARDNER.at(kappa, name) for name in ("q0", "rest", "m"))
        starts = []
        for alpha in self.definition.starts(self.model, self.options):
            x = coordinates(q0, 1.0 - rest, m, alpha)
            starts.append(jnp.concatenate([x, jnp.stack([jnp.log(m) - jnp.log1p(-m), jnp.log(alpha)])]))
        return tuple(starts)


class _Gardner(Definition):
    def system(self, model: Any, options: Options) -> GardnerLine:
        return GardnerLine(model, options, self)


define(
    "dynamical",
    SphericalPerceptron,
    Definition(
        "alpha", True, _guesses(_DYNAMICAL), _stability, _overlaps, problem=_equilibrium, absent=_continuous
    ),
)
define(
    "kauzmann",
    SphericalPerceptron,
    Definition(
        "alpha",
        True,
        _guesses(_KAUZMANN),
        complexity_left,
        _overlaps,
        problem=_equilibrium,
        absent=_continuous,
    ),
)
define(
    "gardner",
    SphericalPerceptron,
    _Gardner(
        "alpha",
        True,
        _guesses(_GARDNER),
        _stability,
        lambda problem, state, n: _overlaps(problem, state, n) | dict(m=state.order["m"]),
        problem=lambda model, options: Broken(_solutions(model)),
        absent=_full,
    ),
)
