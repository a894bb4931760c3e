"""Parameter points: as they are typed or in a file, solved together where they share their structure."""

import csv
import itertools
import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from replicax.answers.solve import BLOCKS
from replicax.top.registry import Parameter, unknown

Table = dict[str, list]


class Points(NamedTuple):
    """The texts as given, column by column, and what they mean, row by row (a blank cell is left out)."""

    cells: Table
    values: list[dict[str, Any]]


def read_assignments(texts: Sequence[str]) -> dict[str, str]:
    """name=value pairs, in their order.  ValueError for anything else, and for a name that comes twice."""
    given: dict[str, str] = {}
    for text in texts:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (name and equals and value):
            raise ValueError(f"{text!r} is not of the form name=value")
        if name in given:
            raise ValueError(f"{name} is given twice: {given[name]} and {value}")
        given[name] = value
    return given


def spread(name: str, text: str) -> list[str]:
    """The values that a text stands for: `1,2,3` a list, `a:b:n` n equally spaced numbers, else itself."""
    if ":" in text:
        parts = text.split(":")
        try:
            if len(parts) != 3:
                raise ValueError
            start, stop, n = float(parts[0]), float(parts[1]), int(parts[2])
            if n < 1 or not (math.isfinite(start) and math.isfinite(stop)):
                raise ValueError
        except ValueError:
            raise ValueError(f"{name} = {text}: a grid is start:stop:n, two numbers and a count") from None
        return [repr(float(x)) for x in np.linspace(start, stop, n)]
    items = [item.strip() for item in text.split(",")]
    if not all(items):
        raise ValueError(f"{name} = {text}: a list is 1,2,3 without blanks in it")
    return items


def read_points(given: dict[str, str], path: str | None, known: dict[str, Parameter], owner: str) -> Points:
    """The rows of a file with the `given` parameters added; without one the outer product of those given.

    Raises ValueError for a name that is not `known`, and for a value that is not allowed (naming its row).
    """
    for name in given:
        if name not in known:
            raise unknown(f"parameter of {owner}", name, known)
    lists = {name: spread(name, text) for name, text in given.items()}
    if path is None:
        rows = list(itertools.product(*lists.values()))
        cells = {name: [row[i] for row in rows] for i, name in enumerate(lists)}
    else:
        cells = _read_csv(path, known, owner)
        for name, values in lists.items():
            if name in cells:
                raise ValueError(f"{name} is given on the command line and as a column of {path}")
            if len(values) > 1:
                raise ValueError(f"{name} = {given[name]}: give one value, or a column of {path}")
            cells[name] = values * len(next(iter(cells.values())))
    length = len(next(iter(cells.values()))) if cells else 1
    values = []
    for i in range(length):
        try:
            values.append({name: known[name].read(x[i]) for name, x in cells.items() if x[i]})
        except ValueError as error:
            raise ValueError(f"row {i + 1}: {error}" if length > 1 or path else f"{error}") from None
    return Points(cells, values)


def _read_csv(path: str, known: dict[str, Parameter], owner: str) -> Table:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = [[cell.strip() for cell in line] for line in csv.reader(file, strict=True)]
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a table of comma-separated values: {error}") from None
    while lines and not any(lines[-1]):
        lines.pop()
    if not lines:
        raise ValueError(f"{path} is empty")
    header, *rows = lines
    for i, name in enumerate(header):
        if not name:
            raise ValueError(f"{path}: column {i + 1} has no name")
        if name in header[:i]:
            raise ValueError(f"{path}: two columns are named {name}")
        if name not in known:
            raise unknown(f"column of {path}, a parameter of {owner} was expected,", name, known)
    if not rows:
        raise ValueError(f"{path} has no rows")
    rows = [row or [""] for row in rows]
    for i, row in enumerate(rows):
        if len(row) != len(header):
            raise ValueError(f"{path}: row {i + 1} has {len(row)} cells, the header has {len(header)}")
    return {name: [row[i] for row in rows] for i, name in enumerate(header)}


def _groups(values: Sequence[dict[str, Any]], largest: int) -> Iterator[list[int]]:
    """Rows of one structure (which parameters are given, words, infinities), at most `largest` at once."""
    groups: dict[tuple, list[int]] = {}
    for i, row in enumerate(values):
        key = tuple(sorted((name, str(_structure(value))) for name, value in row.items()))
        groups.setdefault(key, []).append(i)
    for rows in groups.values():
        yield from (rows[i : i + largest] for i in range(0, len(rows), largest))


def _structure(value: Any) -> Any:
    return "number" if isinstance(value, float) and np.isfinite(value) else value


def _stacked(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The parameters of rows of one structure: an array for every number."""
    stacked = {k: np.array([row[k] for row in rows]) for k, v in rows[0].items() if _structure(v) == "number"}
    return rows[0] | stacked


def answer_points(points: Points, make: Callable[[dict], Any], answer: Callable[[Any], dict]) -> Table:
    """The points and the columns of answer(make(parameters)); all are made before any is answered."""
    groups = list(_groups(points.values, BLOCKS[-1]))
    made = []
    for rows in groups:
        try:
            made.append(make(_stacked([points.values[i] for i in rows])))
        except ValueError:
            for i in rows:
                _name_the_row(points, i, make)
            raise
    results: Table = {}
    with tqdm(total=len(points.values), disable=None, delay=2.0, leave=False, unit="point") as bar:
        for rows, thing in zip(groups, made):
            for name, values in answer(thing).items():
                x = np.broadcast_to(np.asarray(values), (len(rows),)).tolist()
                blank = "" if isinstance(x[0], str) else float("nan")
                column = results.setdefault(name, list(points.cells.get(name, [blank] * len(points.values))))
                for i, value in zip(rows, x):
                    column[i] = value
            bar.update(len(rows))
    return points.cells | results


def _name_the_row(points: Points, i: int, make: Callable[[dict], Any]) -> None:
    try:
        make(points.values[i])
    except ValueError as error:
        raise ValueError(f"row {i + 1}: {error}" if len(points.values) > 1 else f"{error}") from None


def split(values: dict[str, Any], own: Collection[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters that are among `own`, and the others."""
    return {k: v for k, v in values.items() if k in own}, {k: v for k, v in values.items() if k not in own}


def whole(values: dict[str, Any], known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The values with those of integer parameters as integers."""
    exact = lambda k, v: known[k].meta.get("integer") and float(v).is_integer()
    return {k: int(v) if exact(k, v) else v for k, v in values.items()}
