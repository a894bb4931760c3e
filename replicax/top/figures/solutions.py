"""Stabilities of the solutions that algorithms find, beside those of typical solutions."""

from typing import Any

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


def _found(instances, solutions) -> tuple[np.ndarray, int]:
    """Stabilities (solved, P) of the solved instances, and how many were tried."""
    kept = type(instances)(instances.patterns[solutions.solved], instances.scale)
    return stabilities(kept, solutions.W[solutions.solved]), instances.samples


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
    """
    import xarray as xr
    from matplotlib.figure import Figure

    binary, sphere = BinaryPerceptron(alpha=0.5), SphericalPerceptron(alpha=1.0, kappa=-0.5)
    N, M, samples = (201, 61, 8) if quick else (1001, 151, 20)
    walks = 60 if quick else 200
    random = perceptron_instances(N=N, alpha=0.5, samples=samples)
    round_ = perceptron_instances(N=M, alpha=1.0, samples=3 * samples)
    uniform, W = typical_solutions(round_, kappa=-0.5, sweeps=walks)
    panels = {
        "binary": (binary, 0.0, {
            "rbp": _found(random, focus(random, schedule=reinforcement(0.002, 1000), lagged=True)),
            "fbp": _found(random, focus(random, schedule=protocol("pseudo", 1000))),
            "stochastic-weights": _found(random, stochastic_weights(random, rate=0.3)),
        }),
        "sphere": (sphere, -0.5, {
            "slice (uniform)": (stabilities(uniform, W), round_.samples),
            "gradient": _found(round_, spherical_gradient(round_, kappa=-0.5)),
            "gradient, eps = 0.3": _found(round_, spherical_gradient(round_, kappa=-0.5, eps=0.3)),
        }),
    }  # fmt: skip
    drawing = Figure(figsize=(10, 4), layout="constrained")
    variables: dict[str, Any] = {}
    coords: dict[str, Any] = {}
    for axes, (name, (model, kappa, found)) in zip(drawing.subplots(1, 2), panels.items()):
        edges = kappa + _WIDTH * np.arange(_BINS + 1)
        middle = 0.5 * (edges[1:] + edges[:-1])
        # midpoints inside the bins: none falls on the jump at kappa
        fine = kappa + _WIDTH / _FINE * (np.arange(_BINS * _FINE) + 0.5)
        theory = np.asarray(solve(model).stabilities(fine))
        axes.plot(fine, theory, "k-", lw=1.5, label="typical solutions (RS)")
        coords[f"delta_{name}"] = (f"delta_{name}", middle, dict(definition="stability, middle of a bin", units="1"))  # fmt: skip
        binned = theory.reshape(_BINS, _FINE).mean(1)
        variables[f"P_{name}_theory"] = (
            f"delta_{name}", binned, dict(definition="replica-symmetric density, mean over the bin", units="1")
        )  # fmt: skip
        for k, (method, (delta, tried)) in enumerate(found.items()):
            if len(delta) < 2:
                continue  # no error bar, no point
            density = _histogram(delta, edges)
            axes.errorbar(
                middle, density.mean, density.error, fmt="o-", ms=3, lw=0.8, capsize=1.5, color=f"C{k}",
                label=f"{method}: {len(delta)}/{tried}",
            )  # fmt: skip
            tag = f"P_{name}_{method.split()[0].rstrip(',')}{'_wide' * ('eps' in method)}".replace("-", "_")
            for suffix, values in (("", density.mean), ("_err", density.error)):
                variables[tag + suffix] = (
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
    data = xr.Dataset(variables, coords=coords, attrs=dict(N_binary=N, N_sphere=M, samples=samples))
    return drawing, data
