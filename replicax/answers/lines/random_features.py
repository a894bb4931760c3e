r"""Thresholds of perceptrons on random features, at fixed alpha_D or fixed alpha_T.

Binary weights: where the entropy vanishes.  On the sphere: where q -> 1 (`theory.random_features.Jammed`), the end of the solutions for
margins >= 0 and an upper bound below; as a function of kappa it is the largest margin.
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from replicax.answers.lines.perceptron import (
    first_moment_capacity,
    gardner_capacity,
    overlap,
    spherical_margin,
    vanishing_entropy,
    vanishing_replicon,
)
from replicax.answers.status import CODE
from replicax.answers.thresholds import Augmented, Definition, Options, System, define
from replicax.theory.free_entropy import State
from replicax.theory.models import RandomFeatures
from replicax.theory.random_features import Jammed


def _margin(model: RandomFeatures) -> Array:
    """The margin in units of the typical stability."""
    _, mu1, mustar = model.coefficients
    return jnp.asarray(model.kappa, float) / jnp.sqrt(mu1**2 + mustar**2)


def _entropy_guesses(model: RandomFeatures, options: Options) -> tuple[Array, ...]:
    bound = first_moment_capacity(_margin(model))
    return tuple(f * bound for f in (0.8, 0.5, 0.3, 1.2))


def _jamming_guesses(model: RandomFeatures, options: Options) -> tuple[Array, ...]:
    plain = gardner_capacity(_margin(model))
    return tuple(f * plain for f in (1.0, 2.0, 0.5))


def _jammed(model: RandomFeatures, options: Options) -> Jammed:
    return Jammed(model, (0.0,))


def _excess(problem: Jammed, state: State, n: int) -> Array:
    return problem.excess(state)


def _aligned(problem: Jammed, state: State, n: int) -> dict[str, Array]:
    """q = 1, and the test error of the one solution that is left."""
    errors = {} if problem.labels is None else dict(eps=problem.errors(state)["eps_bary"])
    return dict(q=jnp.ones(()), **errors)


def _convex(problem: Jammed, state: State, n: int) -> Array:
    return jnp.where(jnp.asarray(problem.model.kappa, float) < 0, CODE["upper bound"], CODE["ok"])


def _margin_guesses(model: RandomFeatures, options: Options) -> tuple[Array, ...]:
    """Margins of plain weights on the sphere, by the bracket of its capacity."""
    _, mu1, mustar = model.coefficients
    scale = jnp.sqrt(jnp.asarray(mu1**2 + mustar**2, float))
    plain, *_ = spherical_margin(model, options, 128)
    return tuple(scale * plain + more for more in (0.3, 1.0, -0.3))


def _overlap_and_replicon_guesses(model: RandomFeatures, options: Options) -> tuple[Array, ...]:
    (plain, *_) = _margin_guesses(model, options)
    return tuple(plain - less for less in (0.5, 1.0, 0.2, 1.5, 2.5))


_BINARY = Definition("alpha", True, _entropy_guesses, vanishing_entropy, overlap)
_SPHERICAL = Definition("alpha", True, _jamming_guesses, _excess, _aligned, _convex, problem=_jammed)  # type: ignore[arg-type]
_MARGIN = Definition("kappa", False, _margin_guesses, _excess, _aligned, _convex, problem=_jammed)  # type: ignore[arg-type]
_UNSTABLE = Definition("kappa", False, _overlap_and_replicon_guesses, vanishing_replicon, overlap)


def _capacity(model: RandomFeatures, options: Options) -> Augmented:
    return Augmented(model, options, _BINARY if model.weights == "binary" else _SPHERICAL)


def _of_the_sphere(definition: Definition) -> Callable[[RandomFeatures, Options], Augmented]:
    def system(model: RandomFeatures, options: Options) -> Augmented:
        if model.weights != "spherical":
            raise ValueError(f"weights = {model.weights}: this threshold is that of weights=spherical")
        return Augmented(model, options, definition)

    return system


define("capacity", RandomFeatures, System("alpha", _capacity))
define("kappa-max", RandomFeatures, System("kappa", _of_the_sphere(_MARGIN), needs=("alpha",)))
define("dat", RandomFeatures, System("kappa", _of_the_sphere(_UNSTABLE), needs=("alpha",)))
