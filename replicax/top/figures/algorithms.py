"""Where learning algorithms succeed, and how many solutions lie around what they find."""

from typing import Any

import numpy as np

from replicax.answers.thresholds import threshold
from replicax.simulation import (
    Statistic,
    focus,
    local_entropy,
    perceptron_instances,
    sbpi,
    stochastic_weights,
)
from replicax.simulation.focusing import protocol, reinforcement
from replicax.theory.models import BinaryPerceptron
from replicax.top.figures import drawn

_SOLVERS = {
    "rbp": lambda x: focus(x, schedule=reinforcement(0.002, 1000), lagged=True),
    "fbp": lambda x: focus(x, schedule=protocol("pseudo", 1000)),
    "sbpi": lambda x: sbpi(x, epochs=1000),
    "stochastic-weights": lambda x: stochastic_weights(x, steps=500),
}


@drawn("algorithm-thresholds")
def algorithm_thresholds(quick: bool = False) -> tuple[Any, Any]:
    """Fraction of instances solved against alpha, with binomial errors, beside the capacity: binary weights, kappa = 0, +-1 patterns.

    Budgets: 1000 sweeps (rbp, fbp), 1000 epochs (sbpi), 500 steps (stochastic weights). Unsolved runs stay in the denominator.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    N, samples = (201, 6) if quick else (501, 12)
    alphas = np.array([0.5, 0.65, 0.8]) if quick else np.array([0.5, 0.6, 0.65, 0.7, 0.75, 0.8])
    capacity = float(threshold(BinaryPerceptron(), "capacity").value)
    rows: dict[str, list[Statistic]] = {name: [] for name in _SOLVERS}
    for alpha in alphas:
        instances = perceptron_instances(N=N, alpha=float(alpha), samples=samples, patterns="pm1")
        for name, solver in _SOLVERS.items():
            rows[name].append(solver(instances).statistics(instances)["solved"])
    solved = np.array([[s.mean for s in rows[name]] for name in _SOLVERS])
    error = np.array([[s.error for s in rows[name]] for name in _SOLVERS])

    drawing = Figure(figsize=(6, 4), layout="constrained")
    axes = drawing.subplots()
    for k, name in enumerate(_SOLVERS):
        shift = 0.002 * (k - 1.5)
        axes.errorbar(alphas + shift, solved[k], error[k], fmt="o-", ms=4, lw=1, capsize=2, label=name)
    axes.axvline(capacity, color="k", lw=1.5)
    axes.text(capacity - 0.004, 0.5, rf"capacity {capacity:.4f}", rotation=90, va="center", ha="right")
    axes.set(
        xlabel=r"patterns per weight $\alpha$",
        ylabel=f"fraction of {samples} instances solved",
        title=f"N = {N}",
        ylim=(-0.05, 1.05),
    )
    axes.legend(loc="lower left")
    data = xr.Dataset(
        {
            "solved": (
                ("algorithm", "alpha"), solved, dict(definition="fraction of instances solved", units="1")
            ),
            "solved_err": (
                ("algorithm", "alpha"), error, dict(definition="binomial standard error (Jeffreys)", units="1")
            ),
            "capacity": ((), capacity, dict(definition="alpha at which the RS entropy vanishes", units="1")),
        },
        coords=dict(
            alpha=("alpha", alphas, dict(definition="patterns per weight", units="1")),
            algorithm=("algorithm", np.arange(len(_SOLVERS)), dict(definition=", ".join(_SOLVERS), units="1")),
        ),
        attrs=dict(N=N, samples=samples),
    )  # fmt: skip
    return drawing, data


@drawn("bp-local-entropy")
def bp_local_entropy(quick: bool = False) -> tuple[Any, Any]:
    """Number of solutions at distance d of a solution found by SBPI, and of a teacher; the volume of the ball as a bound.

    Binary weights, kappa = 0. A curve ends where message passing no longer converges: around the teacher, an isolated point, at a finite
    distance; around solutions of SBPI not down to gamma = 2 (d of some spins). Shades: standard errors over the instances.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    N, samples, alpha = (301, 3, 0.5) if quick else (1001, 8, 0.5)
    gammas = np.linspace(0.0, 2.0, 9 if quick else 21)
    random = perceptron_instances(N=N, alpha=alpha, samples=samples, patterns="pm1")
    found = sbpi(random)
    taught = perceptron_instances(N=N, alpha=alpha, samples=samples, patterns="pm1", labels="teacher")
    kept = type(random)(random.patterns[found.solved], random.scale)
    curves = {
        "SBPI's solutions, random labels": local_entropy(kept, around=found.W[found.solved], gammas=gammas),
        "the teacher": local_entropy(taught, around=taught.teacher, gammas=gammas),
    }
    drawing = Figure(figsize=(6, 4), layout="constrained")
    axes = drawing.subplots()
    variables: dict[str, Any] = {}
    for k, (name, curve) in enumerate(curves.items()):
        whole = np.isfinite(curve.entropy).all(0)  # gammas that all instances reach
        d, S = Statistic.from_samples(curve.d), Statistic.from_samples(curve.entropy)
        axes.plot(d.mean[whole], S.mean[whole], "o-", ms=3, lw=1, color=f"C{k}", label=name)
        axes.fill_between(
            d.mean[whole],
            (S.mean - S.error)[whole],
            (S.mean + S.error)[whole],
            color=f"C{k}",
            alpha=0.3,
            lw=0,
        )
        tag = ("sbpi", "teacher")[k]
        for quantity, x in (("d", d), ("S_loc", S)):
            for suffix, values in (("", x.mean), ("_err", x.error)):
                variables[f"{quantity}_{tag}{suffix}"] = (
                    "gamma", values, dict(definition=f"{quantity} around {name}{' (s.e.)' * bool(suffix)}", units="1")
                )  # fmt: skip
    d = np.linspace(1e-6, 0.35, 200)
    axes.plot(d, -d * np.log(d) - (1 - d) * np.log(1 - d), "k:", label="all weights (bound)")
    axes.set(
        xlim=(0, 0.35),
        ylim=(0, None),
        xlabel="distance $d$",
        ylabel="local entropy (nats per weight)",
        title=rf"binary weights, $\alpha = {alpha:g}$, $N = {N}$, {samples} instances",
    )
    axes.legend()
    data = xr.Dataset(
        variables, coords=dict(gamma=("gamma", gammas, dict(definition="field along W", units="1")))
    )
    return drawing, data.assign_attrs(N=N, samples=samples, alpha=alpha)
