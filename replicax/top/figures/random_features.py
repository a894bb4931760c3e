"""Perceptrons on random features: interpolation threshold, and generalization beyond it."""

from typing import Any

import numpy as np

from replicax.answers.solve import solve
from replicax.answers.thresholds import threshold
from replicax.theory.ansatz import LocalEntropy
from replicax.theory.models import RandomFeatures
from replicax.top.figures import drawn
from replicax.top.validate import extrapolated

#: enumerated: patterns per feature at alpha_T = 1, so that D = P; odd sizes (no ties)
_ENUMERATED = (0.3, 0.5, 0.7)
_SIZES = (19, 17, 13, 9)


def _seen(quick: bool, **parameters: Any) -> dict[str, np.ndarray]:
    """phi and eps_bary of enumerated instances, extrapolated to N = inf, with errors: arrays over `_ENUMERATED`."""
    models = [RandomFeatures(alpha=alpha, alpha_T=1.0, **parameters) for alpha in _ENUMERATED]
    return extrapolated(
        models, sizes=_SIZES[1:] if quick else _SIZES, samples=150 if quick else 500, algorithm="enumeration"
    )


def _value(answer: Any) -> np.ndarray:
    return np.where(answer.converged, answer.value, np.nan)


@drawn("interpolation-threshold")
def interpolation_threshold(quick: bool = False) -> tuple[Any, Any]:
    """How many random features it takes to fit: N/P at the threshold against alpha_T = P/D, and the entropy of solutions beyond it.

    Binary weights, noiseless teacher, kappa = 0. Left: the capacity (solid), the loss of monotonicity of the local entropy (dashed), and the capacity
    of spherical weights (dotted): below a line there are no (no dense) solutions. Right: RS entropy at alpha_T = 1 and all 2^N weights
    enumerated, extrapolated to N = inf (bars: two standard errors).
    """
    import xarray as xr
    from matplotlib.figure import Figure

    activations = ("sign",) if quick else ("sign", "tanh")
    alpha_T = np.geomspace(0.3, 30.0, 8 if quick else 32)
    lines: dict[str, np.ndarray] = {}
    for name in activations:
        model = lambda **more: RandomFeatures(alpha_T=alpha_T, activation=name, **more)
        lines[f"capacity_{name}"] = _value(threshold(model(), "capacity"))
        lines[f"alpha_le_{name}"] = _value(threshold(model(), "alpha-le"))
        lines[f"capacity_sphere_{name}"] = _value(threshold(model(weights="spherical"), "capacity"))
    alphas = np.linspace(0.1, 0.9, 33)
    entropy = {
        name: np.asarray(solve(RandomFeatures(alpha=alphas, alpha_T=1.0, activation=name)).phi)
        for name in activations
    }
    seen = {name: _seen(quick, activation=name) for name in activations}

    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = drawing.subplots(1, 2)
    for i, name in enumerate(activations):
        left.plot(alpha_T, 1 / lines[f"capacity_{name}"], f"C{i}-", label=f"{name}: capacity")
        left.plot(alpha_T, 1 / lines[f"alpha_le_{name}"], f"C{i}--", label=f"{name}: dense solutions")
        left.plot(alpha_T, 1 / lines[f"capacity_sphere_{name}"], f"C{i}:", label=f"{name}: capacity, sphere")
        right.plot(1 / alphas, entropy[name], f"C{i}-", label=f"{name}: RS")
        right.errorbar(
            1 / np.array(_ENUMERATED), seen[name]["phi"], 2 * seen[name]["phi_err"], fmt=f"C{i}o", ms=4, capsize=2,
            label=f"{name}: enumeration",
        )  # fmt: skip
    left.set(
        xscale="log",
        ylim=(0, None),
        xlabel=r"patterns per input $\alpha_T = P/D$",
        ylabel=r"features per pattern $N/P$",
    )
    left.legend(fontsize="small")
    right.set(
        xscale="log",
        xlim=(1.1, 10),
        xlabel=r"features per pattern $N/P$ at $P = D$",
        ylabel="entropy of solutions (nats per weight)",
    )
    right.minorticks_off()
    right.set_xticks([2, 5, 10], ["2", "5", "10"])
    right.legend(fontsize="small")

    data = xr.Dataset(
        {name: ("alpha_T", x, dict(definition="patterns per feature at the threshold", units="1")) for name, x in lines.items()}
        | {f"entropy_{name}": ("alpha", x, dict(definition="RS entropy at alpha_T = 1", units="nats per weight"))
           for name, x in entropy.items()}
        | {f"enumeration_{quantity}_{name}": ("enumerated", x, dict(definition=f"{quantity}, N = inf", units="1"))
           for name, columns in seen.items() for quantity, x in columns.items() if quantity in ("phi", "phi_err")},
        coords=dict(alpha_T=alpha_T, alpha=alphas, enumerated=np.array(_ENUMERATED)),
    )  # fmt: skip
    return drawing, data


@drawn("overparametrized-generalization")
def overparametrized_generalization(quick: bool = False) -> tuple[Any, Any]:
    """Clean test error against over-parametrisation, and against the margin asked for while learning.

    Left: binary weights on sign features of a noiseless teacher, kappa = 0, at P/D = 1 (blue) and 3 (orange), up to capacity: a typical solution,
    one in a dense region (y = inf replicas at d = 0.05), and the mean weight (barycentre) of the solutions, with enumeration extrapolated
    to N = inf (bars: two standard errors). Right: spherical weights, alpha = 5, alpha_T = 50, rho = 0.9, trained with kappa < 0 where solutions
    are many, tested at kappa = 0: the barycentre is best well inside that phase.
    """
    import xarray as xr
    from matplotlib.figure import Figure

    alphas = np.linspace(0.1, 0.9, 17 if quick else 33)[:, None] * np.array([1.0, 1.2])
    alpha_T = np.array([1.0, 3.0])
    model = RandomFeatures(alpha=alphas, alpha_T=np.broadcast_to(alpha_T, alphas.shape))
    typical, dense = solve(model), solve(model, LocalEntropy(d=0.05))
    seen = _seen(quick)
    margins = np.linspace(-2.0, -0.1, 24 if quick else 64)
    activations = ("sign", "tanh")
    sphere = {
        name: solve(
            RandomFeatures(
                alpha=5.0, alpha_T=50.0, rho=0.9, kappa=margins, weights="spherical", activation=name
            )
        )
        for name in activations
    }

    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = drawing.subplots(1, 2)
    for i, ratio in enumerate(alpha_T):
        x = 1 / alphas[:, i]
        left.plot(x, typical.eps[:, i], f"C{i}-", label=f"typical, $P/D$ = {ratio:g}")
        left.plot(x, dense.eps[:, i], f"C{i}:", label="in a dense region")
        left.plot(x, typical.eps_bary[:, i], f"C{i}--", label="barycentre")
    left.errorbar(
        1 / np.array(_ENUMERATED),
        seen["eps_bary"],
        2 * seen["eps_bary_err"],
        fmt="C0o",
        ms=4,
        capsize=2,
        label="enumeration",
    )
    left.set(
        xscale="log", ylim=(0.15, 0.56), xlabel=r"features per pattern $N/P$", ylabel=r"test error $\epsilon$"
    )
    left.minorticks_off()
    left.set_xticks([1, 2, 5, 10], ["1", "2", "5", "10"])
    left.legend(fontsize="small", ncols=2, loc="upper right")
    for i, name in enumerate(activations):
        right.plot(margins, sphere[name].eps, f"C{i + 2}-", label=f"{name}: typical")
        right.plot(margins, sphere[name].eps_bary, f"C{i + 2}--", label=f"{name}: barycentre")
    right.set(xlabel=r"margin $\kappa$ while learning", ylabel=r"test error $\epsilon$", ylim=(0, 0.5))
    right.legend(fontsize="small")

    error = lambda text: dict(definition=f"clean test error {text}", units="1")
    data = xr.Dataset(
        dict(
            eps=(("row", "alpha_T"), typical.eps, error("of a typical solution")),
            eps_bary=(("row", "alpha_T"), typical.eps_bary, error("of the barycentre")),
            eps_dense=(("row", "alpha_T"), dense.eps, error("in a dense region, d = 0.05")),
            alpha=(("row", "alpha_T"), alphas, dict(definition="patterns per feature", units="1")),
            enumeration_eps_bary=("enumerated", seen["eps_bary"], error("of the barycentre, N = inf")),
            enumeration_eps_bary_err=("enumerated", seen["eps_bary_err"], error("(standard error)")),
        )
        | {
            f"sphere_eps_{name}": ("kappa", s.eps, error("of a typical solution"))
            for name, s in sphere.items()
        }
        | {
            f"sphere_eps_bary_{name}": ("kappa", s.eps_bary, error("of the barycentre"))
            for name, s in sphere.items()
        },
        coords=dict(alpha_T=alpha_T, kappa=margins, enumerated=np.array(_ENUMERATED)),
    )
    return drawing, data
