"""Exact enumeration, and finite-temperature Metropolis."""

from typing import Any

import numpy as np

from replicax.simulation import (
    Statistic,
    enumerate_fixed_points,
    enumerate_perceptron,
    enumerate_random_features,
    metropolis_perceptron,
)
from replicax.simulation.enumeration import MAX_N
from replicax.simulation.fixed_points import MAX_N as MAX_N_NETWORK
from replicax.simulation.instances import PATTERNS
from replicax.simulation.random_features import FEATURES
from replicax.top.runs import KEY, Run, enter, integer


def _network(*, strict: bool, **keywords: Any) -> dict[str, Statistic]:
    return enumerate_fixed_points(ties="satisfied" if strict else "violated", **keywords)


_PATTERNS = dict(default=PATTERNS[0], choices=PATTERNS, numeric=False, doc="law of the patterns")
_STRICT = dict(default=False, boolean=True, numeric=False, doc="a pattern with Delta = kappa is violated")
_STRICT_NETWORK = _STRICT | dict(doc="the other convention: a spin with zero total field is not violated")

_ENUMERATE = dict(
    N=integer(17, 1, MAX_N, "number of weights; the time doubles with each"),
    samples=integer(100, 1, np.inf, "number of instances"),
    key=KEY,
    patterns=_PATTERNS,
    strict=_STRICT,
)
_ENUMERATE_NETWORK = dict(
    N=integer(14, 2, MAX_N_NETWORK, "number of spins; the default is the N of the model, where finite"),
    samples=integer(100, 1, np.inf, "number of networks"),
    key=KEY,
    strict=_STRICT_NETWORK,
)
_ENUMERATE_FEATURES = dict(
    N=integer(17, 1, MAX_N, "number of features; the time doubles with each"),
    samples=integer(100, 1, np.inf, "number of instances"),
    key=KEY,
    inputs=dict(default=PATTERNS[0], choices=PATTERNS, numeric=False, doc="law of the inputs"),
    features=dict(
        default=FEATURES[0], choices=FEATURES, numeric=False, doc="features, or Gaussian equivalents"
    ),
    tests=integer(1000, 1, np.inf, "fresh inputs for the test error"),
    strict=_STRICT,
)
_METROPOLIS = dict(
    N=integer(500, 1, 2**20, "number of weights"),
    samples=integer(8, 1, np.inf, "number of instances"),
    key=KEY,
    sweeps=integer(300, 4, np.inf, "measured sweeps of N proposals"),
    warmup=integer(100, 0, np.inf, "sweeps before these"),
    chains=integer(2, 1, np.inf, "independent chains on each instance; 1: no q"),
    patterns=_PATTERNS,
    strict=_STRICT,
)

enter(
    "enumeration",
    "all 2^N states of every instance, exact",
    {
        "binary-perceptron": Run(enumerate_perceptron, _ENUMERATE),
        "symmetric-perceptron": Run(enumerate_perceptron, _ENUMERATE),
        "random-features": Run(enumerate_random_features, _ENUMERATE_FEATURES),
        "recurrent-network": Run(_network, _ENUMERATE_NETWORK, arrays=("J_D",)),
    },
)
enter(
    "metropolis",
    "single-flip Monte Carlo at finite beta (equilibrates at beta <= 1.5; watch r_hat)",
    {"binary-perceptron": Run(metropolis_perceptron, _METROPOLIS)},
)
