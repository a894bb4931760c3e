"""Barriers between solutions of the sphere at negative margin."""

from typing import Any

import numpy as np

from replicax.answers.solve import solve
from replicax.theory.ansatz import Interpolation
from replicax.theory.models import SphericalPerceptron
from replicax.top.figures import drawn

_ALPHA, _KAPPA = 2.0, -0.5
#: margins of the second solution; from kappa-star = -0.2957 on there is no barrier
_MARGINS = (-0.5, -0.45, -0.4, -0.35, -0.29)


@drawn("interpolation")
def interpolation(quick: bool = False) -> tuple[Any, Any]:
    """Train error at margin kappa = -0.5 between a typical solution of that margin (gamma = 1) and typical solutions of larger ones (gamma = 0),
    alpha = 2, within replica symmetry.
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
    drawing = Figure(figsize=(6, 4), layout="constrained")
    axes = drawing.subplots()
    for margin, overlap, error in zip(margins, overlaps, errors):
        axes.plot(gammas, error, label=rf"$\kappa_2 = {margin:g}$, $p = {overlap:.3f}$")
    axes.set(
        xlabel=r"$\gamma$: weight of the solution of margin $\kappa$",
        ylabel=r"violated patterns at margin $\kappa$",
        title=rf"spherical perceptron, $\alpha = {_ALPHA:g}$, $\kappa = {_KAPPA:g}$",
    )
    axes.legend()
    unit = dict(units="1")
    data = xr.Dataset(
        {
            "train_error": (("kappa_ref", "gamma"), errors, unit),
            "p": (("kappa_ref",), overlaps, unit | dict(definition="overlap of the two solutions")),
        },
        coords=dict(kappa_ref=margins, gamma=gammas),
        attrs=dict(alpha=_ALPHA, kappa=_KAPPA),
    )
    return drawing, data
