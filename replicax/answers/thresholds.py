r"""Thresholds: roots of an augmented system (saddle equations + one condition), never solves nested in solves.

The model leaves out the parameter to solve for; the unknowns are the coordinates of the saddle and that parameter (in logarithms where it is
positive).  Like every root here they are differentiable in the remaining parameters by the implicit function theorem.
"""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.solve import batched, find_root, require_float64
from replicax.answers.status import CODE, status_text
from replicax.numerics.brackets import bracketed_root
from replicax.numerics.special import inverse_H, log_H
from replicax.theory.ansatz import RS
from replicax.theory.free_entropy import Problem, State
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron, SymmetricPerceptron
from replicax.theory.stability import breaking_point
from replicax.vocabulary.factors import SquaredHinge, WeightTerminal
from replicax.vocabulary.levels import Level, tower
from replicax.vocabulary.limits import INFINITE

LOG2 = float(np.log(2.0))
_FAR_PARAMETER = 12.0
_FAR_COORDINATE = 35.0


class Threshold(eqx.Module):
    """The answer to `threshold`: `value` of the parameter, further columns as attributes, and how far to trust it."""

    model: Any
    name: str = eqx.field(static=True)
    parameter: str = eqx.field(static=True)
    value: Array
    columns: dict[str, Array]
    code: Array
    converged: Array
    residual: Array

    def __getattr__(self, name: str) -> Any:
        columns = object.__getattribute__(self, "columns")
        if name in columns:
            return columns[name]
        raise AttributeError(f"threshold {self.name!r} has no {name!r}; it has value, {', '.join(columns)}")

    @property
    def status(self) -> Any:
        return status_text(self.code)

    def table(self) -> dict[str, Any]:
        trust = dict(converged=self.converged, status=self.status)
        return {"value": self.value, **trust, **self.columns, "residual": self.residual}

    def __repr__(self) -> str:
        if isinstance(self.value, jax.core.Tracer):
            return f"Threshold({self.name}, traced)"
        rest = ", ".join(
            f"{k}={np.array2string(np.asarray(v), precision=10)}" for k, v in self.columns.items()
        )
        value = np.array2string(np.asarray(self.value), precision=13, threshold=8)
        return f"{self.name}: {self.parameter} = {value} ({self.status}; {rest})"


class Definition(NamedTuple):
    """One threshold of one model: which parameter, where to look, what must vanish, what else to report.

    starts(model) -> guesses of the parameter; condition(problem, state, n) = 0; columns(problem, state, n) -> further results;
    status(problem, state, n) -> code where converged.
    """

    parameter: str
    positive: bool
    starts: Callable[[Any], tuple[Array, ...]]
    condition: Callable[[Problem, State, int], Array]
    columns: Callable[[Problem, State, int], dict[str, Array]]
    status: Callable[[Problem, State, int], Array] = lambda problem, state, n: jnp.asarray(CODE["ok"])
    needs: tuple[str, ...] = ()


class Augmented(eqx.Module):
    """The saddle of a model together with the threshold's condition; coordinates: those of the saddle, then the parameter."""

    model: Any
    definition: Definition = eqx.field(static=True)

    nodes: ClassVar[int] = 128

    def at(self, value: Array) -> Any:
        name = self.definition.parameter
        return eqx.tree_at(
            lambda m: getattr(m, name), self.model, value, is_leaf=lambda x: x is None or x is INFINITE
        )

    def value(self, x: Array) -> Array:
        return jnp.exp(x[-1]) if self.definition.positive else x[-1]

    def problem(self, x: Array) -> Problem:
        return RS().problems(self.at(self.value(x)))[0]

    def starts(self) -> tuple[Array, ...]:
        guesses = []
        for guess in self.definition.starts(self.model):
            saddles = RS().problems(self.at(guess))[0].starts()[:2]
            last = jnp.log(guess) if self.definition.positive else guess
            guesses.extend(jnp.append(s, last) for s in saddles)
        return tuple(guesses)

    def absent(self, n: int) -> Array:
        return jnp.zeros((), bool)

    def state(self, x: Array, n: int) -> State:
        problem = self.problem(x)
        state = problem.state(x[:-1], n)
        condition = self.definition.condition(problem, state, n)
        return state._replace(residual=jnp.append(state.residual, condition))


def threshold(model: Any, name: str, **options: Any) -> Threshold:
    """The threshold `name` of a model that leaves out the parameter to solve for: rx.threshold(rx.BinaryPerceptron(kappa=0.), "capacity").

    Array parameters give arrays.  Raises ValueError for an unknown threshold, one that this model has not, and a parameter that is given although
    it is solved for, or missing; a point without a solution is flagged and NaN.
    """
    require_float64()
    definition = definition_of(type(model), name)
    if options:
        raise ValueError(f"{', '.join(options)}: threshold {name!r} has no such option")
    solved = definition.parameter
    given = getattr(model, solved)
    if given is not None and not _is_default(model, solved):
        raise ValueError(f"{solved} = {given}: threshold {name!r} solves for {solved}; leave it out")
    for other in definition.needs:
        if getattr(model, other) is None:
            raise ValueError(f"{other} is missing: threshold {name!r} needs {other}=...")
    if given is not None:
        model = eqx.tree_at(
            lambda m: getattr(m, solved), model, None, is_leaf=lambda x: x is INFINITE or x is given
        )
    kernel = _Kernel(name, definition)
    out = batched(kernel, model, None, refine=lambda t: t.code == CODE["not converged"])
    return out


def _is_default(model: Any, name: str) -> bool:
    default = next(f.default for f in model.__dataclass_fields__.values() if f.name == name)
    value = getattr(model, name)
    return value is default or (
        np.ndim(value) == 0 and not isinstance(value, jax.core.Tracer) and value == default
    )


class _Kernel(NamedTuple):
    name: str
    definition: "Definition | Explicit"

    def __call__(self, model: Any, _: None, refinement: int) -> Threshold:
        if isinstance(self.definition, Explicit):
            value, columns, residual, converged = self.definition.find(model, 128 * refinement)
            code = jnp.where(converged, self.definition.status(model, value), CODE["no solution"])
            return self._answer(model, value, columns, code, converged, residual)
        augmented = Augmented(model, self.definition)
        root = find_root(augmented, None, refinement)
        n = augmented.nodes * refinement
        problem = augmented.problem(root.x)
        state = problem.state(root.x[:-1], n)
        columns = self.definition.columns(problem, state, n)
        value = augmented.value(root.x)
        finite = jnp.all(jnp.stack([jnp.isfinite(v) for v in (value, *columns.values())]))
        converged = root.converged & finite & problem.inside(state)
        # an overlap that runs to 1, or a parameter to the end of its range, says that the condition is met nowhere
        lost = (jnp.abs(root.x[-1]) > _FAR_PARAMETER) | jnp.any(root.x[:-1] > _FAR_COORDINATE)
        lost = jnp.where(lost, CODE["no solution"], CODE["not converged"])
        code = jnp.where(converged, self.definition.status(problem, state, n), lost)
        return self._answer(model, value, columns, code, converged, root.residual)

    def _answer(self, model, value, columns, code, converged, residual) -> Threshold:
        keep = lambda x: jnp.where(converged, x, jnp.nan)
        columns, residual = jax.tree.map(keep, columns), jax.lax.stop_gradient(residual)
        return Threshold(
            model, self.name, self.definition.parameter, keep(value), columns, code, converged, residual
        )


# ---------------------------------------------------------------- conditions


def _entropy(problem: Problem, state: State, n: int) -> Array:
    phi = problem.phi(state, n)
    return problem.thermal(state, phi, n)[1] if hasattr(problem.model, "beta") else phi  # type: ignore[attr-defined]


def _replicon(problem: Problem, state: State, n: int) -> Array:
    return state.parts["replicon"]


def _overlap(problem: Problem, state: State, n: int) -> dict[str, Array]:
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


def _capacity_guesses(model: BinaryPerceptron) -> tuple[Array, ...]:
    bound = first_moment_capacity(model.kappa)  # type: ignore[arg-type]
    singular = 2.0 / jnp.pi * gardner_capacity(jnp.asarray(model.kappa, float))
    return (jnp.minimum(0.8 * bound, 0.9 * singular), 0.4 * bound)


def _margin_guesses(model: BinaryPerceptron) -> tuple[Array, ...]:
    bound = inverse_H(jnp.exp(-LOG2 / jnp.asarray(model.alpha, float)))
    return (bound - 0.2, bound - 0.6, bound - 0.05)


def _instability_guesses(fraction_of: float) -> Callable[[Any], tuple[Array, ...]]:
    def guesses(model: Any) -> tuple[Array, ...]:
        singular = fraction_of * gardner_capacity(jnp.asarray(model.kappa, float))
        return tuple(f * singular for f in (0.8, 0.5, 0.3, 0.95, 0.15))

    return guesses


def _freezing_guesses(model: BinaryPerceptron) -> tuple[Array, ...]:
    return tuple(jnp.full((), b) for b in (3.0, 1.0, 8.0, 0.3))


# ---------------------------------------------------------------- thresholds without a saddle


class Explicit(NamedTuple):
    """A threshold in closed form, or the root of one explicit function: find(model, n) -> (value, columns, residual, converged)."""

    parameter: str
    find: Callable[[Any, int], tuple[Array, dict[str, Array], Array, Array]]
    status: Callable[[Any, Array], Array]
    needs: tuple[str, ...] = ()


def _spherical_capacity(model: SphericalPerceptron, n: int):
    value = gardner_capacity(jnp.asarray(model.kappa, float))
    return value, dict(q=jnp.ones(())), jnp.zeros(()), jnp.isfinite(value)


def _spherical_margin(model: SphericalPerceptron, n: int):
    target = jnp.log(jnp.asarray(model.alpha, float))
    root = bracketed_root(
        lambda k: jnp.log(gardner_capacity(k)) - target, jnp.asarray(-8.0), jnp.asarray(200.0)
    )
    return root.value, dict(q=jnp.ones(())), root.residual, root.converged


def _symmetric_capacity(model: SymmetricPerceptron, n: int):
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


#: every threshold, by name and model
THRESHOLDS: dict[str, dict[type, Definition | Explicit]] = {
    "capacity": {
        BinaryPerceptron: Definition("alpha", True, _capacity_guesses, _entropy, _overlap),
        SymmetricPerceptron: Explicit("alpha", _symmetric_capacity, _annealed, ("kappa",)),
        SphericalPerceptron: Explicit("alpha", _spherical_capacity, _convex),
    },
    "kappa-max": {
        BinaryPerceptron: Definition("kappa", False, _margin_guesses, _entropy, _overlap, needs=("alpha",)),
        SphericalPerceptron: Explicit("kappa", _spherical_margin, _convex, ("alpha",)),
    },
    "freezing": {
        BinaryPerceptron: Definition(
            "beta", True, _freezing_guesses, _entropy, _energy_and_overlap, needs=("alpha",)
        ),
    },
    "dat": {
        BinaryPerceptron: Definition("alpha", True, _instability_guesses(2.0 / np.pi), _replicon, _overlap),
        SphericalPerceptron: Definition("alpha", True, _instability_guesses(1.0), _replicon, _break),
    },
}


def definition_of(model: type, name: str) -> Definition | Explicit:
    """The definition of a threshold for a class of models; ValueError says which exist."""
    if name not in THRESHOLDS:
        raise ValueError(f"threshold {name!r} is unknown; there are {', '.join(THRESHOLDS)}")
    if model not in THRESHOLDS[name]:
        has = [t for t, models in THRESHOLDS.items() if model in models]
        raise ValueError(
            f"threshold {name!r} is not defined for {model.__name__}; it has {', '.join(has) or 'none'}"
        )
    return THRESHOLDS[name][model]
