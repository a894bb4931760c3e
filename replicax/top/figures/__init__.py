"""Figures: theory as lines, simulation as points with error bars; each writes a PNG and the data behind it.

A figure is a function (quick) -> (matplotlib Figure, xarray.Dataset) in a topic file of this folder, entered by `@drawn("name")`; `figures()`
is the table that `replicax figure` and `replicax list` read.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
