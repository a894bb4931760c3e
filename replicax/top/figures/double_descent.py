"""Double descent: test error of minima of convex losses on random features, as the number of features grows."""

from typing import Any

import numpy as np

from replicax.answers.solve import solve
from replicax.simulation import regression
from replicax.theory.models import RandomFeaturesERM
from replicax.top.figures import drawn

_PER_INPUT = 3.0  # P/D


def _panels(quick: bool) -> dict[str, dict[str, dict[str, Any]]]:
    """Parameters of the curves, by panel and name; simulated: at which features per pattern."""
    ridge = dict(activation="tanh", task="linear", noise=0.1, loss="square")
    labels = dict(activation="sign", task="sign", loss="square")
    return {
        "ridge": {
            f"lam = {lam:g}": dict(ridge, lam=lam) for lam in ((1e-4, 1e-1) if quick else (1e-4, 1e-2, 1e-1))
        },
        "labels": {
            "square": dict(labels, lam=1e-4),
            "logistic": dict(labels, lam=1e-4, loss="logistic"),
            "max-margin": dict(labels, loss="margin"),
        },
    }


@drawn("double-descent")
def double_descent(quick: bool = False) -> tuple[Any, Any]:
    """Test error against features per pattern N/P, at P = 3 D: ridge regression on a linear teacher, and +-1 labels by three losses.

    Squares interpolate from N = P on: with a weak penalty the test error peaks there, where the training error (dashed: mean square, or
    fraction of patterns missed) vanishes. Logistic loss interpolates from where the patterns are separable, at smaller N, and hardly peaks;
    maximum margin starts there. Points: minima on real features, with standard errors.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    D, samples, tests = (40, 6, 1000) if quick else (100, 12, 2000)
    width = np.geomspace(0.1, 10.0, 61 if quick else 201)
    points = np.geomspace(0.125, 8.0, 7 if quick else 11)
    drawing = Figure(figsize=(10, 4), layout="constrained")
    variables: dict[str, Any] = {}
    for axes, (panel, curves) in zip(drawing.subplots(1, 2), _panels(quick).items()):
        for k, (label, parameters) in enumerate(curves.items()):
            theory = solve(RandomFeaturesERM(alpha=1.0 / width, alpha_T=_PER_INPUT, **parameters))
            axes.plot(width, theory.test, f"C{k}-", label=label.replace("lam", r"$\lambda$"))
            axes.plot(width, theory.train_error, f"C{k}--", lw=0.8)
            found = [
                regression(
                    N=round(_PER_INPUT * D * x), alpha=1.0 / x, alpha_T=_PER_INPUT, samples=samples,
                    tests=tests, key=i, **parameters,
                )
                for i, x in enumerate(points)
            ]  # fmt: skip
            all_solved = [f["solved"].mean == 1.0 for f in found]
            kept = lambda values: np.where(all_solved, values, np.nan)
            mean, error = (kept([getattr(f["test"], a) for f in found]) for a in ("mean", "error"))
            axes.errorbar(points, mean, error, fmt=f"C{k}o", ms=3, capsize=1.5)
            tag = f"{panel}_{label}".replace(" = ", "_").replace("-", "_")
            for name, grid, values, what in (
                ("test", "width", np.asarray(theory.test), "test error, theory"),
                ("train", "width", np.asarray(theory.train_error), "training error, theory"),
                ("test_sim", "simulated", mean, "test error, simulated"),
                ("test_sim_err", "simulated", error, "its standard error"),
            ):
                variables[f"{tag}_{name}"] = (grid, values, dict(definition=what, units="1"))
        axes.axvline(1.0, color="0.8", lw=0.8, zorder=0)
        axes.set(xscale="log", xlabel=r"features per pattern $N/P$", ylim=(0.0, None))
    ridge, labels = drawing.axes
    ridge.set(ylabel="excess risk", yscale="log", ylim=(1e-2, 10.0), title="ridge regression, tanh features")
    labels.set(ylabel="test error", title="labels $\\pm 1$, sign features")
    for axes in drawing.axes:
        axes.legend(fontsize="small")
    coords = dict(
        width=("width", width, dict(definition="features per pattern N/P", units="1")),
        simulated=("simulated", points, dict(definition="features per pattern N/P", units="1")),
    )
    return drawing, xr.Dataset(variables, coords=coords, attrs=dict(D=D, P=round(_PER_INPUT * D), samples=samples))  # fmt: skip
