r"""A branch: the solutions of one problem along one parameter, by pseudo-arclength through folds.

A table with one row a point, and labelled special points: folds, zeros of the entropy (``capacity``-like points) and of the replicon.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from replicax.answers.solve import Solution, evaluate, require_float64, solve
from replicax.numerics.continuation import ContinuationSettings, continue_branch
from replicax.theory.ansatz import RS, Ansatz
from replicax.theory.free_entropy import Problem
from replicax.vocabulary.limits import INFINITE

#: the most a residual may be along a branch
TOLERANCE = 1e-11
#: a branch ends where 1 - q falls below this (the map is flat there)
EDGE = 1e-6


@dataclasses.dataclass(frozen=True)
class SpecialPoint:
    """A labelled row of a branch: kind "fold", "entropy = 0", "replicon = 0" or "end"."""

    kind: str
    value: float
    row: int


@dataclasses.dataclass(frozen=True)
class Branch:
    """Rows along the curve; `columns` as of a `Solution`, plus the varied parameter; `status` says why the branch ends."""

    vary: str
    columns: dict[str, np.ndarray]
    special: tuple[SpecialPoint, ...]
    status: str
    solution: Solution

    def __len__(self) -> int:
        return len(self.columns[self.vary])

    def __getattr__(self, name: str) -> np.ndarray:
        columns = object.__getattribute__(self, "columns")
        if name in columns:
            return columns[name]
        raise AttributeError(f"this branch has no {name!r}; it has {', '.join(columns)}")

    def table(self) -> dict[str, np.ndarray]:
        """Columns by name; `special` labels the special rows."""
        labels = np.full(len(self), "", dtype=object)
        for point in self.special:
            labels[point.row] = point.kind
        return {**self.columns, "special": labels}

    def __repr__(self) -> str:
        p = self.columns[self.vary]
        marks = "".join(f"\n  {s.kind:<14} {self.vary} = {s.value:.12g}" for s in self.special)
        return (
            f"branch of {len(self)} points, {self.vary} from {p[0]:.6g} to {p[-1]:.6g}: {self.status}{marks}"
        )


def branch(
    model: Any,
    ansatz: Ansatz | type[Ansatz] | None = None,
    *,
    vary: str,
    start: float,
    stop: float,
    max_step: float = 0.1,
) -> Branch:
    """Follow the solution of `model` and `ansatz` in the parameter `vary` from `start` towards `stop`, through folds.

    `vary` names a parameter of the model or of the ansatz that the object leaves out (or whose value is replaced); `max_step` is the largest step in
    arclength, relative to the size of coordinates and parameter.  Ends at `stop`, back at `start`, or where the solution ceases to
    exist (`status`).  Raises ValueError for an unknown parameter, values out of its range, and no solution at `start`.
    """
    require_float64()
    ansatz = RS() if ansatz is None else ansatz() if isinstance(ansatz, type) else ansatz
    begin, end = (_at(model, ansatz, vary, value) for value in (start, stop))
    ansatz.problems(begin[0])
    end[1].problems(end[0])
    first = solve(*begin)
    if not bool(first.converged):
        raise ValueError(f"{vary} = {start}: no solution to start from ({first.status})")
    index = int(np.argmax([np.all(np.isfinite(x)) for x in first.coordinates]))
    if first.coordinates[index].shape[-1] == 0:
        return _explicit(model, ansatz, vary, start, stop)
    problem = functools.partial(_problem, vary=vary, index=index)
    curve = continue_branch(
        _map(vary, index),
        first.coordinates[index],
        float(start),
        p_min=min(start, stop),
        p_max=max(start, stop),
        direction=1 if stop > start else -1,
        settings=ContinuationSettings(ds=0.3 * max_step, ds_max=max_step, tol=TOLERANCE),
        events=_events(vary, index, problem(begin, jnp.asarray(float(start)))),
        args=(jax.tree.map(lambda x: jnp.asarray(x, float), begin),),
    )
    solution = evaluate(*_at(model, ansatz, vary, curve.p), jnp.asarray(curve.u), index, 2 * TOLERANCE)
    columns = {vary: curve.p, **{k: np.asarray(v) for k, v in solution.table().items()}, "arclength": curve.s}
    special = tuple(SpecialPoint(p.kind.removeprefix("event:"), p.p, p.index) for p in curve.special)
    return Branch(vary, columns, special, curve.status, solution)


def _at(model: Any, ansatz: Ansatz, vary: str, value: Any) -> tuple[Any, Ansatz]:
    """Model and ansatz with the parameter set (checked as at construction)."""
    for i, owner in enumerate((model, ansatz)):
        fields = {f.name: f for f in dataclasses.fields(owner)}
        if vary in fields and fields[vary].metadata.get("numeric"):
            new = dataclasses.replace(owner, **{vary: value})
            return (new, ansatz) if i == 0 else (model, new)
    known = [f.name for o in (model, ansatz) for f in dataclasses.fields(o) if f.metadata.get("numeric")]
    raise ValueError(f"vary = {vary!r} is not a parameter; there are {', '.join(known)}")


def _problem(parameters: tuple[Any, Ansatz], p: Any, *, vary: str, index: int) -> Problem:
    model, ansatz = parameters
    owner = model if hasattr(model, vary) else ansatz
    new = eqx.tree_at(lambda o: getattr(o, vary), owner, p, is_leaf=lambda x: x is None or x is INFINITE)
    model, ansatz = (new, ansatz) if owner is model else (model, new)
    return ansatz.problems(model)[index]


@functools.cache
def _map(vary: str, index: int) -> Callable:
    def residual(u, p, parameters):
        problem = _problem(parameters, p, vary=vary, index=index)
        state = problem.state(u, problem.final(problem.nodes))
        return jnp.where(problem.inside(state, EDGE), state.residual, jnp.nan)

    return residual


@functools.cache
def _event(vary: str, index: int, column: str) -> Callable:
    def value(u, p, parameters):
        problem = _problem(parameters, p, vary=vary, index=index)
        state = problem.state(u, problem.nodes)
        return problem.columns(state, problem.phi(state, problem.nodes), problem.nodes)[column]

    return value


def _events(vary: str, index: int, problem: Problem) -> dict[str, Callable]:
    state = problem.state(problem.starts()[0], problem.nodes)
    columns = problem.columns(state, problem.phi(state, problem.nodes), problem.nodes)
    wanted = [c for c in ("entropy",) if problem.counts and c in columns] + [
        c for c in ("replicon",) if c in columns
    ]
    return {f"{column} = 0": _event(vary, index, column) for column in wanted}


def _explicit(model: Any, ansatz: Ansatz, vary: str, start: float, stop: float, points: int = 101) -> Branch:
    """A problem without unknowns has no folds: a plain grid."""
    grid = np.linspace(start, stop, points)
    solution = solve(*_at(model, ansatz, vary, grid))
    columns = {
        vary: grid,
        **{k: np.asarray(v) for k, v in solution.table().items()},
        "arclength": np.abs(grid - start),
    }
    return Branch(vary, columns, (SpecialPoint("end", float(stop), points - 1),), "reached the end", solution)
