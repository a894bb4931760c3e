"""Message passing on perceptrons, the local entropy around what solvers find, and parallel tempering."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from replicax.simulation import Statistic, metropolis_perceptron
from replicax.simulation.cavity import belief_propagation
from replicax.simulation.channels import Committee, Margin, Rectangle, SquaredHinge, UFunction, finite
from replicax.simulation.focusing import focus, protocol, reinforcement
from replicax.simulation.gamp import GampResult, gamp
from replicax.simulation.gradient import spherical_gradient, stochastic_weights
from replicax.simulation.instances import PATTERNS, PerceptronInstances, perceptron_instances
from replicax.simulation.learning import Solutions
from replicax.simulation.local_entropy import LocalEntropyCurve, local_entropy
from replicax.simulation.outcomes import CONVERGED
from replicax.simulation.sbpi import sbpi
from replicax.top.runs import Run, enter, integer
from replicax.top.runs.solvers import BINARY, COMMITTEE, DAMPING, at_zero_margin, common, number, words

#: fields gamma of the local entropy that `local-entropy=true` adds
GAMMAS = (0.25, 0.5, 1.0, 1.5, 2.0)


_ITERATIONS = integer(1000, 1, np.inf, "iterations at most")

# ---------------------------------------------------------------- message passing


def _statistics(result: GampResult, instances: PerceptronInstances) -> dict[str, Statistic]:
    """Averages over the converged instances; `converged` is their fraction of all."""
    good = result.outcome[:, 0] == CONVERGED
    mean = lambda x: Statistic.from_samples(x[good, 0])
    teacher = {}
    if instances.teacher is not None:
        teacher["R"] = Statistic.from_samples((result.m[good, 0] * instances.teacher[good]).mean(1))
    return {
        "phi": mean(result.phi),
        "energy": mean(result.energy),
        "q": mean(result.q),
        **teacher,
        "iterations": Statistic.from_samples(result.iterations[:, 0]),
        "converged": Statistic.from_counts(int(good.sum()), len(good)),
    }


def _with_entropy(results: dict[str, Statistic], beta: float) -> dict[str, Statistic]:
    """entropy = phi + beta energy."""
    phi, energy = results["phi"], results["energy"]
    slope = 0.0 if beta == math.inf else beta
    # errors added as if fully correlated: an upper bound
    entropy = Statistic(phi.mean + slope * energy.mean, phi.error + slope * energy.error, phi.n)
    return {"phi": phi, "entropy": entropy, **{k: v for k, v in results.items() if k != "phi"}}


def curve_statistics(curve: LocalEntropyCurve) -> dict[str, Statistic]:
    """d_k and S_loc_k at the k-th gamma, over the instances where the branch still exists; curve_k is their fraction."""
    columns: dict[str, Statistic] = {}
    for k in range(curve.gamma.shape[1]):
        good = np.isfinite(curve.d[:, k])
        columns[f"d_{k + 1}"] = Statistic.from_samples(curve.d[good, k])
        columns[f"S_loc_{k + 1}"] = Statistic.from_samples(curve.entropy[good, k])
        columns[f"curve_{k + 1}"] = Statistic.from_counts(int(good.sum()), len(good))
    return columns


def _binary_gamp(
    *,
    alpha,
    kappa,
    beta,
    labels,
    N,
    samples,
    key,
    patterns,
    damping,
    iterations,
    around,
    passing: Callable = gamp,
    units=1,
    **options,
) -> dict[str, Statistic]:
    if units > 1 and (labels != "random" or options.get("local-entropy", False)):
        raise ValueError(
            f"units = {units} is not allowed with a teacher or local-entropy: they are of one unit"
        )
    instances = perceptron_instances(
        N=units * N, alpha=alpha, samples=samples, key=key, patterns=patterns, labels=labels
    )
    energy = float(kappa), finite(float(beta))
    channel = Margin(*energy) if units == 1 else Committee(*energy, units=units)
    result = passing(instances, channel=channel, damping=damping, iterations=iterations)
    results = _with_entropy(_statistics(result, instances), float(beta))
    return results | _around(
        instances, channel, around, key, options.get("local-entropy", False), "binary", damping
    )


def _around(
    instances, channel, around: str, key, wanted: bool, weights: str, damping: float
) -> dict[str, Statistic]:
    """The local entropy around the teacher, or around what a solver finds on the instances that it solves."""
    if not wanted:
        return {}
    if around == "teacher":
        if instances.teacher is None:
            raise ValueError("around = 'teacher' is not allowed: the labels of the model are random")
        W, kept = instances.teacher, np.ones(instances.samples, bool)
        solved = {}
    else:
        solutions = _SOLVERS[around](instances, float(np.max(channel.kappa)), key)
        W, kept, solved = solutions.W, solutions.solved, {"solved": solutions.statistics(instances)["solved"]}
        if not kept.any():
            return solved
    some = PerceptronInstances(instances.patterns[kept], instances.scale)
    curve = local_entropy(
        some, around=W[kept], gammas=GAMMAS, channel=channel, weights=weights, damping=damping
    )
    return solved | curve_statistics(curve)


def _symmetric_gamp(*, alpha, kappa, constraint, N, samples, key, patterns, damping, iterations):
    instances = perceptron_instances(N=N, alpha=alpha, samples=samples, key=key, patterns=patterns)
    channel = (Rectangle if constraint == "rectangle" else UFunction)(float(kappa))
    result = gamp(instances, channel=channel, damping=damping, iterations=iterations)
    return _with_entropy(_statistics(result, instances), math.inf)


def _spherical_gamp(
    *, alpha, kappa, beta, loss, labels, N, samples, key, patterns, damping, iterations, around, **options
):
    instances = perceptron_instances(
        N=N, alpha=alpha, samples=samples, key=key, patterns=patterns, labels=labels
    )
    channel = (Margin if loss == "errors" else SquaredHinge)(float(kappa), finite(float(beta)))
    result = gamp(instances, channel=channel, weights="spherical", damping=damping, iterations=iterations)
    results = _with_entropy(_statistics(result, instances), float(beta))
    return results | _around(instances, channel, around, key, options["local-entropy"], "spherical", damping)


_SOLVERS: dict[str, Callable[..., Solutions]] = {
    "sbpi": lambda instances, kappa, key: at_zero_margin(sbpi, kappa)(instances, key=key),
    "rbp": lambda instances, kappa, key: focus(
        instances, schedule=reinforcement(0.002, 800), kappa=kappa, lagged=True, key=key
    ),
    "fbp": lambda instances, kappa, key: focus(
        instances, schedule=protocol("pseudo", 1000), kappa=kappa, key=key
    ),
    "stochastic-weights": lambda instances, kappa, key: stochastic_weights(instances, kappa=kappa, key=key),
    "gradient": lambda instances, kappa, key: spherical_gradient(instances, kappa=kappa, eps=0.02, key=key),
}


def _curve(solvers: tuple[str, ...]) -> dict[str, Any]:
    return {
        "local-entropy": dict(
            default=False, boolean=True, numeric=False, doc=f"add the local entropy at gamma = {', '.join(map(str, GAMMAS))}"
        ),
        "around": words(solvers[0], solvers, "whose solution, or the teacher"),
    }  # fmt: skip


_PASSING = dict(damping=DAMPING, iterations=_ITERATIONS)
enter(
    "gamp",
    "message passing: Bethe free entropy, energy and overlap of single instances",
    {
        "binary-perceptron": Run(
            _binary_gamp,
            common(1001, 8, BINARY)
            | _PASSING
            | _curve(("sbpi", "rbp", "fbp", "stochastic-weights", "teacher"))
            | dict(
                units=COMMITTEE["units"]
                | dict(doc="units of a tree, each with its own N inputs: alpha = P/(units N)")
            ),
        ),
        "symmetric-perceptron": Run(_symmetric_gamp, common(1001, 8, BINARY) | _PASSING),
        "spherical-perceptron": Run(
            _spherical_gamp,
            common(800, 8, PATTERNS)
            | _PASSING
            | dict(damping=DAMPING | dict(default=0.3))
            | _curve(("gradient", "teacher")),
        ),
    },
)


def _binary_bp(**keywords: Any) -> dict[str, Statistic]:
    return _binary_gamp(around="teacher", passing=belief_propagation, **keywords)


enter(
    "bp",
    "belief propagation with all N P cavity messages: the slow reference of gamp",
    {"binary-perceptron": Run(_binary_bp, common(201, 8, BINARY) | _PASSING)},
)

# ---------------------------------------------------------------- parallel tempering


def _tempering(*, beta, rungs, first, **keywords: Any) -> dict[str, Statistic]:
    if float(beta) == math.inf:
        raise ValueError("beta = inf is not allowed: tempering needs a model with a finite beta")
    ladder = np.linspace(min(first, float(beta)), float(beta), rungs)[:-1]
    return metropolis_perceptron(beta=float(beta), ladder=ladder.tolist(), **keywords)


enter(
    "tempering",
    "parallel tempering at finite beta: a ladder of temperatures that exchange configurations",
    {
        "binary-perceptron": Run(
            _tempering,
            common(501, 4, BINARY)
            | dict(
                sweeps=integer(300, 4, np.inf, "measured sweeps"),
                warmup=integer(300, 0, np.inf, "sweeps before these"),
                rungs=integer(12, 1, 256, "temperatures, from `first` to the beta of the model"),
                first=number(0.5, 0.0, np.inf, "smallest beta"),
            ),
        )
    },
)
