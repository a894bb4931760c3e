"""Stabilities of the solutions that algorithms find, beside those of typical solutions."""

from typing import Any, NamedTuple

import numpy as np

from replicax.answers.solve import solve
from replicax.simulation import Statistic, focus, perceptron_instances, stochastic_weights
from replicax.simulation.focusing import protocol, reinforcement
from replicax.simulation.gradient import spherical_gradient
from replicax.simulation.learning import stabilities
from replicax.simulation.sphere import typical_solutions
from replicax.theory.models import BinaryPerceptron, SphericalPerceptron
from replicax.top.figures import drawn

_WIDTH, _BINS = 0.1, 34
_FINE = 8  # points of the theory in a bin


class _Found(NamedTuple):
    """Solutions of one method: stabilities (solved, P), overlaps with solutions from a second start, instances tried."""

    delta: np.ndarray
    overlaps: np.ndarray
    tried: int


def _found(instances, solver) -> _Found:
    """What ``solver`` (instances, key) finds from two starts."""
    one, two = solver(instances, 0), solver(instances, 1)
    kept = type(instances)(instances.patterns[one.solved], instances.scale)
    both = one.solved & two.solved
    overlaps = np.mean(one.W[both].astype(float) * two.W[both], 1)
    return _Found(stabilities(kept, one.W[one.solved]), overlaps, instances.samples)


def _histogram(delta: np.ndarray, edges: np.ndarray) -> Statistic:
    """Density in each bin, with the standard error over the instances."""
    rows = np.stack([np.histogram(d, edges)[0] / (len(d) * np.diff(edges)) for d in delta])
    return Statistic.from_samples(rows)


@drawn("solution-stabilities")
def solution_stabilities(quick: bool = False) -> tuple[Any, Any]:
    """P(Delta) of solutions: binary weights (kappa = 0) and the sphere (kappa = -0.5), Gaussian patterns.

    Lines: typical solutions, replica symmetric. On the sphere uniform samples of the solutions lie on the line, and plain gradient descent
    ends close to it; asked for a margin beyond kappa it leaves the margin empty. With binary weights all three algorithms find solutions far
    from typical ones, with few patterns at the margin. Unsolved instances have no solution to show: the legend says how many were solved.
    Right: mean overlap of what a method finds from two starts on the same instance; lines: of two typical solutions. (On the sphere the
    momentum of the descent draws starts together: without it, asked for eps = 0.3, they stay at 0.16 instead of 0.58.)
    """
    import xarray as xr
    from matplotlib.figure import Figure

    binary, sphere = BinaryPerceptron(alpha=0.5), SphericalPerceptron(alpha=1.0, kappa=-0.5)
    N, M, samples = (201, 61, 8) if quick else (1001, 151, 20)
    walks = 60 if quick else 200
    random = perceptron_instances(N=N, alpha=0.5, samples=samples)
    round_ = perceptron_instances(N=M, alpha=1.0, samples=3 * samples)
    uniform, W = typical_solutions(round_, kappa=-0.5, sweeps=walks, chains=2)
    panels = {
        "binary": (binary, 0.0, {
            "rbp": _found(random, lambda x, k: focus(x, schedule=reinforcement(0.002, 1000), lagged=True, key=k)),
            "fbp": _found(random, lambda x, k: focus(x, schedule=protocol("pseudo", 1000), key=k)),
            "stochastic-weights": _found(random, lambda x, k: stochastic_weights(x, rate=0.3, key=k)),
        }),
        "sphere": (sphere, -0.5, {
            "slice (uniform)": _Found(stabilities(uniform, W[:, 0]), np.mean(W[:, 0] * W[:, 1], 1), round_.samples),
            "gradient": _found(round_, lambda x, k: spherical_gradient(x, kappa=-0.5, key=k)),
            "gradient, eps = 0.3": _found(round_, lambda x, k: spherical_gradient(x, kappa=-0.5, eps=0.3, key=k)),
        }),
    }  # fmt: skip
    drawing = Figure(figsize=(14, 4), layout="constrained")
    left, middle_panel, right = drawing.subplots(1, 3, width_ratios=(3, 3, 2))
    ticks: list[str] = []
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    for axes, (name, (model, kappa, found)) in zip((left, middle_panel), panels.items()):
        edges = kappa + _WIDTH * np.arange(_BINS + 1)
        middle = 0.5 * (edges[1:] + edges[:-1])
        # midpoints inside the bins: none falls on the jump at kappa
        fine = kappa + _WIDTH / _FINE * (np.arange(_BINS * _FINE) + 0.5)
        typical = solve(model)
        theory = np.asarray(typical.stabilities(fine))
        axes.plot(fine, theory, "k-", lw=1.5, label="typical solutions (RS)")
        coords[f"delta_{name}"] = (f"delta_{name}", middle, dict(definition="stability, middle of a bin", units="1"))  # fmt: skip
        binned = theory.reshape(_BINS, _FINE).mean(1)
        variables[f"P_{name}_theory"] = (
            f"delta_{name}", binned, dict(definition="replica-symmetric density, mean over the bin", units="1")
        )  # fmt: skip
        q = float(typical.order.q)
        right.hlines(q, len(ticks) - 0.4, len(ticks) + len(found) - 0.6, color="k", lw=1.5)
        variables[f"q_{name}_theory"] = (
            (),
            q,
            dict(definition="overlap of two typical solutions, RS", units="1"),
        )
        for k, (method, (delta, overlaps, tried)) in enumerate(found.items()):
            ticks.append(method)
            tag = f"{name}_{method.split()[0].rstrip(',')}{'_wide' * ('eps' in method)}".replace("-", "_")
            if len(overlaps) > 1:
                overlap = Statistic.from_samples(overlaps)
                right.errorbar(len(ticks) - 1, overlap.mean, overlap.error, fmt="o", capsize=2, color=f"C{k}")
                for suffix, value in (("", overlap.mean), ("_err", overlap.error)):
                    variables[f"q_{tag}{suffix}"] = (
                        (), value, dict(definition=f"overlap from two starts, {method}{' (s.e.)' * bool(suffix)}", units="1")
                    )  # fmt: skip
            if len(delta) < 2:
                continue  # no error bar, no point
            density = _histogram(delta, edges)
            axes.errorbar(
                middle, density.mean, density.error, fmt="o-", ms=3, lw=0.8, capsize=1.5, color=f"C{k}",
                label=f"{method}: {len(delta)}/{tried}",
            )  # fmt: skip
            for suffix, values in (("", density.mean), ("_err", density.error)):
                variables[f"P_{tag}{suffix}"] = (
                    f"delta_{name}", values, dict(definition=f"density of stabilities, {method}{' (s.e.)' * bool(suffix)}", units="1")
                )  # fmt: skip
        size = N if name == "binary" else M
        axes.set(
            xlabel=r"stability $\Delta$",
            ylabel=r"density $P(\Delta)$",
            xlim=(edges[0] - _WIDTH, edges[-1]),
            ylim=(0, None),
            title=rf"{name}: $\alpha = {float(model.alpha):g}$, $\kappa = {kappa:g}$, $N = {size}$",
        )
        axes.legend(title="solved instances")
    right.axhline(0.0, color="0.7", lw=0.8)
    right.set_xticks(range(len(ticks)), ticks, rotation=40, ha="right")
    right.set(ylabel="overlap $q$ of solutions from two starts", ylim=(None, 1.05))
    data = xr.Dataset(variables, coords=coords, attrs=dict(N_binary=N, N_sphere=M, samples=samples))
    return drawing, data
