r"""Thresholds of perceptrons on random features, at fixed alpha_D or fixed alpha_T.

Binary weights: where the entropy vanishes.  On the sphere: where q -> 1 (`theory.random_features.Jammed`), the end of the solutions for
margins >= 0 and an upper bound below; as a function of kappa it is the largest margin.  alpha-le: where the local entropy of y = inf replicas
ceases to be monotone (on the sphere: where replica symmetry breaks).
"""

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from replicax.answers.lines.local_entropy import Inflection, dense, overlap_and_entropy
from replicax.answers.lines.perceptron import (
    first_moment_capacity,
    gardner_capacity,
    gardner_margin,
    overlap,
    vanishing_entropy,
    vanishing_replicon,
)
from replicax.answers.status import CODE
from replicax.answers.thresholds import Augmented, Definition, Options, System, define
from replicax.numerics.roots import newton
from replicax.theory.free_entropy import FAR, Problem, State
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
    return tuple(f * plain for f in (1.0, 2.0, 0.5, 10.0, 100.0))


def _jammed(model: RandomFeatures, options: Options) -> Jammed:
    return Jammed(model, (0.0,))


def _excess(problem: Jammed, state: State, n: int) -> Array:
    return problem.excess(state)


def _aligned(problem: Jammed, state: State, n: int) -> dict[str, Array]:
    """q = 1, and the test error of the one solution that is left."""
    errors = {} if problem.labels is None else dict(eps=problem.errors(state)["eps_bary"])
    return dict(q=jnp.ones(()), **errors)


def _cluster(problem: Problem, state: State, n: int) -> dict[str, Array]:
    return dict(q1=state.order["q"], phi=problem.phi(state, n))


def _convex(problem: Jammed, state: State, n: int) -> Array:
    return jnp.where(jnp.asarray(problem.model.kappa, float) < 0, CODE["upper bound"], CODE["ok"])


def _margin_guesses(model: RandomFeatures, options: Options) -> tuple[Array, ...]:
    """Margins of plain weights on the sphere, by the bracket of its capacity."""
    _, mu1, mustar = model.coefficients
    scale = jnp.sqrt(jnp.asarray(mu1**2 + mustar**2, float))
    plain = gardner_margin(jnp.asarray(model.alpha, float))
    return tuple(scale * plain + more for more in (0.3, 1.0, -0.3))


def _overlap_and_replicon_guesses(model: RandomFeatures, options: Options) -> tuple[Array, ...]:
    (plain, *_) = _margin_guesses(model, options)
    return tuple(plain - less for less in (0.5, 1.0, 0.2, 1.5, 2.5))


def _dense_guesses(model: RandomFeatures, options: Options) -> tuple[tuple[Array, Array], ...]:
    """Somewhat below the capacity, at overlaps as of plain weights."""
    capacity = Augmented(model, {}, _BINARY)
    n = capacity.nodes // 4
    residual = lambda x: capacity.state(x, n).residual
    root = newton(residual, jnp.stack(capacity.starts()), tol=1e-6, limit=FAR)
    alpha, margin = capacity.value(root.x), _margin(model)
    share, c = 0.905 + 0.05 * margin, 2.44 + 0.67 * margin
    shifts = ((0.0, 0.0), (0.02, 0.4), (0.04, 0.8), (0.05, 1.2), (-0.02, 0.3), (0.015, -0.3))
    return tuple(((share + more) * alpha, c + farther) for more, farther in shifts)


def _instability_guesses(model: RandomFeatures, options: Options) -> tuple[Array, ...]:
    plain = gardner_capacity(_margin(model))
    return tuple(f * plain for f in (0.8, 0.5, 0.3, 1.2, 0.15))


_BINARY = Definition("alpha", True, _entropy_guesses, vanishing_entropy, overlap)
_SPHERICAL = Definition("alpha", True, _jamming_guesses, _excess, _aligned, _convex, problem=_jammed)  # type: ignore[arg-type]
_MARGIN = Definition("kappa", False, _margin_guesses, _excess, _aligned, _convex, problem=_jammed)  # type: ignore[arg-type]
_UNSTABLE = Definition("kappa", False, _overlap_and_replicon_guesses, vanishing_replicon, overlap)


_UNSTABLE_IN_ALPHA = Definition("alpha", True, _instability_guesses, vanishing_replicon, _cluster)


def _dense_regions(model: RandomFeatures, options: Options) -> Augmented | Inflection:
    if model.weights == "spherical":
        return Augmented(model, options, _UNSTABLE_IN_ALPHA)
    return Inflection(model, options, dense, _dense_guesses, overlap_and_entropy)


def _capacity(model: RandomFeatures, options: Options) -> Augmented:
    return Augmented(model, options, _BINARY if model.weights == "binary" else _SPHERICAL)


def _of_the_sphere(definition: Definition) -> Callable[[RandomFeatures, Options], Augmented]:
    def system(model: RandomFeatures, options: Options) -> Augmented:
        if model.weights != "spherical":
            raise ValueError(f"weights = {model.weights}: this threshold is that of weights=spherical")
        return Augmented(model, options, definition)

    return system


define("capacity", RandomFeatures, System("alpha", _capacity))
define("alpha-le", RandomFeatures, System("alpha", _dense_regions))
define("kappa-max", RandomFeatures, System("kappa", _of_the_sphere(_MARGIN), needs=("alpha",)))
define("dat", RandomFeatures, System("kappa", _of_the_sphere(_UNSTABLE), needs=("alpha",)))
