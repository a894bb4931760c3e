"""Thresholds of perceptrons within replica symmetry: capacity, kappa-max, freezing, de Almeida-Thouless."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.solve import find_root
from replicax.answers.status import CODE
from replicax.answers.thresholds import Definition, Explicit, Options, define
from replicax.numerics.brackets import bracketed_root
from replicax.numerics.special import inverse_H, log_H
from replicax.theory.ansatz import RS
from replicax.theory.free_entropy import Problem, State
from replicax.theory.frozen import FREEZING_FACTORS, annealed_freezing
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron, SymmetricPerceptron
from replicax.theory.stability import breaking_point
from replicax.vocabulary.factors import SquaredHinge, WeightTerminal
from replicax.vocabulary.levels import Level, tower
from replicax.vocabulary.limits import INFINITE

LOG2 = float(np.log(2.0))

# ---------------------------------------------------------------- conditions


def vanishing_entropy(problem: Problem, state: State, n: int) -> Array:
    phi = problem.phi(state, n)
    return problem.thermal(state, phi, n)[1] if hasattr(problem.model, "beta") else phi  # type: ignore[attr-defined]


def vanishing_replicon(problem: Problem, state: State, n: int) -> Array:
    return state.parts["replicon"]


def overlap(problem: Problem, state: State, n: int) -> dict[str, Array]:
    return dict(q=state.order["q"])


def _energy_and_overlap(problem: Problem, state: State, n: int) -> dict[str, Array]:
    energy, _ = problem.thermal(state, problem.phi(state, n), n)
    return dict(energy=energy, q=state.order["q"])


def _break(problem: Problem, state: State, n: int) -> dict[str, Array]:
    x_break, xdot = breaking_point(problem.model, state.order["q"], state.parts["site"].complement, n)  # type: ignore[attr-defined]
    return dict(q=state.order["q"], x_break=x_break, xdot=xdot)


# ---------------------------------------------------------------- first guesses


def gardner_capacity(kappa: Array, n: int = 128) -> Array:
    """Where q -> 1 on the sphere: 1/alpha = E(kappa - z)_+^2, from the jamming limit (errors cost h^2/(2(1-q))).

    Closed form: (1 + kappa^2) H(-kappa) + kappa G(kappa).  Gardner, J. Phys. A 21 (1988) 257.
    """
    hinge = WeightTerminal(SquaredHinge(kappa))
    return -0.5 / tower(hinge, (Level((jnp.ones(()),), 0.0),), n).value


def first_moment_capacity(kappa: Array) -> Array:
    """-log 2/log H(kappa) >= alpha_c of binary weights."""
    return -LOG2 / log_H(kappa)


def _capacity_guesses(model: BinaryPerceptron, options: Options) -> tuple[Array, ...]:
    bound = first_moment_capacity(model.kappa)  # type: ignore[arg-type]
    singular = 2.0 / jnp.pi * gardner_capacity(jnp.asarray(model.kappa, float))
    return (jnp.minimum(0.8 * bound, 0.9 * singular), 0.4 * bound)


def _margin_guesses(model: BinaryPerceptron, options: Options) -> tuple[Array, ...]:
    bound = inverse_H(jnp.exp(-LOG2 / jnp.asarray(model.alpha, float)))
    return (bound - 0.2, bound - 0.6, bound - 0.05)


def _instability_guesses(fraction_of: float) -> Callable[[Any, Options], tuple[Array, ...]]:
    def guesses(model: Any, options: Options) -> tuple[Array, ...]:
        singular = fraction_of * gardner_capacity(jnp.asarray(model.kappa, float))
        return tuple(f * singular for f in (0.8, 0.5, 0.3, 0.95, 0.15))

    return guesses


def _freezing_guesses(model: BinaryPerceptron, options: Options) -> tuple[Array, ...]:
    start = annealed_freezing(model.alpha, model.kappa)  # type: ignore[arg-type]
    return tuple(f * start for f in FREEZING_FACTORS)


# ---------------------------------------------------------------- where there is none


def _never_freezes(model: BinaryPerceptron, options: Options, n: int) -> Array:
    """The entropy falls with beta, dS/dbeta = -beta Var(errors)/N: where it is positive at beta = inf it vanishes nowhere."""
    cold = RS().problems(eqx.tree_at(lambda m: m.beta, model, INFINITE, is_leaf=lambda x: x is None))[0]
    root = find_root(cold, None, n // cold.nodes)
    state = cold.state(root.x, n)
    return root.converged & cold.inside(state) & (cold.phi(state, n) >= 0)


def _stable_to_capacity(model: SphericalPerceptron, options: Options, n: int) -> Array:
    """The replicon falls with alpha, to 1 - H(-kappa)/E(kappa - z)_+^2 where q -> 1: not negative for kappa >= 0."""
    return jnp.asarray(model.kappa, float) >= 0


# ---------------------------------------------------------------- thresholds without a saddle


def _spherical_capacity(model: SphericalPerceptron, options: Options, n: int):
    value = gardner_capacity(jnp.asarray(model.kappa, float))
    return value, dict(q=jnp.ones(())), jnp.zeros(()), jnp.isfinite(value)


def spherical_margin(model: Any, options: Options, n: int):
    target = jnp.log(jnp.asarray(model.alpha, float))
    root = bracketed_root(
        lambda k: jnp.log(gardner_capacity(k)) - target, jnp.asarray(-8.0), jnp.asarray(200.0)
    )
    return root.value, dict(q=jnp.ones(())), root.residual, root.converged


def _symmetric_capacity(model: SymmetricPerceptron, options: Options, n: int):
    log_p = model.factor.terminal(jnp.ones(()))(jnp.zeros(()))
    return -LOG2 / log_p, dict(q=jnp.zeros(())), jnp.zeros(()), log_p < 0


def _convex(model: SphericalPerceptron, value: Array) -> Array:
    kappa = value if model.kappa is None else jnp.asarray(model.kappa, float)
    return jnp.where(kappa < 0, CODE["upper bound"], CODE["ok"])


def _annealed(model: SymmetricPerceptron, value: Array) -> Array:
    """Beyond kappa* of the u-function q = 0 is unstable before the annealed entropy vanishes."""
    problem = RS().problems(eqx.tree_at(lambda m: m.alpha, model, value, is_leaf=lambda x: x is None))[0]
    stable = problem.state(jnp.zeros(0), problem.nodes).parts["replicon"] > 0
    return jnp.where(stable, CODE["ok"], CODE["upper bound"])


define("capacity", BinaryPerceptron, Definition("alpha", True, _capacity_guesses, vanishing_entropy, overlap))
define("capacity", SymmetricPerceptron, Explicit("alpha", _symmetric_capacity, _annealed, ("kappa",)))
define("capacity", SphericalPerceptron, Explicit("alpha", _spherical_capacity, _convex))
define(
    "kappa-max",
    BinaryPerceptron,
    Definition("kappa", False, _margin_guesses, vanishing_entropy, overlap, needs=("alpha",)),
)
define("kappa-max", SphericalPerceptron, Explicit("kappa", spherical_margin, _convex, ("alpha",)))
define(
    "freezing",
    BinaryPerceptron,
    Definition(
        "beta",
        True,
        _freezing_guesses,
        vanishing_entropy,
        _energy_and_overlap,
        needs=("alpha",),
        absent=_never_freezes,
    ),
)
define(
    "dat",
    BinaryPerceptron,
    Definition("alpha", True, _instability_guesses(2.0 / np.pi), vanishing_replicon, overlap),
)


def instability(columns: Callable[[Problem, State, int], dict[str, Array]]) -> Definition:
    """The de Almeida-Thouless line of the sphere with these results."""
    guesses = _instability_guesses(1.0)
    return Definition("alpha", True, guesses, vanishing_replicon, columns, absent=_stable_to_capacity)


_BREAKING = instability(_break)


def breaking(model: SphericalPerceptron, n: int) -> tuple[Array, Array, Array]:
    """(whether replica symmetry breaks, x_break, xdot) along the de Almeida-Thouless line at this margin."""
    line = _BREAKING.system(model, {})
    root = find_root(line, None, max(1, n // line.nodes), line.absent(n))
    columns = line.columns(root.x, line.nodes)
    return root.converged & line.inside(root.x, line.nodes), columns["x_break"], columns["xdot"]


define("dat", SphericalPerceptron, _BREAKING)
