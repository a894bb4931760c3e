"""Which phase the solutions of the spherical perceptron are in: its critical lines at one margin, and where alpha lies between them."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from replicax.answers.thresholds import Threshold, threshold
from replicax.theory.models import SphericalPerceptron

PHASES = ("RS", "RS, clustered", "1-RSB", "full RSB", "UNSAT", "unknown")


def phase(alpha: ArrayLike, kappa: ArrayLike) -> Any:
    """The phase of the solutions of the sphere (random labels, beta = inf) at alpha and kappa, one of `PHASES`; arrays give arrays.

    RS below the de Almeida-Thouless or dynamical line; clustered between the dynamical and Kauzmann lines; 1-RSB from there (or from a
    de Almeida-Thouless line that leads to it) to the Gardner line; full RSB (with a gap where 1-RSB came first) up to jamming at k = inf;
    UNSAT.  Unknown: a line that decides was not found.  Franz, Parisi, Sevelev, Urbani & Zamponi, SciPost Phys. 2 (2017) 019,
    arXiv:1702.06919.
    """
    alpha, kappa = np.broadcast_arrays(np.asarray(alpha, float), np.asarray(kappa, float))
    model = SphericalPerceptron(kappa=kappa)  # checks kappa
    SphericalPerceptron(alpha=alpha)
    end = threshold(model, "capacity").value
    convex = np.asarray(kappa) >= 0
    found = np.where(alpha <= end, 0, 4)
    if not convex.all():
        glass = SphericalPerceptron(kappa=np.where(convex, -1.0, kappa))
        found = np.where(convex | (found == 4), found, _glassy(alpha, glass))
    names = np.asarray(PHASES)[found]
    return str(names) if names.ndim == 0 else names


def _glassy(alpha: np.ndarray, model: SphericalPerceptron) -> np.ndarray:
    names = ("dat", "dynamical", "kauzmann", "gardner")
    lines = {name: threshold(model, name) for name in names} | dict(
        jamming=threshold(model, "jamming", k=np.inf)
    )
    value = {name: np.asarray(line.value) for name, line in lines.items()}
    discontinuous, stepwise = (np.isfinite(value[name]) for name in ("dynamical", "gardner"))
    first = np.where(discontinuous, value["dynamical"], value["dat"])
    second = np.where(discontinuous, value["kauzmann"], first)
    third = np.where(stepwise, value["gardner"], second)
    found = np.where(alpha < first, 0, np.where(alpha < second, 1, np.where(alpha < third, 2, 3)))
    found = np.where(alpha > value["jamming"], 4, found)
    lost = np.zeros(alpha.shape, bool)
    for name, line in lines.items():
        matters = ~(discontinuous & (name == "dat"))
        lost = lost | (matters & _lost(line, required=name in ("dat", "jamming")))
    return np.where(lost, 5, found)


def _lost(line: Threshold, required: bool) -> np.ndarray:
    """Not found; or there is none, where there must be one."""
    status = np.asarray(line.status)
    return ~np.asarray(line.converged) & ((status != "no solution") | required)
