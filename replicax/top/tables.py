"""Tables out: results as csv, json, netCDF or text.

A table is a dict of columns, lists of equal length; a cell is a number, a truth value or a text.  Parameters
keep the text that was given; a text that reads as a number is one in json and netCDF.
"""

import csv
import io
import json
import math
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from replicax.answers.columns import COLUMNS, column
from replicax.answers.status import STATUSES
from replicax.top.points import Table

EXTENSIONS = (".csv", ".json", ".nc")


def check_writable(path: str | None, extensions: Sequence[str] = EXTENSIONS) -> None:
    """Raise ValueError unless a file of this name can be written: before anything is computed."""
    if path is None:
        return
    file = Path(path)
    if file.suffix not in extensions:
        raise ValueError(f"{path}: the extension must be one of {', '.join(extensions)}")
    if not file.parent.is_dir() or not os.access(file.parent, os.W_OK) or file.is_dir():
        raise ValueError(f"{path} cannot be written: {file.parent} is not a folder that can be written to")


def in_order(table: Table, given: Collection[str]) -> Table:
    """The given columns first, then the results in the order of `COLUMNS`: q_0, q_1, .. and m_1, .. after m,
    those that it does not know before the branch and the status."""
    known = list(COLUMNS)

    def place(name: str) -> tuple:
        indexed = re.fullmatch(r"(q|m|stability)_(\d+)", name)
        if indexed:
            return known.index("m"), 1 + ("q", "m", "stability").index(indexed[1]), int(indexed[2])
        return (known.index(name) if name in known else known.index("branch") - 0.5), 0, 0

    return {k: table[k] for k in (*given, *sorted((k for k in table if k not in given), key=place))}


def write_table(path: str, table: Table) -> None:
    """Write a table as its extension says, under another name first: the file is complete or absent."""
    if path.endswith(".nc"):
        from replicax.answers.sweep import save_dataset

        save_dataset(_dataset(table), path)
        return
    text = json_text(table) if path.endswith(".json") else _csv_text(table)
    temporary = Path(path).with_name(f".{Path(path).name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _csv_text(table: Table) -> str:
    """Numbers with the digits that identify them (17 at most), nan, true and false."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table)
    writer.writerows(zip(*([_plain(cell) for cell in cells] for cells in table.values())))
    return text.getvalue()


def _plain(cell: Any) -> str:
    if isinstance(cell, (bool, np.bool_)):
        return str(bool(cell)).lower()
    return cell if isinstance(cell, str) else repr(cell) if isinstance(cell, int) else repr(float(cell))


def _value(cell: Any) -> Any:
    """The number that a text reads as, else the text; truth values as they are."""
    if isinstance(cell, (bool, np.bool_)):
        return bool(cell)
    try:
        return int(cell) if isinstance(cell, (int, np.integer)) else float(cell)
    except ValueError:
        return cell


def json_text(table: Table) -> str:
    """A list of rows in strict JSON: not a number and blank as null, infinities as "inf" and "-inf"."""

    def cell(x: Any) -> Any:
        x = _value(x)
        if isinstance(x, float) and not math.isfinite(x):
            return None if math.isnan(x) else str(x)
        return None if x == "" else x

    rows = [dict(zip(table, map(cell, row))) for row in zip(*table.values())]
    return "[\n" + ",\n".join(json.dumps(row, allow_nan=False, ensure_ascii=False) for row in rows) + "\n]\n"


def _dataset(table: Table) -> Any:
    """Numbers as float64 and words as small integers with their meanings, along the dimension `point`."""
    import xarray as xr

    variables = {}
    for name, cells in table.items():
        about: dict[str, Any] = column(name)._asdict()
        values = [_value(cell) for cell in cells]
        if any(isinstance(x, str) and x for x in values):
            words = [x if isinstance(x, str) else f"{x:g}" for x in values]
            meanings: list[str] = list(STATUSES) if name == "status" else sorted({*words} - {""})
            about["flag_values"] = np.arange(len(meanings), dtype=np.int8)
            about["flag_meanings"] = " ".join(word.replace(" ", "_") for word in meanings)
            data = np.array([meanings.index(word) if word else -1 for word in words], np.int8)
        elif all(isinstance(x, bool) for x in values):
            data = np.array(values, np.int8)
        else:
            data = np.array([math.nan if x == "" else x for x in values], float)
        variables[name] = ("point", data, about)
    return xr.Dataset(variables)


def readable(table: Table) -> str:
    """Aligned columns with 10 digits; a single row is written downwards."""

    def cell(x: Any) -> str:
        x = _value(x)
        return _plain(x) if isinstance(x, (bool, str)) else f"{x:.10g}"

    columns = [[name, *map(cell, cells)] for name, cells in table.items()]
    if all(len(c) == 2 for c in columns):
        columns = [list(c) for c in zip(*columns)]
        width = max(map(len, columns[0]))
        return "\n".join(f"{name:<{width}}  {x}".rstrip() for name, x in zip(*columns))
    widths = [max(map(len, c)) for c in columns]
    return "\n".join("  ".join(x.rjust(w) for x, w in zip(row, widths)).rstrip() for row in zip(*columns))
