"""The sphere: points of it that satisfy a margin of either sign, and samples of its Gibbs measure."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from replicax.simulation import Statistic
from replicax.simulation.gradient import spherical_gradient
from replicax.simulation.instances import PATTERNS, PerceptronInstances, perceptron_instances
from replicax.simulation.learning import Solutions
from replicax.simulation.linear_program import linear_program
from replicax.simulation.relaxation import relaxation
from replicax.simulation.sphere import langevin, sample_sphere
from replicax.top.runs import Run, enter, integer
from replicax.top.runs.solvers import common, number


def _instances(N, alpha, samples, key, patterns, labels) -> PerceptronInstances:
    """A teacher is drawn from {-1, +1}^N: for Gaussian patterns all teachers of one length are alike."""
    return perceptron_instances(N=N, alpha=alpha, samples=samples, key=key, patterns=patterns, labels=labels)


def _solver(solve: Callable[..., Solutions]) -> Callable[..., dict[str, Statistic]]:
    def run(
        *, alpha, kappa, beta, loss, labels, N, samples, key, patterns, **options: Any
    ) -> dict[str, Statistic]:
        if float(beta) != math.inf:
            raise ValueError(f"beta = {float(beta):g} is not allowed: solvers look for solutions, beta = inf")
        instances = _instances(N, alpha, samples, key, patterns, labels)
        return solve(instances, kappa=float(kappa), key=key, **options).statistics(instances)

    return run


def _slice(*, alpha, kappa, beta, loss, labels, N, samples, key, patterns, **options: Any):
    instances = _instances(N, alpha, samples, key, patterns, labels)
    return sample_sphere(instances, kappa=float(kappa), beta=float(beta), loss=loss, key=key, **options)


def _langevin(*, alpha, kappa, beta, loss, labels, N, samples, key, patterns, **options: Any):
    if float(beta) == math.inf:
        raise ValueError("beta = inf is not allowed: langevin needs a model with a finite beta")
    if loss != "squared-hinge":
        raise ValueError(f"loss = {loss!r} is not allowed: langevin needs a gradient, loss = squared-hinge")
    instances = _instances(N, alpha, samples, key, patterns, labels)
    return langevin(instances, kappa=float(kappa), beta=float(beta), key=key, **options)


def _enter(name: str, doc: str, function: Callable, parameters: dict[str, Any], N: int, samples: int) -> None:
    enter(name, doc, {"spherical-perceptron": Run(function, common(N, samples, PATTERNS) | parameters)})


_EPS = number(0.0, 0.0, np.inf, "margin asked for beyond kappa")
_CHAINS = integer(2, 1, 64, "independent chains on each instance; 1: no q")
_WARMUP = "sweeps before these"

_enter(
    "gradient",
    "momentum descent of the squared hinge on the sphere",
    _solver(spherical_gradient),
    dict(
        steps=integer(2500, 1, np.inf, "gradient steps at most"),
        eps=_EPS,
        momentum=number(0.9, 0.0, 0.999, "heavy ball"),
        rate=number(2.7, 0.0, np.inf, "step in units of 1/(largest curvature)"),
    ),
    400,
    8,
)
_enter(
    "relaxation",
    "relaxation perceptron: violated patterns are projected one by one",
    _solver(relaxation),
    dict(
        epochs=integer(400, 1, np.inf, "presentations of every pattern at most"),
        rate=number(1.0, 0.0, 2.0, "1: the pattern is put at the margin"),
        eps=_EPS | dict(default=0.05),
    ),
    200,
    8,
)
_enter("linear-program", "a linear program at negative margin", _solver(linear_program), {}, 200, 8)
_enter(
    "slice",
    "samples of the Gibbs measure on great circles: every loss and beta, uniform among solutions at beta = inf",
    _slice,
    dict(
        sweeps=integer(200, 4, np.inf, "measured sweeps of N moves; watch r_hat"),
        warmup=integer(100, 0, np.inf, _WARMUP),
        chains=_CHAINS,
    ),
    101,
    8,
)
_enter(
    "langevin",
    "Langevin dynamics of the squared hinge at finite beta, corrected by Metropolis tests",
    _langevin,
    dict(
        sweeps=integer(500, 4, np.inf, "measured trajectories"),
        warmup=integer(500, 0, np.inf, _WARMUP),
        chains=_CHAINS,
        leaps=integer(10, 1, 10_000, "gradients of one trajectory; 1: Langevin"),
        rate=number(1.0, 0.0, np.inf, "time step in units of N^(-1/4) / sqrt(1 + beta curvature)"),
    ),
    200,
    8,
)
