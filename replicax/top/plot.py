"""Plots of sweeps: a curve for every observable over one parameter, a map over two."""

from pathlib import Path
from typing import Any

import numpy as np

#: what a map shows: the first of these that there is
_SHOWN = ("entropy", "phi")


def plot_sweep(dataset: Any, path: str | Path) -> None:
    """Draw a sweep over one or two parameters; points that have not converged stay blank."""
    from matplotlib.figure import Figure

    axes = list(dataset.sizes)
    observables = list(dataset.data_vars)[: list(dataset.data_vars).index("status")]
    shown = [name for name in observables if np.isfinite(dataset[name]).any()]
    if len(axes) == 2:
        shown = [next(name for name in (*_SHOWN, *shown) if name in shown)] if shown else []
    rows = max(1, len(shown))
    figure = Figure(figsize=(6, 1.5 + 2.0 * rows if len(axes) == 1 else 4.5), layout="constrained")
    panels = figure.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for panel, name in zip(panels, shown):
        if len(axes) == 1:
            panel.plot(dataset[axes[0]], dataset[name])
            panel.set_ylabel(name)
        else:
            x, y = (dataset[axis] for axis in axes)
            drawn = panel.pcolormesh(x, y, dataset[name].transpose(*axes[::-1]), shading="nearest")
            figure.colorbar(drawn, ax=panel, label=name)
            panel.set_ylabel(axes[1])
    panels[-1].set_xlabel(axes[0])
    panels[0].set_title(f"{dataset.attrs['model']}, {dataset.attrs['ansatz']}")
    figure.savefig(path, dpi=150)
