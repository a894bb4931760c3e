"""Further solvers of the binary perceptron: max-sum, and descents towards wide minima."""

import numpy as np

from replicax.simulation.descent import entropy_sgd, replicated_sgd
from replicax.simulation.max_sum import max_sum
from replicax.top.runs import integer
from replicax.top.runs.solvers import COMMITTEE, enter_solver, number


def _entropy_sgd(instances, *, gamma_start, gamma_stop, **keywords):
    return entropy_sgd(instances, gammas=(gamma_start, gamma_stop), **keywords)


def _replicated_sgd(instances, *, gamma_start, gamma_step, **keywords):
    return replicated_sgd(instances, gammas=(gamma_start, gamma_step), **keywords)


enter_solver(
    "max-sum",
    "reinforced max-sum: message passing at zero temperature",
    max_sum,
    dict(
        dr=number(0.005, 0.0, 1.0, "rate of reinforcement"),
        sweeps=integer(400, 1, np.inf, "sweeps at most"),
    ),
    patterns=("pm1",),
    margin=False,
    N=301,
    samples=6,
)
enter_solver(
    "replicated-sgd",
    "stochastic gradient descent of coupled replicas",
    _replicated_sgd,
    dict(
        replicas=integer(7, 1, 64, "coupled replicas"),
        epochs=integer(500, 1, np.inf, "epochs of all replicas at most"),
        batch=integer(80, 1, np.inf, "patterns of a minibatch"),
        rate=number(1.0, 0.0, np.inf, "learning rate"),
        coupling=number(0.03, 0.0, np.inf, "step towards the centre; 0: replicas alone"),
        gamma_start=number(0.3, 0.0, np.inf, "first gamma"),
        gamma_step=number(0.01, 0.0, np.inf, "its rise at every epoch"),
    )
    | COMMITTEE,
    N=501,
)
enter_solver(
    "entropy-sgd",
    "entropy-SGD on stochastic binary weights",
    _entropy_sgd,
    dict(
        steps=integer(200, 1, np.inf, "outer steps at most"),
        inner=integer(5, 1, 10_000, "Langevin steps in each"),
        rate=number(0.3, 0.0, np.inf, "learning rate of these"),
        pull=number(1.0, 0.0, 1.0, "fraction of the way to their mean"),
        gamma_start=number(0.01, 1e-12, np.inf, "first gamma"),
        gamma_stop=number(1.0, 1e-12, np.inf, "last gamma, rising geometrically"),
        noise=number(1e-3, 0.0, np.inf, "thermal noise"),
    )
    | COMMITTEE,
)
