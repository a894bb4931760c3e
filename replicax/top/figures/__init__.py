"""Figures: theory as lines, simulation as points with error bars; each writes a PNG and the data behind it.

A figure is a function (quick) -> (matplotlib Figure, xarray.Dataset) in a topic file of this folder, entered by `@drawn("name")`; `figures()`
is the table that `replicax figure` and `replicax list` read. `table` makes the data set, `panels` the empty drawing, `points` draws a simulation.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from replicax.answers.sweep import save_dataset

_FIGURES: dict[str, Callable[[bool], tuple[Any, Any]]] = {}


def drawn(name: str) -> Callable:
    """Enter a figure under its name."""

    def register(function: Callable) -> Callable:
        _FIGURES[name] = function
        return function

    return register


@functools.cache
def figures() -> dict[str, Callable[[bool], tuple[Any, Any]]]:
    """Every figure by its name."""
    for room in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{room.name}")
    return _FIGURES


def panels(columns: int = 2, height: float = 4.2) -> tuple[Any, Any]:
    """An empty drawing and its axes."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(5.0 * columns if columns > 1 else 6.4, height), layout="constrained")
    return drawing, drawing.subplots(1, columns)


def points(
    axes: Any, x: Any, seen: Any, error: Any, colour: str, label: str | None = None, **look: Any
) -> None:
    """Simulation: points with bars of two standard errors."""
    axes.errorbar(x, seen, 2 * np.asarray(error), fmt="o", ms=4, capsize=2, color=colour, label=label, **look)


def table(coords: dict[str, tuple], variables: dict[str, tuple], **attrs: Any) -> Any:
    """Data behind a figure. coords: name -> (values, definition[, units]); variables: name -> (dimensions, values, definition[, units])."""
    import xarray as xr

    def described(dimensions: Any, values: Any, definition: str, units: str = "1") -> tuple:
        return dimensions, np.asarray(values), dict(definition=definition, units=units)

    return xr.Dataset(
        {name: described(*entry) for name, entry in variables.items()},
        coords={name: described(name, *entry) for name, entry in coords.items()},
        attrs=attrs,
    )


def figure(name: str, folder: str | Path = ".", *, quick: bool = False) -> list[Path]:
    """Draw the figure `name` (see `figures`) into `folder`: NAME.png and NAME.nc; returns both paths.

    quick: coarser grids and fewer samples.  Raises ValueError for an unknown name.
    """
    known = figures()
    if name not in known:
        raise ValueError(f"figure {name!r} is unknown; there are {', '.join(known)}")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    drawing, data = known[name](quick)
    image, table = folder / f"{name}.png", folder / f"{name}.nc"
    drawing.savefig(image, dpi=160)
    save_dataset(data, table)
    return [image, table]
