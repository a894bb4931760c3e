"""How flat the training error is around what methods of training find on real data."""

import importlib
from typing import Any

import numpy as np

from replicax.simulation import Statistic
from replicax.simulation.multilayer import METHODS, WEIGHTS, error, local_energy, split, train
from replicax.top.figures import drawn

#: relative noise of real weights; distances of binary ones and of those on the sphere
_SIZES = {
    "real": np.array([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6]),
    **dict.fromkeys(WEIGHTS[1:], np.array([0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25])),
}
_AT = 5  # sigma = 0.3, d = 0.1
_KAPPA = -0.5


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

    Rows: real weights; hidden units that are perceptrons of margin kappa = -0.5, with binary weights and on the sphere. Left: training error
    of w (1 + sigma z), or of hidden weights at distance d, minus that of w. Right: the same at sigma = 0.3 or d = 0.1 against the error on the
    other 1297 digits. Points: means and standard errors over runs, each with its own split and start; most of the latter is common to the
    methods, for which the data hold the paired differences from SGD. Equal numbers of gradients; no parameter was tuned to the outcome.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    runs, gradients, draws = (3, 1200, 10) if quick else (10, 6000, 20)
    learned, tested = split(*digits(), runs=runs, patterns=500)
    drawing = Figure(figsize=(9, 10), layout="constrained")
    each: dict[str, list] = {"train_error": [], "test_error": [], "delta_E": []}
    for weights, (left, right) in zip(WEIGHTS, drawing.subplots(len(WEIGHTS), 2)):
        sizes = _SIZES[weights]
        found = [train(learned, m, weights=weights, kappa=_KAPPA, gradients=gradients) for m in METHODS]
        row = {
            "train_error": np.array([error(w, learned) for w in found]),
            "test_error": np.array([error(w, tested) for w in found]),
            "delta_E": np.array(
                [local_energy(w, learned, sizes, weights=weights, draws=draws) for w in found]
            ),
        }
        for name, values in row.items():
            each[name].append(values)
        fit, test, profile = (Statistic.from_samples(np.swapaxes(a, 0, 1)) for a in row.values())
        for k, method in enumerate(METHODS):
            label = f"{method}: train error {fit.mean[k]:.2%}"
            left.errorbar(
                sizes, profile.mean[k], profile.error[k], fmt="o-", ms=3, lw=1, capsize=2, label=label
            )
            right.errorbar(
                profile.mean[k, _AT], test.mean[k], test.error[k], profile.error[k, _AT],
                fmt="o", capsize=2, color=f"C{k}", label=method,
            )  # fmt: skip
        symbol, axis = (
            (r"\sigma", r"relative noise $\sigma$ of every weight")
            if weights == "real"
            else ("d", "distance $d$ of the hidden weights")
        )
        margin = "" if weights == "real" else rf", margin $\kappa = {_KAPPA:g}$"
        left.set(xlabel=axis, ylabel=rf"local energy $\delta E({symbol})$", ylim=(0, None))
        left.set_title(
            f"{weights} weights{margin}" if weights != "sphere" else f"weights on the sphere{margin}"
        )
        right.locator_params(nbins=6)
        right.set(xlabel=rf"local energy at ${symbol} = {sizes[_AT]:g}$", ylabel="test error")
        left.legend()
        right.legend()
    drawing.suptitle(f"digits, 500 patterns, 32 hidden units, {gradients} gradients, {runs} runs")

    what = dict(
        train_error="fraction of the training patterns answered wrongly",
        test_error="fraction of the other patterns answered wrongly",
        delta_E="training error of networks near w minus that of w",
    )
    variables: dict[str, Any] = {
        "size": (
            ("weights", "step"),
            np.stack([_SIZES[w] for w in WEIGHTS]),
            dict(definition="relative Gaussian noise of all weights (real); distance of the hidden weights", units="1"),
        )
    }  # fmt: skip
    for name, rows in each.items():
        values = np.moveaxis(np.stack(rows), 2, 0)  # (runs, weights, methods, ..)
        axes = ("weights", "method", "step")[: values.ndim - 1]
        mean, paired = Statistic.from_samples(values), Statistic.from_samples(values - values[:, :, :1])
        for suffix, numbers, note in (
            ("", mean.mean, ""),
            ("_err", mean.error, " (s.e.)"),
            ("_difference", paired.mean, ", paired difference from sgd"),
            ("_difference_err", paired.error, ", paired difference from sgd (s.e.)"),
        ):
            variables[name + suffix] = (axes, numbers, dict(definition=what[name] + note, units="1"))
    index = lambda name, words: (name, np.arange(len(words)), dict(definition=", ".join(words), units="1"))
    data = xr.Dataset(
        variables,
        coords=dict(weights=index("weights", WEIGHTS), method=index("method", METHODS)),
        attrs=dict(runs=runs, gradients=gradients, patterns=500, hidden=32, kappa=_KAPPA),
    )
    return drawing, data
