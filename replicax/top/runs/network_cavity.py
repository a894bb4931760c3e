"""Belief propagation on recurrent networks: how many fixed points there are, and around one."""

import math

import numpy as np

from replicax.simulation import Statistic
from replicax.simulation.instances import network_instances
from replicax.simulation.network_cavity import AROUND, count_around
from replicax.top.runs import KEY, Run, enter, integer


def _count(*, beta, eta, field, couplings, N, samples, key, **how) -> dict[str, Statistic]:
    if float(beta) != math.inf:
        raise ValueError(f"beta = {float(beta):g} is not allowed: fixed points are counted, beta = inf")
    if field != 0.0:
        raise ValueError(f"field = {field:g} is not allowed: `strength` is the field along the reference")
    instances = network_instances(N=N, samples=samples, eta=eta, couplings=couplings, key=key)
    return count_around(instances, key=key, **how)


enter(
    "bp",
    "belief propagation with all cavity messages",
    {
        "recurrent-network": Run(
            _count,
            dict(
                N=integer(200, 2, 2**12, "number of spins; the default is the N of the model, where finite"),
                samples=integer(20, 1, np.inf, "number of networks"),
                key=KEY,
                strength=dict(
                    default=0.0, low=0.0, high=np.inf, numeric=True, doc="field along the reference"
                ),
                around=dict(default="fbp", choices=AROUND, numeric=False, doc="what finds the reference"),
                damping=dict(default=0.3, low=0.0, high=0.99, numeric=True, doc="share of the old messages"),
                iterations=integer(1000, 1, np.inf, "largest number of iterations"),
                sweeps=integer(100, 1, np.inf, "of the search for the reference"),
            ),
        )
    },
)
