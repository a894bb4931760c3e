r"""Star shape of the solutions of the sphere at negative margin: which solutions see the typical ones without a barrier.

The whole segment between typical solutions of margins kappa_1 = kappa < 0 and kappa_2 > kappa has margin kappa if and only if

    kappa_2 >= kappa p(kappa, kappa_2),

p their overlap.  kappa-star: the smallest such kappa_2.  It exists up to alpha-star, where it reaches the maximum margin.  Annesi et al.,
PRL 131 (2023) 227301, arXiv:2305.10623; within replica symmetry.  For kappa >= 0 the solutions are convex: kappa-star = kappa.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.solve import find_root
from replicax.answers.status import CODE
from replicax.answers.thresholds import Definition, Options, define
from replicax.theory.free_entropy import Problem, State
from replicax.theory.interpolation import Couple, WithMaximumMargin, check_solutions
from replicax.theory.models import SphericalPerceptron

#: kappa-star is looked for at these parts of the way from kappa to the maximum margin
_PARTS = (0.4, 0.7, 0.9, 0.15, 0.97)
_ALPHAS = (3.0, 2.2, 4.0, 2.02, 3.6, 2.5)


def _margin(model: Any) -> Array:
    return jnp.asarray(model.kappa, float)


def _couple(model: SphericalPerceptron, options: Options) -> Couple:
    check_solutions(model)
    reference = eqx.tree_at(lambda m: m.kappa, model, jnp.asarray(options["kappa_ref"], float))
    return Couple(model, reference, jnp.full((), 0.5))


def _seen(problem: Any, state: State, n: int) -> Array:
    """kappa_2 - kappa p."""
    kappa = _margin(problem.model)
    return _margin(problem.reference) - jnp.where(kappa < 0, kappa * state.order["p"], kappa)


def _guesses(model: SphericalPerceptron, options: Options) -> tuple[Array, ...]:
    kappa, top = _margin(model), WithMaximumMargin(model).starts()[0][-1]
    return tuple(jnp.where(kappa < 0, kappa + f * (top - kappa), kappa) for f in _PARTS)


def _blind(model: SphericalPerceptron, options: Options, n: int) -> Array:
    """Not even the solution of maximum margin sees the typical ones (or there are none)."""
    edge = WithMaximumMargin(model)
    root = find_root(edge, None, n // edge.nodes)
    state, kappa = edge.state(root.x, n), _margin(model)
    unseen = root.converged & (state.parts["kappa_max"] < kappa * state.order["p"])
    return edge.typical.absent(n) | ((kappa < 0) & unseen)


def _reaches(problem: Any, state: State, n: int) -> Array:
    """kappa_max - kappa p."""
    return state.parts["kappa_max"] - _margin(problem.model) * state.order["p"]


def _overlap(problem: Problem, state: State, n: int) -> dict[str, Array]:
    return dict(p=state.order["p"])


def _stable(problem: Problem, state: State, n: int) -> Array:
    """The value is that of replica symmetry: of both solutions (the one of maximum margin is stable for kappa_max >= 0)."""
    replicons = [state.parts[k].parts["replicon"] for k in ("one", "two") if k in state.parts]
    stable = jnp.min(jnp.stack(replicons)) >= 0
    if "kappa_max" in state.parts:
        stable = stable & (state.parts["kappa_max"] >= 0)
    return jnp.where(stable, CODE["ok"], CODE["unstable (replicon)"])


define(
    "kappa-star",
    SphericalPerceptron,
    Definition("kappa_ref", False, _guesses, _seen, _overlap, _stable, ("alpha",), _couple, absent=_blind),
)


def _edge(model: SphericalPerceptron, options: Options) -> WithMaximumMargin:
    check_solutions(model)
    return WithMaximumMargin(model)


define(
    "alpha-star",
    SphericalPerceptron,
    Definition(
        "alpha",
        True,
        lambda model, options: tuple(jnp.asarray(a) for a in np.array(_ALPHAS)),
        _reaches,
        _overlap,
        _stable,
        problem=_edge,
        absent=lambda model, options, n: _margin(model) >= 0,
    ),
)
