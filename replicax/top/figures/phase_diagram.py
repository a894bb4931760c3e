"""The phase diagram of the binary perceptron."""

from typing import Any

import numpy as np

from replicax.answers.lines.perceptron import first_moment_capacity
from replicax.answers.solve import solve
from replicax.answers.sweep import sweep
from replicax.answers.thresholds import threshold
from replicax.theory.ansatz import RS
from replicax.theory.models import BinaryPerceptron
from replicax.top.figures import drawn
from replicax.top.validate import enumeration_points

#: margins of the slices, and where along them the enumeration is done (fractions of alpha_c)
_SLICES = (-1.0, -0.5, 0.0, 0.5)
_FRACTIONS = (0.25, 0.5, 0.75)


@drawn("phase-diagram")
def phase_diagram(quick: bool = False) -> tuple[Any, Any]:
    """Entropy of the binary perceptron over (alpha, kappa), its capacity alpha_c(kappa), and exact enumeration.

    Left: RS entropy of the solutions (beta = inf) where it is positive; the line alpha_c(kappa) where it vanishes; points coloured by the
    enumerated (1/N) E log Z extrapolated to N = inf.  Right: the same along four margins, with error bars.
    """
    from matplotlib.figure import Figure

    alphas = np.linspace(0.0, 2.0, 61 if quick else 201)
    kappas = np.linspace(-1.2, 1.0, 56 if quick else 200)
    data = sweep(BinaryPerceptron, RS(), alpha=alphas, kappa=kappas, progress=False)
    entropy = data["entropy"].where(data["entropy"] >= 0)
    margins = np.linspace(kappas[0], kappas[-1], 45 if quick else 201)
    capacity = threshold(BinaryPerceptron(kappa=margins), "capacity")
    ends = np.asarray(threshold(BinaryPerceptron(kappa=np.array(_SLICES)), "capacity").value)
    points = [(fraction * min(end, 2.4), k) for k, end in zip(_SLICES, ends) for fraction in _FRACTIONS]
    seen = enumeration_points(BinaryPerceptron, points, samples=100 if quick else 1000)

    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    left, right = drawing.subplots(1, 2)
    look = dict(cmap="viridis", vmin=0.0, vmax=float(np.log(2)))
    colours = left.pcolormesh(
        alphas, kappas, entropy.transpose("kappa", "alpha"), shading="nearest", rasterized=True, **look
    )
    left.plot(capacity.value, margins, "k-", lw=1.8, label=r"$\alpha_c(\kappa)$")
    left.plot(first_moment_capacity(margins), margins, "k:", lw=1, label="first-moment bound")
    left.scatter(
        seen["alpha"], seen["kappa"], c=seen["phi"], s=36, edgecolor="w", label="enumeration", **look
    )
    left.set(
        xlim=(0, 2),
        ylim=(kappas[0], kappas[-1]),
        xlabel=r"patterns per weight $\alpha$",
        ylabel=r"margin $\kappa$",
    )
    left.text(1.5, 0.15, "no solutions", ha="center")
    left.legend(loc="upper right", framealpha=0.9)
    drawing.colorbar(colours, ax=left, label="entropy of solutions (nats per weight)")
    for i, (k, end) in enumerate(zip(_SLICES, ends)):
        line = np.linspace(0.0, min(end, 2.0), 101)
        right.plot(
            line,
            solve(BinaryPerceptron(alpha=line, kappa=k)).entropy,
            color=f"C{i}",
            label=rf"$\kappa = {k:g}$",
        )
        chosen = seen["kappa"] == k
        right.errorbar(
            seen["alpha"][chosen],
            seen["phi"][chosen],
            2 * seen["phi_err"][chosen],
            fmt="o",
            ms=4,
            capsize=2,
            color=f"C{i}",
        )
    right.set(
        xlim=(0, 2),
        ylim=(0, 0.95),
        xlabel=r"patterns per weight $\alpha$",
        ylabel="entropy of solutions (nats per weight)",
    )
    right.legend(
        title=r"RS (lines), enumeration to $N=\infty$ (points, 2 s.e.)", title_fontsize="small", ncols=2
    )

    data = data.assign(
        capacity=(
            "margin",
            np.asarray(capacity.value),
            dict(definition="alpha_c(kappa): RS entropy = 0", units="1"),
        ),
        **{
            f"enumeration_{name}": ("point", np.asarray(seen[name], float), dict(definition=text, units=unit))
            for name, text, unit in (
                ("alpha", "patterns per weight of the enumerated points", "1"),
                ("kappa", "margin of the enumerated points", "1"),
                ("phi", "(1/N) E log Z, extrapolated linearly in 1/N", "nats per weight"),
                ("phi_err", "standard error of enumeration_phi", "nats per weight"),
            )
        },
    ).assign_coords(margin=("margin", margins, dict(definition="kappa of the capacity line", units="1")))
    return drawing, data
