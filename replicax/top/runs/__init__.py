"""Which algorithm of the simulation wing runs on which model, with which parameters: one file a topic.

A topic enters its runs by `enter(algorithm, doc, {model name: Run(..)})`; `algorithms()` is the table that `simulate`, the command line
and `replicax list` read.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from replicax.simulation import Statistic


class Run(NamedTuple):
    """One algorithm on one model.

    function    (plain parameters of the model, keywords) -> dict of `Statistic`
    parameters  name -> metadata as in the fields of models: default, doc, and low, high, integer; or
                choices; or boolean
    arrays      fields of the model that may be sequences: then every Statistic holds arrays
    """

    function: Callable[..., dict[str, Statistic]]
    parameters: Mapping[str, Mapping[str, Any]]
    arrays: tuple[str, ...] = ()


class Algorithm(NamedTuple):
    """A simulation: one line of documentation, and the models (by their registry names) it runs on."""

    doc: str
    runs: Mapping[str, Run]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.runs)


#: algorithms whose results `validate` compares with the theory
VALIDATING = ("enumeration", "metropolis", "regression")

_ALGORITHMS: dict[str, Algorithm] = {}


def enter(name: str, doc: str, runs: Mapping[str, Run]) -> None:
    """Enter an algorithm, or further models of one that is known."""
    known = _ALGORITHMS.get(name)
    _ALGORITHMS[name] = Algorithm(
        doc if known is None else known.doc, {**(known.runs if known else {}), **runs}
    )


@functools.cache
def algorithms() -> dict[str, Algorithm]:
    """Every algorithm by its name."""
    for room in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{room.name}")
    return _ALGORITHMS


def integer(default: int, low: int, high: float, doc: str) -> dict[str, Any]:
    """The metadata of an integer parameter."""
    return dict(default=default, low=low, high=high, integer=True, numeric=True, doc=doc)


KEY = dict(default=0, low=0, high=np.inf, integer=True, numeric=True, doc="seed")
