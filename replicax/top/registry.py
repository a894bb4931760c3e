"""What exists: models, ansätze, thresholds, algorithms and figures by name, with their parameters.

Nothing is listed here by hand: models and ansätze are the classes of the theory that have a name, their
parameters are the fields of those classes; thresholds, algorithms and figures are the tables of their rooms.
The command line, `replicax list` and the tables of the documentation are made from it.
"""

import dataclasses
import difflib
import functools
import importlib
import inspect
import itertools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np

import replicax
from replicax.answers.thresholds import thresholds
from replicax.theory.ansatz import Ansatz
from replicax.theory.models import Model, allowed_range, check_parameter


class Parameter(NamedTuple):
    """One parameter of a model or an ansatz: a number, a word, or one of a list of choices."""

    name: str
    default: Any
    meta: Mapping[str, Any]

    @property
    def given(self) -> bool:
        """True if it has a default other than "not given"."""
        return self.default is not dataclasses.MISSING and self.default is not None

    @property
    def choices(self) -> tuple:
        return (False, True) if self.meta.get("boolean") else self.meta.get("choices", ())

    @property
    def allowed(self) -> str:
        return "|".join(map(spelled, self.choices)) or allowed_range(self.meta)

    def read(self, text: str) -> Any:
        """The value of a text.  Raises ValueError naming the parameter, the text and what is allowed."""
        for option in self.choices:
            if spelled(option) == text:
                return option
        if self.choices:
            raise ValueError(f"{self.name} = {text} is not one of {', '.join(map(spelled, self.choices))}")
        if text in self.meta.get("words", ()):
            return text
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{self.name} = {text!r}: expected a number in {self.allowed}") from None
        check_parameter(self.name, value, self.meta)
        return value

    def __str__(self) -> str:
        return f"{self.name}={spelled(self.default)}" if self.given else self.name


def spelled(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def unknown(kind: str, name: str, known: Collection[str]) -> ValueError:
    """The error for a name that does not exist: what was meant, and what exists."""
    close = difflib.get_close_matches(name, known, 1, 0.6)
    guess = f" (did you mean {close[0]}?)" if close else ""
    return ValueError(f"unknown {kind} {name!r}{guess}; there are: {', '.join(known) or 'none'}")


def look_up(kind: str, name: str, table: Mapping[str, Any]) -> Any:
    """table[name], or the error that says what there is."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


# ---------------------------------------------------------------- the tables


def _named_classes(base: type) -> dict[str, type]:
    """The classes of the theory below `base` with a name of their own, in the order of their definition."""
    for room in dict.fromkeys(replicax._ROOMS):
        if room.startswith("theory."):
            importlib.import_module(f"replicax.{room}")
    found, todo = {}, [base]
    while todo:
        cls = todo.pop(0)
        todo.extend(cls.__subclasses__())
        if cls.__dict__.get("name") and cls.__module__.startswith("replicax."):
            found[cls.name] = cls
    return found


@functools.cache
def models() -> dict[str, type]:
    return _named_classes(Model)


@functools.cache
def ansatze() -> dict[str, type]:
    return _named_classes(Ansatz)


def algorithms() -> Mapping[str, Any]:
    from replicax.top import runs

    return runs.algorithms()


def figures() -> Mapping[str, Any]:
    from replicax.top import figures as drawings

    return drawings.figures()


def parameters(cls: type) -> dict[str, Parameter]:
    """The parameters of a model or an ansatz that can be typed, in the order of its fields."""
    fields = [Parameter(f.name, f.default, f.metadata) for f in dataclasses.fields(cls) if f.init]
    return {p.name: p for p in fields if p.choices or p.meta.get("numeric")}


def thresholds_of(model: type) -> dict[str, Any]:
    """The thresholds of a model: name -> definition."""
    return {name: by_model[model] for name, by_model in thresholds().items() if model in by_model}


@functools.cache
def solves(ansatz: type, model: type) -> bool:
    """Whether the ansatz has a problem for the model: asked of it with few or with all values, inside their ranges."""
    return any(_poses(_example(ansatz, fill), _example(model, fill=True)) for fill in (False, True))


def _poses(ansatz: Any, model: Any) -> bool:
    try:
        ansatz.problems(model)
    except ValueError:
        return False
    return True


def ansatze_of(model: type) -> dict[str, type]:
    return {name: ansatz for name, ansatz in ansatze().items() if solves(ansatz, model)}


def _example(cls: type, fill: bool) -> Any:
    """An object with as many (fill), or as few, of the parameters without a default as its checks allow."""
    blank = [p for p in parameters(cls).values() if not p.given]
    sizes = range(len(blank) + 1)
    for size in reversed(sizes) if fill else sizes:
        for chosen in itertools.combinations(blank, size):
            try:
                return cls(**{p.name: _middle(p.meta) for p in chosen})
            except (TypeError, ValueError):
                continue
    raise ValueError(f"no values allowed for {cls.__name__}")


def _middle(meta: Mapping[str, Any]) -> Any:
    if "choices" in meta:
        return meta["choices"][0]
    low, high = meta["low"], meta["high"]
    if np.isfinite(low) and np.isfinite(high):
        return 0.5 * (low + high)
    return low + 1.0 if np.isfinite(low) else min(0.0, high - 1.0)


# ---------------------------------------------------------------- lookups of the command line


def find_model(name: str) -> type:
    return look_up("model", name, models())


def find_ansatz(name: str, model: type) -> type:
    """An ansatz that can be solved for the model; ValueError says which can."""
    ansatz = look_up("ansatz", name, ansatze())
    if not solves(ansatz, model):
        has = ", ".join(ansatze_of(model))
        raise ValueError(f"ansatz {name} cannot be solved for {_name(model)}, which has: {has}")
    return ansatz


def find_threshold(name: str, model: type) -> Any:
    """The definition of a threshold of the model; ValueError says which it has."""
    by_model = look_up("threshold", name, thresholds())
    if model not in by_model:
        has = ", ".join(thresholds_of(model)) or "none"
        raise ValueError(f"threshold {name} is not defined for {_name(model)}, which has: {has}")
    return by_model[model]


def threshold_parameters(definition: Any) -> dict[str, Parameter]:
    """The options of a threshold."""
    return {name: Parameter(name, meta.get("default"), meta) for name, meta in definition.options.items()}


def runs_of(model: type) -> dict[str, Any]:
    """The algorithms that run on the model, each as it runs there."""
    return {name: a.runs[_name(model)] for name, a in algorithms().items() if _name(model) in a.runs}


def find_run(name: str, model: type) -> Any:
    """An algorithm on the model; ValueError says which run on it."""
    runs = look_up("algorithm", name, algorithms()).runs
    if _name(model) not in runs:
        has = ", ".join(runs_of(model)) or "none"
        raise ValueError(f"algorithm {name} does not run on {_name(model)}, which has: {has}")
    return runs[_name(model)]


def run_parameters(run: Any) -> dict[str, Parameter]:
    """The parameters of an algorithm on a model."""
    return {name: Parameter(name, meta["default"], meta) for name, meta in run.parameters.items()}


def validation_parameters(model: type, algorithm: str | None = None) -> dict[str, Parameter]:
    """The parameters of a validation: those of the algorithms of the model, and which one of them."""
    from replicax.top.runs import VALIDATING

    runs = {name: run for name, run in runs_of(model).items() if name in VALIDATING}
    if not runs:
        raise ValueError(f"validate does not run on {_name(model)}: neither does {' nor '.join(VALIDATING)}")
    chosen = Parameter("algorithm", None, dict(choices=tuple(runs), doc="only this one"))
    runs = {algorithm: runs[algorithm]} if algorithm in runs else runs
    return {"algorithm": chosen} | {
        k: p for run in reversed(runs.values()) for k, p in run_parameters(run).items()
    }


def _name(cls: type) -> str:
    return cls.__dict__["name"]


def summary(thing: Any) -> str:
    """The first paragraph of a docstring on one line."""
    return " ".join((inspect.getdoc(thing) or "").split("\n\n")[0].split())


def catalogue() -> dict[str, dict[str, dict[str, Any]]]:
    """Everything that exists, as nested tables of strings: for `replicax list` and for the documentation."""

    def described(known: Mapping[str, Parameter]) -> dict[str, str]:
        return {str(p): f"{p.meta['doc']}; {p.allowed}" for p in known.values()}

    def listed(cls: type) -> dict[str, Any]:
        return dict(summary=summary(cls), parameters=described(parameters(cls)))

    return {
        "models": {
            name: listed(cls)
            | dict(
                ansatze=list(ansatze_of(cls)),
                thresholds=[f"{t} ({d.parameter})" for t, d in thresholds_of(cls).items()],
            )
            for name, cls in models().items()
        },
        "ansatze": {name: listed(cls) | dict(models=[m for m in models() if solves(cls, models()[m])])
                    for name, cls in ansatze().items()},
        "thresholds": {
            name: dict(
                models=[f"{_name(m)} ({d.parameter})" for m, d in by_model.items()],
                parameters=described({k: p for d in by_model.values() for k, p in threshold_parameters(d).items()}),
            )
            for name, by_model in thresholds().items()
        },
        "algorithms": {
            f"{name} {model}": dict(summary=algorithm.doc, parameters=described(run_parameters(run)))
            for name, algorithm in algorithms().items()
            for model, run in algorithm.runs.items()
        },
        "figures": {name: dict(summary=summary(f)) for name, f in figures().items()},
    }  # fmt: skip
