"""Dynamics of recurrent and rate networks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from replicax.simulation import Statistic
from replicax.simulation.codes import DECODERS, SEARCHES, attractors, correct, represent
from replicax.simulation.dynamics import States, integrate, parallel, sequential
from replicax.simulation.instances import network_instances
from replicax.simulation.network_messages import reinforced_messages
from replicax.simulation.searches import entropic_greedy, greedy, replicated_dynamics, stochastic_spins
from replicax.top.runs import KEY, Run, enter, integer


def _instances(*, beta, eta, couplings, N, samples, key, strict) -> tuple[Any, dict[str, Any]]:
    """Networks of a model at zero temperature, and the arguments that all their searches take."""
    if float(beta) != math.inf:
        raise ValueError(f"beta = {float(beta):g} is not allowed: the dynamics is at zero temperature")
    instances = network_instances(N=N, samples=samples, eta=eta, couplings=couplings, key=key)
    return instances, dict(ties="satisfied" if strict else "violated", key=key)


_LAW = ("beta", "eta", "couplings", "N", "samples", "key", "strict")


def _search(function: Callable[..., States]) -> Callable[..., dict[str, Statistic]]:
    """A search for fixed points as a run of the recurrent network."""

    def run(**params: Any) -> dict[str, Statistic]:
        instances, common = _instances(**{name: params.pop(name) for name in _LAW})
        return function(instances, **common, **params).statistics()

    return run


def _without_field(function: Callable[..., States]) -> Callable[..., States]:
    def search(instances: Any, *, field: float, **params: Any) -> States:
        if field != 0.0:
            raise ValueError(f"field = {field:g} is not allowed: this search has no external field")
        return function(instances, **params)

    return search


def _code(function: Callable[..., Any]) -> Callable[..., dict[str, Statistic]]:
    """Fixed points as words of a code."""

    def run(**params: Any) -> dict[str, Statistic]:
        instances, common = _instances(**{name: params.pop(name) for name in _LAW})
        found = _without_field(function)(instances, **common, **params)
        return found if isinstance(found, dict) else found.statistics()

    return run


_COMMON = dict(
    N=integer(200, 2, 2**14, "number of spins; the default is the N of the model, where finite"),
    samples=integer(20, 1, np.inf, "number of networks"),
    key=KEY,
    strict=dict(
        default=False,
        boolean=True,
        numeric=False,
        doc="the other convention: a spin with zero total field is not violated",
    ),
)
_TIME = lambda default, doc: dict(default=default, low=0.0, high=np.inf, numeric=True, doc=doc)

for _name, _doc, _function, _budget in (
    (
        "parallel",
        "zero temperature, all spins at once, until a fixed point or a cycle",
        parallel,
        dict(steps=integer(1000, 1, np.inf, "largest number of updates")),
    ),
    (
        "sequential",
        "zero temperature, one spin at a time in random order",
        sequential,
        dict(sweeps=integer(300, 1, np.inf, "largest number of sweeps")),
    ),
    (
        "fbp",
        "reinforced messages that look for fixed points",
        reinforced_messages,
        dict(sweeps=integer(60, 1, np.inf, "largest number of sweeps")),
    ),
):
    enter(_name, _doc, {"recurrent-network": Run(_search(_function), _COMMON | _budget)})

_NUMBER = lambda default, low, high, doc: dict(default=default, low=low, high=high, numeric=True, doc=doc)
_BUDGET = dict(sweeps=integer(300, 2, np.inf, "largest number of sweeps"))

for _name, _doc, _function, _budget in (
    ("greedy", "single flips that do not raise the number of violated spins", greedy, _BUDGET),
    (
        "entropic-greedy",
        "single flips that raise the likelihood of smoothed states",
        entropic_greedy,
        dict(smooth=_NUMBER(0.7, 0.0, 1.0, "mean of the spins at the start; it rises to 1")) | _BUDGET,
    ),
    (
        "replicated-dynamics",
        "copies of sequential dynamics that attract each other; their sweeps add up",
        replicated_dynamics,
        dict(
            copies=integer(3, 2, 1000, "number of copies"),
            gamma=_NUMBER(0.5, 0.0, np.inf, "attraction at the end"),
            sweeps=integer(300, 2, np.inf, "largest number of sweeps of all copies together, at least `copies`"),
        ),
    ),
    (
        "stochastic-spins",
        "gradient ascent of the likelihood of spins with real means",
        stochastic_spins,
        dict(rate=_NUMBER(0.2, 0.0, np.inf, "step of theta")) | _BUDGET,
    ),
):  # fmt: skip
    enter(_name, _doc, {"recurrent-network": Run(_search(_without_field(_function)), _COMMON | _budget)})

_STRENGTH = dict(
    default=0.1, low=0.0, high=np.inf, numeric=True, doc="bias of the messages towards the input"
)
_FLIP = dict(default=0.05, low=0.0, high=1.0, numeric=True, doc="fraction of spins flipped")
_SWEEPS = integer(60, 1, np.inf, "largest number of sweeps of a search")

for _name, _doc, _function, _budget in (
    (
        "code",
        "fixed points sent through a noisy channel and read again",
        correct,
        dict(
            flip=_FLIP,
            strength=_STRENGTH,
            hebb=dict(default=0.0, low=0.0, high=np.inf, numeric=True, doc="Hebbian term of the word in J"),
            decoder=dict(default="fbp", choices=DECODERS, numeric=False, doc="how a word is read"),
            sweeps=_SWEEPS,
        ),
    ),
    (
        "representation",
        "fixed points near random inputs, and near the same inputs with errors",
        represent,
        dict(flip=_FLIP, strength=_STRENGTH, sweeps=_SWEEPS),
    ),
    (
        "attractors",
        "how many fixed points of one network a new one can store, by linear programs",
        attractors,
        dict(
            N=integer(80, 2, 2**12, "number of spins; the default is the N of the model, where finite"),
            samples=integer(4, 1, np.inf, "number of networks"),
            starts=integer(600, 1, np.inf, "searches for fixed points, from random states"),
            rows=integer(8, 1, np.inf, "rows of the new network, each a linear program"),
            search=dict(
                default="sequential", choices=tuple(SEARCHES), numeric=False, doc="what looks for them"
            ),
            sweeps=integer(300, 1, np.inf, "largest number of sweeps of a search"),
        ),
    ),
):
    enter(_name, _doc, {"recurrent-network": Run(_code(_function), _COMMON | _budget)})

enter(
    "integrate",
    "Runge-Kutta 4 with a tangent vector",
    {
        "rate-network": Run(
            integrate,
            dict(
                N=integer(500, 2, 2**14, "number of units"),
                samples=integer(4, 1, np.inf, "number of networks"),
                key=KEY,
                time=_TIME(200.0, "time of measurement"),
                warmup=_TIME(100.0, "time before it"),
                step=_TIME(0.1, "step of time") | dict(low=1e-4, high=1.0),
            ),
        )
    },
)
