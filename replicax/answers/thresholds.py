r"""Thresholds: roots of an augmented system (saddle equations + one condition), never solves nested in solves.

The model leaves out the parameter to solve for; the unknowns are the coordinates of the saddle and that parameter (in logarithms where it is
positive).  Like every root here they are differentiable in the remaining parameters by the implicit function theorem.

The machinery is here; what a threshold *is* stands in `answers.lines`, one file a topic: `define(name, Model, definition)`.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from replicax.answers.solve import BLOCKS, batched, find_root, require_float64
from replicax.answers.status import CODE, status_text
from replicax.theory.ansatz import RS
from replicax.theory.free_entropy import Problem, Searched, State
from replicax.theory.models import check_parameter
from replicax.vocabulary.limits import INFINITE, is_concrete, number

_FAR_PARAMETER = 12.0
_FAR_COORDINATE = 35.0
#: nodes of what is known without a system
NODES = 128
_ROUNDING = 4e-15
#: a less accurate value (relative to 1 + |value|) is looked for again with finer rules
_ACCURACY = 1e-8


class Threshold(eqx.Module):
    """The answer to `threshold`: `value` of the parameter, further columns as attributes, and how far to trust it.

    quadrature_error: change of the value under refinement of every rule (jamming: with that of its limit, the column `error`), and rounding.
    """

    model: Any
    name: str = eqx.field(static=True)
    parameter: str = eqx.field(static=True)
    value: Array
    columns: dict[str, Array]
    code: Array
    converged: Array
    residual: Array
    quadrature_error: Array
    #: of what was found, where more than columns can be read from it (jamming)
    coordinates: Array | None = None

    def __getattr__(self, name: str) -> Any:
        columns = object.__getattribute__(self, "columns")
        if name in columns:
            return columns[name]
        raise AttributeError(f"threshold {self.name!r} has no {name!r}; it has value, {', '.join(columns)}")

    @property
    def status(self) -> Any:
        return status_text(self.code)

    def parisi(self) -> Any:
        """Jamming: c_i = lim m_i/(1 - q_k), q_i and the stabilities of the levels (`theory.hierarchy.Parisi`); k = inf: of the most steps.

        Here, in `gaps` and in `forces` ValueError for another threshold.
        """
        from replicax.answers.lines.jamming import parisi

        return parisi(self)

    def gaps(self, x: Array) -> Array:
        """Jamming: the density of the gaps x = Delta - kappa > 0 of all patterns, of integral 1 - contacts/alpha: (.., *x.shape)."""
        from replicax.answers.lines.jamming import gaps

        return gaps(self, jnp.asarray(x, float))

    def forces(self, f: Array) -> Array:
        """Jamming: the density of the forces f > 0 of contacts, in units of their mean: (.., *f.shape).

        A pattern whose field h of the innermost level is below 0 is a contact, of force -h.  In the limit k -> inf both densities are power laws at
        small arguments, f^.42311 and x^-.41269 (Charbonneau et al., Nature Communications 5 (2014) 3725); k steps have that of the gaps down to
        x = (1 - q_{k-1})^(1/2), about 1/c_k^(1/2), and constants below; that of the forces sets in later.
        """
        from replicax.answers.lines.jamming import forces

        return forces(self, jnp.asarray(f, float))

    def table(self) -> dict[str, Any]:
        trust = dict(converged=self.converged, status=self.status)
        error = dict(residual=self.residual, quadrature_error=self.quadrature_error)
        return {"value": self.value, **trust, **self.columns, **error}

    def __repr__(self) -> str:
        if isinstance(self.value, jax.core.Tracer):
            return f"Threshold({self.name}, traced)"
        rest = ", ".join(
            f"{k}={np.array2string(np.asarray(v), precision=10)}" for k, v in self.columns.items()
        )
        value = np.array2string(np.asarray(self.value), precision=13, threshold=8)
        return f"{self.name}: {self.parameter} = {value} ({self.status}; {rest})"


Options = dict[str, Any]


def _rs(model: Any, options: Options) -> Problem:
    return RS().problems(model)[0]


class Definition(NamedTuple):
    """One threshold of one model: which parameter, where to look, what must vanish, what else to report.

    starts(model, options) -> guesses of the parameter; condition(problem, state, n) = 0; columns(problem, state, n) -> further results;
    status(problem, state, n) -> code where converged; problem(model, options): the saddle (default RS); options: name -> metadata as of
    a field of a model; absent(model, options, n) -> True where the condition is known to be met nowhere, whatever a search for it would say.
    The parameter is a field of the model, or (where the model has none of that name) an entry of the options.
    """

    parameter: str
    positive: bool
    starts: Callable[[Any, Options], tuple[Array, ...]]
    condition: Callable[[Problem, State, int], Array]
    columns: Callable[[Problem, State, int], dict[str, Array]]
    status: Callable[[Problem, State, int], Array] = lambda problem, state, n: jnp.asarray(CODE["ok"])
    needs: tuple[str, ...] = ()
    problem: Callable[[Any, Options], Problem] = _rs
    options: Mapping[str, Mapping[str, Any]] = {}
    absent: Callable[[Any, Options, int], Array] = lambda model, options, n: jnp.zeros((), bool)

    def system(self, model: Any, options: Options) -> "Augmented":
        return Augmented(model, options, self)


class Explicit(NamedTuple):
    """A threshold in closed form, or with a search of its own: find(model, options, n) -> (value, columns, residual, converged), then
    `coordinates` if more is to be read from what was found.

    largest_block: points in one compiled batch (1: a search that takes its own branches); failure: the status where nothing is found; error:
    the column that says how accurate the value is (default: it is found again with half as many nodes).
    """

    parameter: str
    find: Callable[[Any, Options, int], tuple]
    status: Callable[[Any, Array], Array] = lambda model, value: jnp.asarray(CODE["ok"])
    needs: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = {}
    largest_block: int = BLOCKS[-1]
    failure: str = "no solution"
    error: str | None = None


class System(NamedTuple):
    """A threshold with a map of its own: system(model, options) -> what `Augmented` is (a problem with the parameter among its coordinates)."""

    parameter: str
    system: Callable[[Any, Options], Any]
    needs: tuple[str, ...] = ()
    options: Mapping[str, Mapping[str, Any]] = {}


AnyDefinition = Definition | Explicit | System


class Augmented(Searched):
    """The saddle of a model together with the threshold's condition; coordinates: those of the saddle, then the parameter.

    starts(), state(x, n), absent(n) as of a problem; value(x): the parameter; columns(x, n) and code(x, n): further results, and the
    status where converged; inside(x, n): whether the coordinates mean anything.
    """

    model: Any
    options: Options
    definition: Definition = eqx.field(static=True)

    def value(self, x: Array) -> Array:
        return jnp.exp(x[-1]) if self.definition.positive else x[-1]

    def at(self, value: Array) -> Problem:
        """The saddle at a value of the parameter."""
        name = self.definition.parameter
        if not hasattr(self.model, name):
            return self.definition.problem(self.model, {**self.options, name: value})
        pick = lambda m: getattr(m, name)
        model = eqx.tree_at(pick, self.model, value, is_leaf=lambda x: x is None or x is INFINITE)
        return self.definition.problem(model, self.options)

    def starts(self) -> tuple[Array, ...]:
        def at(guess: Array) -> Array:
            last = jnp.log(guess) if self.definition.positive else guess
            return jnp.stack([jnp.append(s, last) for s in self.at(guess).starts()[:2]])

        guesses = jnp.stack([jnp.asarray(g, float) for g in self.definition.starts(self.model, self.options)])
        return tuple(x for pair in jax.vmap(at)(guesses) for x in pair)

    def absent(self, n: int) -> Array:
        return self.definition.absent(self.model, self.options, n)

    def state(self, x: Array, n: int) -> State:
        problem = self.at(self.value(x))
        state = problem.state(x[:-1], n)
        condition = self.definition.condition(problem, state, n)
        return state._replace(residual=jnp.append(state.residual, condition))

    def _saddle(self, x: Array, n: int) -> tuple[Problem, State]:
        problem = self.at(self.value(x))
        return problem, problem.state(x[:-1], n)

    def columns(self, x: Array, n: int) -> dict[str, Array]:
        return self.definition.columns(*self._saddle(x, n), n)

    def code(self, x: Array, n: int) -> Array:
        return self.definition.status(*self._saddle(x, n), n)

    def inside(self, x: Array, n: int) -> Array:
        problem, state = self._saddle(x, n)
        return problem.inside(state)


def threshold(model: Any, name: str, **options: Any) -> Threshold:
    """The threshold `name` of a model that leaves out the parameter to solve for: rx.threshold(rx.BinaryPerceptron(kappa=0.), "capacity").

    options: those of the threshold (`replicax list`), numbers or arrays like the parameters of the model.  Array parameters give arrays.  Raises
    ValueError for an unknown threshold or option, one that this model has not, and a parameter that is given although it is solved for, or
    missing; a point without a solution is flagged and NaN.
    """
    require_float64()
    definition = definition_of(type(model), name)
    words, numbers = _checked(options, definition, name)
    solved = definition.parameter
    given = getattr(model, solved, None)
    if given is not None and not _is_default(model, solved):
        raise ValueError(f"{solved} = {given}: threshold {name!r} solves for {solved}; leave it out")
    for other in definition.needs:
        if getattr(model, other) is None:
            raise ValueError(f"{other} is missing: threshold {name!r} needs {other}=...")
    if given is not None:
        model = eqx.tree_at(
            lambda m: getattr(m, solved), model, None, is_leaf=lambda x: x is INFINITE or x is given
        )
    kernel = _Kernel(name, definition, words)
    largest = definition.largest_block if isinstance(definition, Explicit) else BLOCKS[-1]
    refine = _lost if getattr(definition, "error", None) else lambda t: _lost(t) | _inaccurate(t)
    return batched(kernel, (model, numbers), None, refine=refine, largest=largest)


def _lost(answer: Threshold) -> Array:
    return answer.code == CODE["not converged"]


def _inaccurate(answer: Threshold) -> Array:
    return answer.converged & ~(answer.quadrature_error <= _ACCURACY * (1.0 + jnp.abs(answer.value)))


def _checked(
    given: Mapping[str, Any], definition: AnyDefinition, name: str
) -> tuple[tuple[tuple[str, Any], ...], Options]:
    """Options with their defaults: words (they select the compiled program), and numbers; `finite`: those known to be no limits."""
    known = definition.options
    for option in given:
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise ValueError(f"{option}: threshold {name!r} has no such option; {has}")
    words, numbers, finite = [], {}, []
    for option, meta in known.items():
        value = given.get(option, meta.get("default"))
        if "choices" in meta:
            if value not in meta["choices"]:
                raise ValueError(f"{option} = {value!r} is not one of {', '.join(map(str, meta['choices']))}")
        elif value is not None:
            value = number(value)
            check_parameter(option, value, meta)
        if "choices" in meta or value is None or value is INFINITE or isinstance(value, str):
            words.append((option, value))
        else:
            numbers[option] = value
            if meta.get("infinite") and is_concrete(value) and np.all(np.isfinite(value)):
                finite.append(option)
    return (*words, ("finite", tuple(finite))), numbers


def _is_default(model: Any, name: str) -> bool:
    default = next(f.default for f in model.__dataclass_fields__.values() if f.name == name)
    value = getattr(model, name)
    return value is default or (
        np.ndim(value) == 0 and not isinstance(value, jax.core.Tracer) and value == default
    )


class _Kernel(NamedTuple):
    name: str
    definition: AnyDefinition
    words: tuple[tuple[str, Any], ...]

    def __call__(self, parameters: tuple[Any, Options], _: None, refinement: int) -> Threshold:
        model, numbers = parameters
        options = {**dict(self.words), **numbers}
        if isinstance(self.definition, Explicit):
            n, name = NODES * refinement, self.definition.error
            value, columns, residual, converged, *more = self.definition.find(model, options, n)
            rough = value if name else self.definition.find(model, options, n // 2)[0]
            error = columns[name] if name else jnp.abs(value - rough) + _ROUNDING * jnp.abs(value)
            failure = CODE[self.definition.failure]
            code = jnp.where(converged, self.definition.status(model, value), failure)
            return self._answer(model, value, columns, code, converged, residual, error, *more)
        system = self.definition.system(model, options)
        n = system.nodes * refinement
        absent, starts = jax.lax.stop_gradient(system.absent(n)), system.starts()
        root = find_root(system, None, refinement, (starts, absent))
        value, columns = system.value(root.x), system.columns(root.x, system.final(n))
        finite = jnp.all(jnp.stack([jnp.isfinite(v) for v in (value, *columns.values())]))
        converged = root.converged & finite & system.inside(root.x, n) & ~absent
        # an overlap that runs to 1, or a parameter to the end of its range, says that the condition is met nowhere
        away = jnp.min(jnp.abs(root.x[-1] - jnp.stack(starts)[:, -1]))
        lost = absent | (away > _FAR_PARAMETER) | jnp.any(root.x[:-1] > _FAR_COORDINATE)
        lost = jnp.where(lost, CODE["no solution"], CODE["not converged"])
        code = jnp.where(converged, system.code(root.x, n), lost)
        assert root.moved is not None, "systems are polished"
        error = jnp.abs(system.value(root.x - root.moved) - value) + _ROUNDING * jnp.abs(value)
        return self._answer(model, value, columns, code, converged, root.residual, error)

    def _answer(self, model, value, columns, code, converged, residual, error, coordinates=None) -> Threshold:
        keep = lambda x: jnp.where(converged, x, jnp.nan)
        trust = code, converged, *jax.lax.stop_gradient((residual, keep(error)))
        which = (self.name, self.definition.parameter)
        return Threshold(model, *which, keep(value), jax.tree.map(keep, columns), *trust, coordinates)


_THRESHOLDS: dict[str, dict[type, AnyDefinition]] = {}


def define(name: str, model: type, definition: AnyDefinition) -> None:
    """Enter a threshold of a class of models."""
    _THRESHOLDS.setdefault(name, {})[model] = definition


@functools.cache
def thresholds() -> dict[str, dict[type, AnyDefinition]]:
    """Every threshold, by name and model."""
    package = importlib.import_module("replicax.answers.lines")
    for room in pkgutil.iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{room.name}")
    return dict(sorted(_THRESHOLDS.items()))  # in whatever order the rooms were imported


def definition_of(model: type, name: str) -> AnyDefinition:
    """The definition of a threshold for a class of models; ValueError says which exist."""
    known = thresholds()
    if name not in known:
        raise ValueError(f"threshold {name!r} is unknown; there are {', '.join(known)}")
    if model not in known[name]:
        has = [t for t, models in known.items() if model in models]
        raise ValueError(
            f"threshold {name!r} is not defined for {model.__name__}; it has {', '.join(has) or 'none'}"
        )
    return known[name][model]
