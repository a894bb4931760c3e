"""Barriers between solutions of the sphere at negative margin."""

from typing import Any

import numpy as np

from replicax.answers.solve import solve
from replicax.simulation import Statistic, perceptron_instances
from replicax.simulation.learning import stabilities
from replicax.simulation.sphere import typical_solutions
from replicax.theory.ansatz import Interpolation
from replicax.theory.models import SphericalPerceptron
from replicax.top.figures import drawn

_ALPHA, _KAPPA = 2.0, -0.5
#: margins of the second solution; from kappa-star = -0.2957 on there is no barrier
_MARGINS = (-0.5, -0.45, -0.4, -0.35, -0.29)


_GAMMAS = np.linspace(0.1, 0.9, 9)


def _measured(margin: float, N: int, samples: int, sweeps: int) -> Statistic:
    """Violated patterns at the margin kappa of gamma W_1 + (1 - gamma) W_2 on the sphere, over instances that have both solutions."""
    instances, W_2 = typical_solutions(
        perceptron_instances(N=N, alpha=_ALPHA, samples=samples), kappa=margin, sweeps=sweeps, key=1
    )
    # what has a solution of the larger margin has one of the smaller
    both, W_1 = typical_solutions(instances, kappa=_KAPPA, sweeps=sweeps, key=2)
    if both.samples < instances.samples:
        raise RuntimeError("a descent of the smaller margin failed where that of the larger one did not")
    weight = _GAMMAS[:, None, None]
    W = weight * W_1 + (1.0 - weight) * W_2
    W *= np.sqrt(N / np.sum(W**2, -1, keepdims=True))
    wrong = [np.mean(stabilities(instances, w) < _KAPPA, 1) for w in W]
    return Statistic.from_samples(np.stack(wrong, 1))


@drawn("interpolation")
def interpolation(quick: bool = False) -> tuple[Any, Any]:
    """Train error at margin kappa = -0.5 between a typical solution of that margin (gamma = 1) and typical solutions of larger ones (gamma = 0),
    alpha = 2. Lines: replica symmetric. Points: uniform solutions of both margins of single instances, sampled on great circles.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    gammas = np.linspace(0.0, 1.0, 11 if quick else 41)
    margins = np.array(_MARGINS)
    solution = solve(
        SphericalPerceptron(alpha=_ALPHA, kappa=_KAPPA),
        Interpolation(gamma=gammas[None], kappa_ref=margins[:, None]),
    )
    errors, overlaps = np.asarray(solution.train_error), np.asarray(solution.order.p)[:, 0]
    N, samples, sweeps = (61, 24, 60) if quick else (151, 60, 200)
    measured = {k: _measured(margins[k], N, samples, sweeps) for k in (0, len(margins) - 1)}

    drawing = Figure(figsize=(6, 4), layout="constrained")
    axes = drawing.subplots()
    for k, (margin, overlap, error) in enumerate(zip(margins, overlaps, errors)):
        axes.plot(gammas, error, color=f"C{k}", label=rf"$\kappa_2 = {margin:g}$, $p = {overlap:.3f}$")
        if k in measured:
            mean = measured[k]
            axes.errorbar(_GAMMAS, mean.mean, mean.error, fmt="o", ms=4, capsize=2, color=f"C{k}")
    axes.set(
        xlabel=r"$\gamma$: weight of the solution of margin $\kappa$",
        ylabel=r"violated patterns at margin $\kappa$",
        title=rf"sphere, $\alpha = {_ALPHA:g}$, $\kappa = {_KAPPA:g}$; points: $N = {N}$, {samples} instances",
    )
    axes.set_ylim(top=1.5 * axes.get_ylim()[1])
    axes.legend(loc="upper center", ncols=2, fontsize="small")
    unit = dict(units="1")
    data = xr.Dataset(
        {
            "train_error": (("kappa_ref", "gamma"), errors, unit),
            "p": (("kappa_ref",), overlaps, unit | dict(definition="overlap of the two solutions")),
            **{
                f"train_error_simulated{suffix}": (
                    ("kappa_simulated", "gamma_simulated"),
                    np.stack([getattr(x, part) for x in measured.values()]),
                    unit | dict(definition=f"the same of sampled solutions{note}"),
                )
                for suffix, part, note in (("", "mean", ""), ("_err", "error", " (s.e.)"))
            },
        },
        coords=dict(
            kappa_ref=margins, gamma=gammas, kappa_simulated=margins[list(measured)], gamma_simulated=_GAMMAS
        ),
        attrs=dict(alpha=_ALPHA, kappa=_KAPPA, N=N, samples=samples),
    )
    return drawing, data
