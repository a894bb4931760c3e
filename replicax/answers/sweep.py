r"""Phase diagrams: a model solved on a grid of parameters, as one labelled table that explains itself.

The flattened grid is cut into blocks, always the same ones; a block is one batched `solve`, spread over the
local devices, or handed to an executor.  In a folder every finished block is a file, written under another
name and renamed, with the digest of everything that determines its numbers: a sweep that was killed goes on
where it stopped, and never mixes two computations.
"""

import csv
import dataclasses
import functools
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from importlib import metadata
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np
import xarray as xr
from jax.sharding import Mesh, PartitionSpec
from tqdm import tqdm

from replicax.answers.columns import column
from replicax.answers.solve import BLOCKS, Solution, _unsatisfactory, require_float64, solve
from replicax.answers.status import STATUSES
from replicax.theory.ansatz import RS
from replicax.theory.free_entropy import BRANCHES
from replicax.theory.models import RecurrentNetwork
from replicax.vocabulary.limits import is_concrete

#: one-dimensional arrays by the name of the parameter
Axes = dict[str, np.ndarray]

_MANIFEST = "sweep.json"
_FLAGS = {
    name: dict(
        flag_values=np.arange(len(meanings), dtype=np.int8),
        flag_meanings=" ".join(s.replace(" ", "_") or "only" for s in meanings),
    )
    for name, meanings in (("status", STATUSES), ("branch", BRANCHES))
}


def sweep(
    model: Any,
    ansatz: Any = None,
    *,
    progress: bool | None = None,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    executor: Executor | None = None,
    block: int | None = None,
    **parameters: Any,
) -> xr.Dataset:
    """Solve `model` under `ansatz` (default RS) on the outer product of every parameter that is an array.

    model, ansatz: classes, or instances whose values are the defaults; `parameters` belong to either.
    Arrays (1-d) are the dimensions, in the order given; numbers are scalar coordinates, the rest attributes.
    progress: a bar on standard error (None: if that is a terminal).
    folder: every finished block is kept there (see `remove_blocks`); resume: use those that it has.
    executor: any `concurrent.futures.Executor`; its workers may share a folder, two sweeps may not.
    block: points per block (default: at most 4096, all blocks alike).

    Returns a Dataset of float64 results, NaN where not converged, and `status` and `converged` as int8, each
    with its `definition` and `units` in its attributes.  Raises ValueError before anything is computed for an
    unknown name, a value out of range anywhere on the grid, or a folder that holds another sweep.
    """
    require_float64()
    ansatz = RS if ansatz is None else ansatz
    axes, (make_model, make_ansatz) = _sort_parameters((model, ansatz), parameters)
    shape = tuple(x.size for x in axes.values())
    grid = dict(zip(axes, np.meshgrid(*axes.values(), indexing="ij", copy=False, sparse=False)))
    whole = make_model(grid), make_ansatz(grid)  # checks every value of the grid
    problems = whole[1].problems(whole[0])
    attrs, scalars = _provenance(*whole, problems, axes)
    size = math.prod(shape)
    blocks = _blocks(size, block)
    fingerprint = _fingerprint(whole, attrs, axes, scalars, blocks)
    key = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()
    if folder is not None:
        _open_folder(Path(folder), fingerprint, resume)
    elif resume:
        raise ValueError("resume: there is nothing to resume without folder=...")

    results: dict[str, np.ndarray] = {}
    compute = functools.partial(_compute, make_model, make_ansatz, axes, folder, key)
    with tqdm(total=size, disable=None if progress is None else not progress, unit="point") as bar:
        for (begin, end), values in _results(compute, blocks, folder, key, executor):
            for name, x in values.items():
                results.setdefault(name, np.full(size, np.nan))[begin:end] = x
            bar.update(end - begin)
    return _dataset(results, axes, scalars, attrs, whole)


# --- parameters ---


def _fields(owner: Any) -> dict[str, dataclasses.Field]:
    return {f.name: f for f in dataclasses.fields(owner) if f.init}


def _name(owner: Any) -> str:
    return getattr(owner, "name", "") or (owner if isinstance(owner, type) else type(owner)).__name__


def _sort_parameters(
    owners: tuple[Any, Any], given: dict[str, Any]
) -> tuple[Axes, list[Callable[[Axes], Any]]]:
    """The axes in their order, and for model and ansatz the function (values of the axes) -> object."""
    for owner in owners:
        if not dataclasses.is_dataclass(owner):
            raise ValueError(f"{owner!r} is not a model or an ansatz (a class or an instance)")
    known = [_fields(owner) for owner in owners]
    values: list[dict[str, Any]] = [
        {} if isinstance(owner, type) else {k: getattr(owner, k) for k in fields}
        for owner, fields in zip(owners, known)
    ]
    axes: Axes = {}
    for name, value in given.items():
        where = next((i for i, fields in enumerate(known) if name in fields), None)
        if where is None:
            lists = (f"{_name(o)} has {', '.join(fields) or 'none'}" for o, fields in zip(owners, known))
            raise ValueError(f"unknown parameter {name!r}: {'; '.join(lists)}")
        values[where].pop(name, None)
        if isinstance(value, (list, tuple, range)) or getattr(value, "ndim", 0) > 0:
            axes[name] = _axis(name, value, known[where][name])
        else:
            values[where][name] = value
    for owner, fields, fixed in zip(owners, known, values):
        for name, field in fields.items():
            required = field.default is field.default_factory is dataclasses.MISSING
            if required and name not in (*fixed, *axes):
                raise ValueError(f"{name} is missing: {_name(owner)} needs {name}=...")
            if getattr(fixed.get(name), "ndim", 0) > 0:
                raise ValueError(f"{name}: give a grid as a keyword of sweep, not inside {_name(owner)}")
    return axes, [functools.partial(_make, o, frozenset(f), v) for o, f, v in zip(owners, known, values)]


def _axis(name: str, value: Any, field: dataclasses.Field) -> np.ndarray:
    if field.metadata.get("static") or field.metadata.get("numeric") is False:
        raise ValueError(f"{name} takes one value in a sweep, not a grid")
    try:
        x = np.asarray(value, float)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: an axis of a sweep is a list of numbers") from None
    if x.ndim != 1 or x.size == 0:
        raise ValueError(f"{name}: an axis has one dimension and at least one value, not the shape {x.shape}")
    return x


def _make(owner: Any, names: frozenset[str], fixed: dict[str, Any], values: Axes) -> Any:
    cls = owner if isinstance(owner, type) else type(owner)
    return cls(**fixed, **{k: v for k, v in values.items() if k in names})


# --- blocks ---


def _blocks(size: int, block: int | None) -> list[tuple[int, int]]:
    """Slices of the flattened grid; by default equal ones, so that all share one compilation."""
    if block is None:
        block = math.ceil(size / math.ceil(size / BLOCKS[-1]))
    if block < 1 or block != int(block):
        raise ValueError(f"block = {block} is not a number of points, 1, 2, ..")
    return [(begin, min(size, begin + int(block))) for begin in range(0, size, int(block))]


def _compute(make_model, make_ansatz, axes, folder, key, span: tuple[int, int]) -> dict[str, np.ndarray]:
    """The results of one block, each of shape (points,), kept in the folder if there is one."""
    index = np.arange(*span)
    places = np.unravel_index(index, tuple(x.size for x in axes.values())) if axes else ()
    values = {name: x[i] for (name, x), i in zip(axes.items(), places)}
    solution = _solve_on_every_device(make_model(values), make_ansatz(values), index.size)
    table = solution.table()
    columns = table | dict(status=solution.code) | {k: solution.columns[k] for k in table if k == "branch"}
    result = {k: np.broadcast_to(np.asarray(v, float), index.shape) for k, v in columns.items()}
    if folder is not None:
        _write(_block_file(folder, span), lambda p: _savez(p, key, result))
    return result


def _solve_on_every_device(model: Any, ansatz: Any, size: int) -> Solution:
    """`solve` with the points spread over the local devices; what needs refinement is left to one of them."""
    devices = jax.local_devices()
    if len(devices) == 1:
        return solve(model, ansatz)
    leaves, tree = jax.tree.flatten((model, ansatz))
    spread = [np.broadcast_to(np.asarray(x, float), (size,)) for x in leaves]
    largest = min(getattr(p, "largest_block", BLOCKS[-1]) for p in ansatz.problems(model)) * len(devices)
    parts = []
    for begin in range(0, size, largest):
        count = min(largest, size - begin)
        room = min(largest, next((b for b in BLOCKS if b >= count), count))
        room += -room % len(devices)
        index = np.minimum(begin + np.arange(room), begin + count - 1)
        answer = _sharded(tree, tuple(devices), [x[index] for x in spread])
        parts.append(jax.tree.map(lambda x, count=count: np.asarray(x)[:count], answer))
    answer = jax.tree.map(lambda *xs: np.concatenate(xs), *parts)
    again = np.flatnonzero(np.asarray(_unsatisfactory(answer)))
    if again.size:
        better = solve(*jax.tree.unflatten(tree, [x[again] for x in spread]))
        for a, b in zip(jax.tree.leaves(answer), jax.tree.leaves(better)):
            a[again] = b
    return answer


@functools.partial(jax.jit, static_argnums=(0, 1))
def _sharded(tree: Any, devices: tuple, leaves: list[Any]) -> Solution:
    mesh, points = Mesh(np.array(devices), ("points",)), PartitionSpec("points")
    on_one = lambda x: solve(*jax.tree.unflatten(tree, x))
    return jax.shard_map(on_one, mesh=mesh, in_specs=(points,), out_specs=points, check_vma=False)(leaves)


def _results(compute, blocks, folder, key, executor) -> Iterator[tuple[tuple[int, int], Axes]]:
    """(slice, results) of every block: those on file first, then the others as they are computed."""
    todo = []
    for span in blocks:
        kept = _read_block(folder, span, key)
        if kept is None:
            todo.append(span)
        else:
            yield span, kept
    yield from zip(todo, map(compute, todo) if executor is None else executor.map(compute, todo))


def _block_file(folder: str | os.PathLike, span: tuple[int, int]) -> Path:
    return Path(folder) / f"block-{span[0]:010d}-{span[1]:010d}.npz"


def _savez(path: Path, key: str, result: dict[str, np.ndarray]) -> None:
    with open(path, "wb") as file:
        np.savez(file, allow_pickle=False, **{"sweep key": np.array(key)}, **result)  # type: ignore[arg-type]


def _read_block(folder: str | os.PathLike | None, span: tuple[int, int], key: str) -> Axes | None:
    if folder is None or not _block_file(folder, span).exists():
        return None
    with np.load(_block_file(folder, span), allow_pickle=False) as file:
        if str(file["sweep key"]) != key:
            raise ValueError(f"{_block_file(folder, span)} is not of the sweep of {_MANIFEST} beside it")
        return {name: file[name] for name in file.files if name != "sweep key"}


def _open_folder(folder: Path, fingerprint: dict[str, Any], resume: bool) -> None:
    """Make the folder, or check that what it holds is this very sweep; debris of a killed run is removed."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / _MANIFEST
    if manifest.exists():
        if not resume:
            raise ValueError(f"folder: {folder} holds a sweep; resume it (resume=True) or remove the folder")
        there = json.loads(manifest.read_text())
        differ = [k for k in {**there, **fingerprint} if there.get(k) != fingerprint.get(k)]
        if differ:
            words = "; ".join(f"{k} = {there.get(k)} there, {fingerprint.get(k)} here" for k in differ)
            raise ValueError(f"folder: {folder} holds another sweep: {words}")
    elif any(folder.glob("block-*.npz")):
        raise ValueError(f"folder: {folder} holds blocks without {_MANIFEST}; remove it")
    for debris in folder.glob(".*.tmp"):
        debris.unlink(missing_ok=True)
    if not manifest.exists():
        _write(manifest, lambda p: p.write_text(json.dumps(fingerprint, indent=1)))


def remove_blocks(folder: str | os.PathLike) -> None:
    """Remove the block files of a finished sweep, and the folder if nothing else is in it."""
    for path in (*Path(folder).glob("block-*.npz"), *Path(folder).glob(".*.tmp"), Path(folder) / _MANIFEST):
        path.unlink(missing_ok=True)
    if Path(folder).is_dir() and not any(Path(folder).iterdir()):
        Path(folder).rmdir()


# --- what is recorded ---


def _spelled(value: Any) -> str:
    """A fixed parameter in words, the same in every process."""
    if isinstance(value, (bool, int, float, np.number, str)):
        return f"{value}"
    return eqx.tree_pformat(value, short_arrays=False, width=100_000)


def _provenance(model, ansatz, problems, axes) -> tuple[dict[str, str], dict[str, float]]:
    """(global attributes, fixed numeric parameters)."""
    scalars: dict[str, float] = {}
    fixed: dict[str, str] = {}
    for owner in (model, ansatz):
        for name in _fields(owner):
            value = getattr(owner, name)
            if name in axes or name in fixed or value is None:
                continue
            fixed[name] = _spelled(value)
            if is_concrete(value):
                scalars[name] = float(value)
    rules = [f"{type(p).__name__}: {p.nodes} nodes per bend" for p in problems if getattr(p, "nodes", 0)]
    attrs = dict(
        title="replicax sweep",
        model=_name(model),
        ansatz=_name(ansatz),
        parameters=" ".join(f"{k}={v}" for k, v in fixed.items()),
        quadrature=", ".join(rules) or "none",
        references=" ".join(dict.fromkeys((*getattr(model, "sources", ()), *getattr(ansatz, "sources", ())))),
    )
    attrs |= {f"{p}_version": metadata.version(p) for p in ("replicax", "jax", "jaxlib", "numpy")}
    return attrs, scalars


def _fingerprint(whole, attrs, axes, scalars, blocks) -> dict[str, Any]:
    """Everything that determines the numbers of a block, readable."""
    digest = lambda x: hashlib.sha256(x.tobytes()).hexdigest()[:16]
    return {
        **attrs,
        "classes": " ".join(f"{type(x).__module__}.{type(x).__qualname__}" for x in whole),
        "axes": {k: f"{x[0]:g}..{x[-1]:g}, {x.size} values {digest(x)}" for k, x in axes.items()},
        "numbers": {k: repr(v) for k, v in scalars.items()},
        "block": blocks[0][1],
        "platform": jax.default_backend(),
    }


def _dataset(results, axes, scalars, attrs, whole) -> xr.Dataset:
    docs = {k: f.metadata.get("doc", k) for owner in whole[::-1] for k, f in _fields(owner).items()}
    described = lambda name: dict(definition=docs[name], units="1")
    coords = {k: xr.Variable((k,), x, described(k)) for k, x in axes.items()}
    coords |= {k: xr.Variable((), x, described(k)) for k, x in scalars.items() if k not in results}
    shape = tuple(x.size for x in axes.values())
    spins = isinstance(whole[0], RecurrentNetwork)
    variables = {}
    for name, x in results.items():
        if name in axes:  # a control among the order parameters: its coordinate says it
            continue
        about = column(name)._asdict()
        if spins:
            about = {k: v.replace("per weight", "per spin") for k, v in about.items()}
        if name in ("status", "converged"):
            x = x.astype(np.int8)
        if name == "branch":
            x = np.nan_to_num(x).astype(np.int8)
        about |= _FLAGS.get(name, {})
        variables[name] = xr.Variable(tuple(axes), x.reshape(shape), about)
    return xr.Dataset(variables, coords, attrs)


# --- files ---


def _write(path: str | os.PathLike, write: Callable[[Path], Any]) -> None:
    """Write under another name in the same folder, then rename: `path` is never half-written."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_dataset(dataset: xr.Dataset, path: str | os.PathLike) -> None:
    """Write a sweep, all or nothing.  .nc (netCDF 3) and .json are read back identical by `load_dataset`;
    .csv is a table of one row per point, the status in words.

    Raises ValueError for another extension.
    """
    writers = {".nc": _save_netcdf, ".json": _save_json, ".csv": _save_csv}
    extension = Path(path).suffix
    if extension not in writers:
        raise ValueError(f"{path}: the extension must be one of {', '.join(writers)}")
    _write(path, functools.partial(writers[extension], dataset))


def load_dataset(path: str | os.PathLike) -> xr.Dataset:
    """Read what `save_dataset` wrote as .nc or .json, identical.  Raises ValueError for another extension."""
    if Path(path).suffix == ".nc":
        return xr.load_dataset(path, engine="scipy")
    if Path(path).suffix != ".json":
        raise ValueError(f"{path}: a sweep is read back from .nc or .json")
    tree = json.loads(Path(path).read_text())

    def variable(v: dict[str, Any]) -> xr.Variable:
        attrs = {k: np.asarray(a, v["dtype"]) if isinstance(a, list) else a for k, a in v["attrs"].items()}
        return xr.Variable(v["dims"], np.asarray(v["data"], v["dtype"]), attrs)

    parts = ({k: variable(v) for k, v in tree[part].items()} for part in ("data_vars", "coords"))
    return xr.Dataset(*parts, attrs=tree["attrs"])


def _save_netcdf(dataset: xr.Dataset, path: Path) -> None:
    dataset.to_netcdf(path, engine="scipy", format="NETCDF3_64BIT")


def _save_json(dataset: xr.Dataset, path: Path) -> None:
    """Strict JSON in the layout of `Dataset.to_dict`: NaN is null, infinities are "inf" and "-inf"."""
    tree = dataset.to_dict()
    for part in ("data_vars", "coords"):
        for name, v in tree[part].items():
            x = dataset[name].values
            v["dtype"] = str(x.dtype)
            if not np.isfinite(x).all():
                data = x.astype(object)
                data[np.isinf(x)] = x[np.isinf(x)].astype(str)
                data[np.isnan(x)] = None
                v["data"] = data.tolist()
    path.write_text(json.dumps(tree, allow_nan=False, default=lambda x: x.tolist()))


def _save_csv(dataset: xr.Dataset, path: Path) -> None:
    shape = next(iter(dataset.data_vars.values())).sizes
    fixed = [name for name in dataset.coords if name not in shape]
    columns = {}
    for name in (*shape, *fixed, *dataset.data_vars):
        x = dataset[name].variable.to_base_variable().set_dims(dict(shape)).values.reshape(-1)
        meanings = dataset[name].attrs.get("flag_meanings", "").split()
        words = [meanings[i].replace("_", " ") for i in x] if meanings else x.tolist()
        columns[name] = [bool(i) for i in words] if name == "converged" else words
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values()))
