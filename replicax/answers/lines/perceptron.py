"""Thresholds of perceptrons within replica symmetry: capacity, kappa-max, freezing, de Almeida-Thouless."""

from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.solve import find_root
from replicax.answers.status import CODE
from replicax.answers.thresholds import Augmented, Definition, Explicit, Options, System, define
from replicax.numerics.brackets import bracketed_root
from replicax.numerics.special import inverse_H, log_H, log_hinge
from replicax.theory.ansatz import RS
from replicax.theory.free_entropy import Problem, Searched, State
from replicax.theory.frozen import FREEZING_FACTORS, annealed_freezing
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron, SymmetricPerceptron
from replicax.theory.stability import breaking_point
from replicax.vocabulary.factors import SquaredHinge, WeightTerminal
from replicax.vocabulary.levels import Level, tower
from replicax.vocabulary.limits import INFINITE

LOG2 = float(np.log(2.0))
#: the least 1 - q at which replica symmetry is known to break
_LAST = 1e-20

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


def gardner_capacity(kappa: Array) -> Array:
    """Where q -> 1 on the sphere: 1/alpha = E(kappa - z)_+^2, from the jamming limit (errors cost h^2/(2(1-q))).

    Gardner, J. Phys. A 21 (1988) 257.
    """
    return jnp.exp(-log_hinge(kappa))


def gardner_margin(alpha: Array) -> Array:
    """The margin of which `gardner_capacity` is alpha."""
    return bracketed_root(lambda k: -log_hinge(k) - jnp.log(alpha), -30.0, 200.0).value


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
    """Random labels: the replicon falls with alpha, to 1 - H(-kappa)/E(kappa - z)_+^2 where q -> 1: not negative for kappa >= 0.

    A teacher: for kappa >= 0 solutions are convex, so that they are symmetric.  For kappa < 0 nothing proves it; on a grid of kappa in [-8, -1e-4]
    and alpha in [1e-2, 1e7] the replicon is everywhere above the 1/2 to which it falls at kappa = 0, and returns to 1 for alpha -> inf: what is
    left around the teacher is felt by alpha P(margin is not kept) ~ 1/log alpha patterns per weight.
    """
    return jnp.asarray((model.labelling is not None) | (jnp.asarray(model.kappa, float) >= 0))


# ---------------------------------------------------------------- thresholds without a saddle


class LargestMargin(Searched):
    """Where q -> 1 on the sphere, in alpha or in kappa, from the jamming limit: the squared hinge l = (kappa - h)_+^2/2 of the fields h, under the
    tilt of the labels,

        1 - R^2 = alpha <l'^2>,    R = alpha <-l' (score of the teacher's field)>       (random labels: R = 0).

    Coordinates: kappa or log alpha; logit R^2 where a teacher made the labels.  Gardner, J. Phys. A 21 (1988) 257.
    """

    model: SphericalPerceptron
    solves: str = eqx.field(static=True)

    @property
    def taught(self) -> bool:
        return self.model.labelling is not None

    def value(self, x: Array) -> Array:
        return x[0] if self.solves == "kappa" else jnp.exp(x[0])

    def _margin_and_weight(self, x: Array) -> tuple[Array, Array]:
        if self.solves == "kappa":
            return x[0], jnp.asarray(self.model.alpha, float)
        return jnp.asarray(self.model.kappa, float), jnp.exp(x[0])

    def starts(self) -> tuple[Array, ...]:
        """Random labels: at the root.  A teacher: the angle falls as 1/(2 + 1.7 alpha), the margin as (alpha + 0.6 alpha^2)^(-1/2)."""
        if self.solves == "kappa":
            alpha = jnp.asarray(self.model.alpha, float)
            if not self.taught:
                return (gardner_margin(alpha)[None],)
            first = 1.0 / jnp.sqrt(alpha + 0.6 * alpha**2)
        else:
            kappa = jnp.asarray(self.model.kappa, float)
            if not self.taught:
                return (jnp.log(gardner_capacity(kappa))[None],)
            alpha = (jnp.sqrt(1.0 + 2.4 / kappa**2) - 1.0) / 1.2
            first = jnp.log(alpha)
        angle = jnp.pi / (2.0 + 1.7 * alpha)
        spread = -2.0 * jnp.log(jnp.tan(angle))
        return tuple(jnp.stack([first, spread + shift]) for shift in (0.0, -1.0, 1.0))

    def _overlap(self, x: Array) -> tuple[Array, Array]:
        """R and 1 - R^2."""
        if not self.taught:
            return jnp.zeros(()), jnp.ones(())
        return jnp.sqrt(jax.nn.sigmoid(x[1])), jax.nn.sigmoid(-x[1])

    def state(self, x: Array, n: int) -> State:
        (R, rest), (kappa, alpha) = self._overlap(x), self._margin_and_weight(x)
        order = dict(q=jnp.ones(()), R=R)
        if self.model.labelling is None:
            return State(order, (jnp.log(alpha) + log_hinge(kappa))[None], {})
        tilt = self.model.labelling.tilt(R, jnp.ones(()), rest)
        moments = tower(WeightTerminal(SquaredHinge(kappa)), (Level((jnp.ones(()),), 0.0),), n, tilt=tilt)
        residual = (alpha * moments.overlap[0][0] / rest, alpha * moments.cross / R)
        return State(order, jnp.log(jnp.stack(residual)), {})

    def absent(self, n: int) -> Array:
        """Without patterns there is no largest margin; at margins <= 0 the teacher breaks no constraint."""
        if self.solves == "kappa":
            return jnp.asarray(self.model.alpha, float) <= 0
        return jnp.asarray(self.taught) & (jnp.asarray(self.model.kappa, float) <= 0)

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        R, rest = self._overlap(x)
        taught = dict(R=R, eps=jnp.arctan2(jnp.sqrt(rest), R) / jnp.pi) if self.taught else {}
        return dict(q=jnp.ones(())) | taught

    def code(self, x: Array, n: int) -> Array:
        """Random labels: exact for convex constraints, a bound for the others."""
        kappa, _ = self._margin_and_weight(x)
        return jnp.where((kappa < 0) & (not self.taught), CODE["upper bound"], CODE["ok"])

    def inside(self, x: Array, n: int) -> Array:
        return jnp.ones((), bool)


def _symmetric_capacity(model: SymmetricPerceptron, options: Options, n: int):
    log_p = model.factor.terminal(jnp.ones(()))(jnp.zeros(()))
    return -LOG2 / log_p, dict(q=jnp.zeros(())), jnp.zeros(()), log_p < 0


def _annealed(model: SymmetricPerceptron, value: Array) -> Array:
    """Beyond kappa* of the u-function q = 0 is unstable before the annealed entropy vanishes."""
    problem = RS().problems(eqx.tree_at(lambda m: m.alpha, model, value, is_leaf=lambda x: x is None))[0]
    stable = problem.state(jnp.zeros(0), problem.nodes).parts["replicon"] > 0
    return jnp.where(stable, CODE["ok"], CODE["upper bound"])


define("capacity", BinaryPerceptron, Definition("alpha", True, _capacity_guesses, vanishing_entropy, overlap))
define("capacity", SymmetricPerceptron, Explicit("alpha", _symmetric_capacity, _annealed, ("kappa",)))
define("capacity", SphericalPerceptron, System("alpha", lambda model, _: LargestMargin(model, "alpha")))
define(
    "kappa-max",
    BinaryPerceptron,
    Definition("kappa", False, _margin_guesses, vanishing_entropy, overlap, needs=("alpha",)),
)
define(
    "kappa-max",
    SphericalPerceptron,
    System("kappa", lambda model, _: LargestMargin(model, "kappa"), needs=("alpha",)),
)
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


class InstabilityLine(Augmented):
    """For kappa -> 0 it ends in q = 1 (1 - q = .755 kappa^2): scales between 1 - q and 1 take more nodes."""

    nodes: ClassVar[int] = 512

    def inside(self, x: Array, n: int) -> Array:
        problem, state = self._saddle(x, n)
        return problem.inside(state, _LAST)


class _Instability(Definition):
    def system(self, model: Any, options: Options) -> InstabilityLine:
        return InstabilityLine(model, options, self)


def instability(columns: Callable[[Problem, State, int], dict[str, Array]]) -> Definition:
    """The de Almeida-Thouless line of the sphere with these results."""
    guesses = _instability_guesses(1.0)
    return _Instability("alpha", True, guesses, vanishing_replicon, columns, absent=_stable_to_capacity)


_BREAKING = instability(_break)


def breaking(model: SphericalPerceptron, n: int) -> tuple[Array, Array, Array]:
    """(whether replica symmetry breaks, x_break, xdot) along the de Almeida-Thouless line at this margin."""
    line = _BREAKING.system(model, {})
    root = find_root(line, None, max(1, n // line.nodes), (line.starts(), line.absent(n)))
    columns = line.columns(root.x, line.nodes)
    return root.converged & line.inside(root.x, line.nodes), columns["x_break"], columns["xdot"]


define("dat", SphericalPerceptron, _BREAKING)
