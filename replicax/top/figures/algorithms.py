"""Where learning algorithms succeed, and how many solutions lie around what they find."""

from typing import Any

import numpy as np

from replicax.answers.solve import solve
from replicax.answers.thresholds import threshold
from replicax.simulation import (
    Statistic,
    annealing,
    edmc,
    focus,
    local_entropy,
    perceptron_instances,
    sbpi,
    stochastic_weights,
)
from replicax.simulation.focusing import protocol, reinforcement
from replicax.simulation.statistics import PowerLaw
from replicax.theory.ansatz import FranzParisi, LocalEntropy
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
    """Fraction of instances solved against alpha, with binomial errors, for each N, beside the capacity: binary weights, kappa = 0, +-1 patterns.

    Budgets: 1000 sweeps (rbp, fbp), 1000 epochs (sbpi), 500 steps (stochastic weights); sbpi would need more as N grows. Unsolved runs stay
    in the denominator. The data have the steps of those that solve.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    sizes, samples = ([101, 201], 6) if quick else ([251, 501, 1001], 12)
    alphas = np.array([0.5, 0.65, 0.8]) if quick else np.array([0.5, 0.6, 0.65, 0.7, 0.75, 0.8])
    capacity = float(threshold(BinaryPerceptron(), "capacity").value)
    names = ("solved", "steps", "budget")
    shape = (len(_SOLVERS), len(sizes), len(alphas))
    mean, error = ({name: np.full(shape, np.nan) for name in names} for _ in range(2))
    for at in np.ndindex(shape[1:]):
        N, alpha = sizes[at[0]], float(alphas[at[1]])
        instances = perceptron_instances(N=N, alpha=alpha, samples=samples, patterns="pm1")
        for k, solver in enumerate(_SOLVERS.values()):
            found = solver(instances).statistics(instances)
            for name in names:
                mean[name][(k, *at)], error[name][(k, *at)] = found[name].mean, found[name].error

    drawing = Figure(figsize=(4.5 * len(sizes), 4), layout="constrained")
    for j, (N, axes) in enumerate(zip(sizes, drawing.subplots(1, len(sizes), sharey=True))):
        for k, name in enumerate(_SOLVERS):
            shift = 0.002 * (k - 1.5)
            axes.errorbar(
                alphas + shift, mean["solved"][k, j], error["solved"][k, j],
                fmt="o-", ms=4, lw=1, capsize=2, label=name,
            )  # fmt: skip
        axes.axvline(capacity, color="k", lw=1.5)
        axes.text(capacity - 0.004, 0.5, f"capacity {capacity:.4f}", rotation=90, va="center", ha="right")
        axes.set(xlabel=r"patterns per weight $\alpha$", title=f"N = {N}", ylim=(-0.12, 1.12))
        if j == 0:
            axes.set_ylabel(f"fraction of {samples} instances solved")
            axes.legend(loc="lower left")
    axes = ("algorithm", "N", "alpha")
    data = xr.Dataset(
        {
            "solved": (axes, mean["solved"], dict(definition="fraction of instances solved", units="1")),
            "solved_err": (axes, error["solved"], dict(definition="binomial standard error (Jeffreys)", units="1")),
            "steps": (axes, mean["steps"], dict(definition="sweeps, epochs or steps of the runs that solve", units="1")),
            "steps_err": (axes, error["steps"], dict(definition="standard error of steps", units="1")),
            "budget": (axes, mean["budget"], dict(definition="sweeps, epochs or steps allowed", units="1")),
            "capacity": ((), capacity, dict(definition="alpha at which the RS entropy vanishes", units="1")),
        },
        coords=dict(
            alpha=("alpha", alphas, dict(definition="patterns per weight", units="1")),
            N=("N", sizes, dict(definition="number of weights", units="1")),
            algorithm=("algorithm", np.arange(len(_SOLVERS)), dict(definition=", ".join(_SOLVERS), units="1")),
        ),
        attrs=dict(samples=samples),
    )  # fmt: skip
    return drawing, data


@drawn("bp-local-entropy")
def bp_local_entropy(quick: bool = False) -> tuple[Any, Any]:
    """Number of solutions at distance d of a solution found by SBPI, and of a teacher; the volume of the ball as a bound.

    Lines, theory at N = inf: around typical solutions (Franz-Parisi, negative close to them: they are isolated), and at the centre of the
    densest regions (many replicas around any reference, y = inf), which no algorithm exceeds.

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
    lines, model = np.linspace(0.005, 0.335, 34), BinaryPerceptron(alpha=alpha)
    typical = np.asarray(solve(model, FranzParisi(d=lines)).entropy)
    densest = np.asarray(solve(model, LocalEntropy(d=lines, y=np.inf, ensemble="reference")).entropy)
    axes.plot(lines, densest, "k-", lw=1, label="densest regions (theory)")
    axes.plot(lines, typical, "k--", lw=1, label="typical solutions (theory)")
    for name, values, words in (
        ("typical", typical, "a typical solution"),
        ("densest", densest, "the best centre"),
    ):
        variables[f"S_loc_{name}"] = (
            "d",
            values,
            dict(definition=f"entropy around {words}, N = inf", units="1"),
        )
    d = np.linspace(1e-6, 0.35, 200)
    axes.plot(d, -d * np.log(d) - (1 - d) * np.log(1 - d), "k:", label="all weights (bound)")
    axes.set(
        xlim=(0, 0.35),
        ylim=(-0.03, None),
        xlabel="distance $d$",
        ylabel="local entropy (nats per weight)",
        title=rf"binary weights, $\alpha = {alpha:g}$, $N = {N}$, {samples} instances",
    )
    axes.legend()
    data = xr.Dataset(
        variables,
        coords=dict(
            gamma=("gamma", gammas, dict(definition="field along W", units="1")),
            d=("d", lines, dict(definition="distance (1 - overlap)/2", units="1")),
        ),
    )
    return drawing, data.assign_attrs(N=N, samples=samples, alpha=alpha)


def _per_solution(effort: np.ndarray, solved: np.ndarray) -> Statistic:
    """Effort of all runs over the number of those that solve: what a solution costs with restarts.

    The error is the binomial one of the number of solutions and that of the mean effort; nan where nothing is solved.
    """
    hits = int(solved.sum())
    if hits == 0:
        return Statistic(np.nan, np.nan, len(solved))
    rate, mean = Statistic.from_counts(hits, len(solved)), Statistic.from_samples(effort)
    cost = mean.mean * len(solved) / hits
    return Statistic(
        cost, cost * float(np.hypot(mean.error / mean.mean, rate.error / rate.mean)), len(solved)
    )


@drawn("edmc-scaling")
def edmc_scaling(quick: bool = False) -> tuple[Any, Any]:
    """Entropy-driven Monte Carlo against simulated annealing on the number of errors, binary weights, alpha = 0.3, kappa = 0.

    Left: proposals per solution, those of unsolved runs included, with fits N^a to single runs of EdMC and 95 percent confidence intervals.
    Annealing with a fixed number of sweeps fails from some N on. Right: operations, 2 N P for each product with the patterns (two per sweep
    of messages) and P for each proposal of annealing: a proposal of EdMC is dear. The dotted line has the published exponent.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    alpha, published = 0.3, 2.84
    sizes = np.array([51, 101, 201, 401] if quick else [51, 101, 151, 201, 301, 401, 601, 801])
    samples = 8 if quick else 16
    budgets = (200, 1000) if quick else (200, 2000)
    methods = ("EdMC, Metropolis", "EdMC, greedy", *(f"annealing, {b} sweeps" for b in budgets))
    proposals = np.full((len(methods), len(sizes), samples), np.nan)
    operations, solved = proposals.copy(), np.zeros(proposals.shape, bool)
    for k, N in enumerate(sizes):
        instances = perceptron_instances(N=int(N), alpha=alpha, samples=samples, patterns="pm1")
        for j, moves in enumerate(("metropolis", "greedy")):
            found = edmc(instances, moves=moves)
            solved[j, k], proposals[j, k] = found.solved, found.counts["proposals"]
            operations[j, k] = 4.0 * N * instances.P * found.counts["sweeps"]
        for j, sweeps in enumerate(budgets, 2):
            found = annealing(instances, loss="errors", sweeps=sweeps)
            solved[j, k], proposals[j, k] = found.solved, float(N) * found.steps
            operations[j, k] = instances.P * proposals[j, k]

    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    variables: dict[str, Any] = {
        "solved": (
            ("method", "N"),
            solved.mean(-1),
            dict(definition="fraction of instances solved", units="1"),
        )
    }
    for axes, name, effort in zip(
        drawing.subplots(1, 2), ("proposals", "operations"), (proposals, operations)
    ):
        cost = [
            [_per_solution(effort[j, k], solved[j, k]) for k in range(len(sizes))]
            for j in range(len(methods))
        ]
        mean, error = (
            np.array([[getattr(c, part) for c in row] for row in cost]) for part in ("mean", "error")
        )
        exponents = np.full((len(methods), 3), np.nan)
        for j, method in enumerate(methods):
            label = method
            if solved[j].all():  # a fit to single runs: none is censored
                law = PowerLaw.fit(np.repeat(sizes, samples), effort[j].ravel())
                exponents[j] = law.exponent.mean, law.low, law.high
                axes.plot(sizes, law(sizes), "-", lw=1, color=f"C{j}")
                label += f": $N^{{{law.exponent.mean:.2f}}}$ [{law.low:.2f}, {law.high:.2f}]"
            axes.errorbar(
                sizes, mean[j], error[j], fmt="os^v"[j], ms=4, capsize=2, color=f"C{j}", label=label
            )
        guide = mean[0, 0] * (sizes / sizes[0]) ** published
        axes.plot(sizes, guide, "k:", lw=1, label=rf"$N^{{{published}}}$, published for EdMC")
        axes.set(xscale="log", yscale="log", xlabel="number of weights $N$", ylabel=f"{name} per solution")
        axes.set_xticks(sizes, [str(n) for n in sizes], minor=False)
        axes.set_xticks([], minor=True)
        axes.legend(fontsize=7)
        for suffix, values, what in (("", mean, ""), ("_err", error, " (s.e.)")):
            variables[name + suffix] = (
                ("method", "N"), values, dict(definition=f"{name} per solution{what}", units="1")
            )  # fmt: skip
        variables[f"exponent_{name}"] = (
            ("method", "bound"), exponents, dict(definition=f"exponent of {name}: estimate, 95% bounds; nan where runs failed", units="1")
        )  # fmt: skip
    drawing.suptitle(rf"binary weights, $\alpha = {alpha}$, {samples} instances at each $N$")
    data = xr.Dataset(
        variables,
        coords=dict(
            N=("N", sizes, dict(definition="number of weights", units="1")),
            method=("method", np.arange(len(methods)), dict(definition="; ".join(methods), units="1")),
            bound=("bound", np.arange(3), dict(definition="estimate, lower, upper", units="1")),
        ),
        attrs=dict(alpha=alpha, samples=samples, published_exponent=published),
    )  # fmt: skip
    return drawing, data
