"""Dynamics of recurrent and rate networks."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from replicax.simulation import Statistic
from replicax.simulation.dynamics import States, integrate, parallel, reinforced_messages, sequential
from replicax.simulation.instances import network_instances
from replicax.top.runs import KEY, Run, enter, integer


def _search(function: Callable[..., States]) -> Callable[..., dict[str, Statistic]]:
    """A search for fixed points as a run of the recurrent network."""

    def run(
        *, J_D, beta, eta, field, couplings, N, samples, key, strict, **budget: Any
    ) -> dict[str, Statistic]:
        if float(beta) != math.inf:
            raise ValueError(f"beta = {float(beta):g} is not allowed: the dynamics is at zero temperature")
        instances = network_instances(N=N, samples=samples, eta=eta, couplings=couplings, key=key)
        ties = "satisfied" if strict else "violated"
        return function(instances, J_D=J_D, field=field, ties=ties, key=key, **budget).statistics()

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
