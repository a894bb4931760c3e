"""How flat the training error is around what methods of training find on real data."""

import importlib
from typing import Any

import numpy as np

from replicax.simulation import Statistic
from replicax.simulation.multilayer import METHODS, error, local_energy, split, train
from replicax.top.figures import drawn

_SIGMAS = np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6])
_AT = 5  # sigma = 0.3


def digits() -> tuple[np.ndarray, np.ndarray]:
    """The 1797 handwritten digits of scikit-learn, 8 x 8 pixels: (images, labels). ValueError where scikit-learn is missing."""
    try:
        datasets = importlib.import_module("sklearn.datasets")
    except ImportError:
        raise ValueError(
            "the digits of scikit-learn are not installed: pip install 'replicax[digits]'"
        ) from None
    return datasets.load_digits(return_X_y=True)


@drawn("flatness")
def flatness(quick: bool = False) -> tuple[Any, Any]:
    """Local energy of a network with 32 hidden units trained on 500 digits, and its test error; one start and split for all methods.

    Left: training error of w (1 + sigma z) minus that of w. Right: the same at sigma = 0.3 against the error on the other 1297 digits.
    Points: means and standard errors over runs, each with its own split and start; most of the latter is common to the methods, for which
    the data hold the paired differences from SGD. Equal numbers of gradients; no parameter was tuned to the outcome.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    runs, gradients, draws = (3, 1200, 10) if quick else (10, 6000, 20)
    learned, tested = split(*digits(), runs=runs, patterns=500)
    found = {method: train(learned, method, gradients=gradients) for method in METHODS}
    each = {
        "train_error": [error(w, learned) for w in found.values()],
        "test_error": [error(w, tested) for w in found.values()],
        "delta_E": [local_energy(w, learned, _SIGMAS, draws=draws) for w in found.values()],
    }
    mean = {name: Statistic.from_samples(np.stack(x, 1)) for name, x in each.items()}

    drawing = Figure(figsize=(10, 4), layout="constrained")
    left, right = drawing.subplots(1, 2)
    profile, test = mean["delta_E"], mean["test_error"]
    for k, method in enumerate(METHODS):
        label = f"{method}: train error {mean['train_error'].mean[k]:.2%}"
        left.errorbar(
            _SIGMAS, profile.mean[k], profile.error[k], fmt="o-", ms=3, lw=1, capsize=2, label=label
        )
        right.errorbar(
            profile.mean[k, _AT], test.mean[k], test.error[k], profile.error[k, _AT],
            fmt="o", capsize=2, color=f"C{k}", label=method,
        )  # fmt: skip
    left.set(
        xlabel=r"relative noise $\sigma$ of every weight",
        ylabel=r"local energy $\delta E(\sigma)$",
        ylim=(0, None),
    )
    right.locator_params(nbins=6)
    right.set(xlabel=rf"local energy at $\sigma = {_SIGMAS[_AT]:g}$", ylabel="test error")
    left.legend()
    right.legend()
    drawing.suptitle(f"digits, 500 patterns, 32 hidden units, {gradients} gradients, {runs} runs")

    what = dict(
        train_error="fraction of the training patterns answered wrongly",
        test_error="fraction of the other patterns answered wrongly",
        delta_E="training error of w (1 + sigma z) minus that of w",
    )
    variables: dict[str, Any] = {}
    for name, x in each.items():
        axes = ("method", "sigma")[: np.ndim(mean[name].mean)]
        paired = Statistic.from_samples(np.stack([a - x[0] for a in x], 1))
        for suffix, values, note in (
            ("", mean[name].mean, ""),
            ("_err", mean[name].error, " (s.e.)"),
            ("_difference", paired.mean, ", paired difference from sgd"),
            ("_difference_err", paired.error, ", paired difference from sgd (s.e.)"),
        ):
            variables[name + suffix] = (axes, values, dict(definition=what[name] + note, units="1"))
    data = xr.Dataset(
        variables,
        coords=dict(
            sigma=("sigma", _SIGMAS, dict(definition="relative Gaussian noise of every weight", units="1")),
            method=("method", np.arange(len(METHODS)), dict(definition=", ".join(METHODS), units="1")),
        ),
        attrs=dict(runs=runs, gradients=gradients, patterns=500, hidden=32),
    )
    return drawing, data
