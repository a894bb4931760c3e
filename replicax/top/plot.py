"""Plots of sweeps and branches: a curve for every observable over one parameter, a map over two."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

#: what a map shows: the first of these that there is
_SHOWN = ("entropy", "phi")


def plot_sweep(dataset: Any, path: str | Path) -> None:
    """Draw a sweep over one or two parameters; points that have not converged stay blank."""
    axes = list(dataset.sizes)
    title = f"{dataset.attrs['model']}, {dataset.attrs['ansatz']}"
    if len(axes) == 1:
        columns = {name: dataset[name].values for name in dataset.data_vars}
        _panels(axes[0], dataset[axes[0]].values, _observables(columns), title)[0].savefig(path, dpi=150)
    else:
        _map(dataset, axes, title).savefig(path, dpi=150)


def plot_branch(branch: Any, path: str | Path) -> None:
    """Draw every observable of a branch along its parameter, with its special points."""
    columns = {name: np.asarray(x) for name, x in branch.columns.items() if name != branch.vary}
    shown, p = _observables(columns), np.asarray(branch.columns[branch.vary])
    drawing, panels = _panels(branch.vary, p, shown, branch.status)
    for panel, values in zip(panels, shown.values()):
        for point in branch.special:
            panel.plot(p[point.row], values[point.row], "k.")
            panel.annotate(point.kind, (p[point.row], values[point.row]), fontsize=7)
    drawing.savefig(path, dpi=150)


def _observables(columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns before the status that have a finite value."""
    names = list(columns)
    return {k: columns[k] for k in names[: names.index("status")] if np.isfinite(columns[k]).any()}


def _panels(label: str, x: Any, columns: Mapping[str, Any], title: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    rows = max(1, len(columns))
    drawing = Figure(figsize=(6, 1.5 + 2.0 * rows), layout="constrained")
    panels = drawing.subplots(rows, 1, sharex=True, squeeze=False)[:, 0]
    for panel, (name, values) in zip(panels, columns.items()):
        panel.plot(x, values)
        panel.set_ylabel(name)
    panels[-1].set_xlabel(label)
    panels[0].set_title(title)
    return drawing, panels


def _map(dataset: Any, axes: list[str], title: str) -> Any:
    from matplotlib.figure import Figure

    name = next(k for k in (*_SHOWN, *dataset.data_vars) if k in dataset)
    drawing = Figure(figsize=(6, 4.5), layout="constrained")
    panel = drawing.subplots()
    x, y = (dataset[axis] for axis in axes)
    image = panel.pcolormesh(x, y, dataset[name].transpose(*axes[::-1]), shading="nearest")
    drawing.colorbar(image, ax=panel, label=name)
    panel.set(xlabel=axes[0], ylabel=axes[1], title=title)
    return drawing
