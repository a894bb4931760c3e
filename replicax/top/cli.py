"""The command line: replicax list, solve, threshold, branch, sweep, simulate, validate, figure.

Models, ansätze, thresholds, algorithms, figures and their parameters come from the registry.  Exit status 0:
every point converged; 3: some did not (validate: some |z| > 4); 2: bad arguments, said in one line on
standard error before anything is computed.
"""

import argparse
import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from tqdm import tqdm

from replicax.answers.solve import require_float64, solve
from replicax.answers.thresholds import threshold
from replicax.top import registry
from replicax.top.compilations import keep_compilations
from replicax.top.points import (
    Points,
    Table,
    answer_points,
    read_assignments,
    read_points,
    split,
    spread,
    whole,
)
from replicax.top.tables import check_writable, in_order, json_text, readable, write_table

_IMAGES = (".png", ".pdf", ".svg")
#: a validation fails beyond this many standard errors
_SIGMAS = 4.0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="replicax", description="Replica theory of neural networks.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"replicax {metadata.version('replicax')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=_Parser)

    def command(name: str, run: Callable, about: str, *, of_model: bool = True, output: bool = True) -> Any:
        new = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        new.set_defaults(run=run, assignments=of_model)
        if of_model:
            new.add_argument("model", metavar="MODEL", help=", ".join(registry.models()))
        if output:
            new.add_argument("-o", "--output", metavar="OUT", help="file to write: .csv, .json or .nc")
        if output and name != "sweep":
            new.add_argument("--json", action="store_true", help="print JSON")
        return new

    def of_ansatz(new: Any, default: str | None = "rs") -> None:
        new.add_argument("--ansatz", default=default, metavar="ANSATZ", help=", ".join(registry.ansatze()))

    def of_points(new: Any) -> None:
        new.add_argument("--points", metavar="IN.csv", help="a parameter point per row, named by its header")

    command("list", _list, "models, ansätze, thresholds, algorithms, figures", of_model=False, output=False)
    new = command("solve", _solve, "solve at given parameters: name=value, name=1,2,3 or name=start:stop:n")
    of_ansatz(new)
    of_points(new)
    new = command("threshold", _threshold, "the parameter at a threshold, the others given as name=value")
    new.add_argument("threshold", metavar="THRESHOLD", help=", ".join(registry.thresholds()))
    of_points(new)
    new = command("branch", _branch, "follow a solution through folds along name=start:stop")
    of_ansatz(new)
    new.add_argument("--plot", metavar="OUT.png", help="draw it")
    new = command("sweep", _sweep, "solve on a grid, name=start:stop:n for every dimension")
    of_ansatz(new)
    new.add_argument("--plot", metavar="OUT.png", help="draw it")
    new.add_argument("--resume", action="store_true", help="go on with a sweep that was interrupted")
    new = command("simulate", _simulate, "simulate at finite size: N, samples, key, and the model's values")
    new.add_argument("--algorithm", required=True, metavar="ALGORITHM", help="see `replicax list`")
    of_points(new)
    new = command("validate", _validate, "theory against simulation, with z-scores")
    of_ansatz(new, default=None)
    new = command("figure", _figure, "draw a figure, or all", of_model=False, output=False)
    new.add_argument("name", metavar="NAME|all", help="see `replicax list`")
    new.add_argument("-o", "--output", metavar="DIR", default=".", help="folder to write to")
    new.add_argument("--quick", action="store_true", help="fewer points and samples")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    try:
        status = _run(sys.argv[1:] if argv is None else argv)
        sys.stdout.flush()
        return status
    except ValueError as error:
        print("replicax:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _run(argv: Sequence[str]) -> int:
    """Options may stand before, between and after the name=value pairs."""
    args, rest = _parser().parse_known_args(argv)
    strange = [text for text in rest if text.startswith("-") or not args.assignments]
    if strange:
        raise ValueError(f"unrecognized arguments: {' '.join(strange)}; see replicax {args.command} --help")
    args.given = read_assignments(rest)
    try:
        require_float64()
    except RuntimeError as error:
        raise ValueError(error) from None
    keep_compilations()
    return args.run(args)


def _finish(args: argparse.Namespace, table: Table, good: bool) -> int:
    """Write or print the table; the exit status."""
    if args.output is not None:
        write_table(args.output, table)
    if args.json:
        print(json_text(table), end="")
    elif args.output is None:
        print(readable(table))
    else:
        print(args.output)
    return 0 if good else 3


def _solvable(args: argparse.Namespace) -> tuple[type, type, dict[str, registry.Parameter], str]:
    """Model, ansatz, their parameters, and the name of the two."""
    check_writable(args.output)
    model = registry.find_model(args.model)
    ansatz = registry.find_ansatz(args.ansatz, model)
    known = registry.parameters(ansatz) | registry.parameters(model)
    return model, ansatz, known, f"{args.model} and {args.ansatz}"


def _single(points: Points, command: str) -> dict[str, Any]:
    if len(points.values) != 1:
        raise ValueError(f"{command} takes one value of each parameter, not a list")
    return points.values[0]


# ---------------------------------------------------------------- commands


def _list(args: argparse.Namespace) -> int:
    for kind, entries in registry.catalogue().items():
        print(f"{kind}\n")
        for name, entry in entries.items():
            print(f"  {name}" + (f": {entry['summary']}" if entry.get("summary") else ""))
            for parameter, about in entry.get("parameters", {}).items():
                print(f"      {parameter:<22} {about}")
            for label in ("ansatze", "thresholds", "models"):
                if label in entry:
                    print(f"      {label}: {', '.join(entry[label]) or 'none'}")
        print()
    return 0


def _solve(args: argparse.Namespace) -> int:
    model, ansatz, known, owner = _solvable(args)
    points = read_points(args.given, args.points, known, owner)

    def make(values: dict[str, Any]) -> tuple[Any, Any]:
        of_model, of_ansatz = split(values, registry.parameters(model))
        pair = model(**of_model), ansatz(**of_ansatz)
        pair[1].problems(pair[0])
        return pair

    table = answer_points(points, make, lambda pair: solve(*pair).table())
    return _finish(args, in_order(table, points.cells), all(table["converged"]))


def _threshold(args: argparse.Namespace) -> int:
    check_writable(args.output)
    model = registry.find_model(args.model)
    definition = registry.find_threshold(args.threshold, model)
    options = registry.threshold_parameters(definition)
    known, solved = options | registry.parameters(model), definition.parameter
    known.pop(solved, None)
    if solved in args.given:
        raise ValueError(
            f"{solved} = {args.given[solved]}: threshold {args.threshold} solves for it; leave it out"
        )
    points = read_points(args.given, args.points, known, f"{args.model} {args.threshold}")

    def make(values: dict[str, Any]) -> Any:
        for name in definition.needs:
            if name not in values:
                raise ValueError(f"{name} is missing: {args.threshold} of {args.model} needs {name}=...")
        chosen, of_model = split(values, options)
        return model(**of_model), chosen

    table = answer_points(points, make, lambda made: threshold(made[0], args.threshold, **made[1]).table())
    return _finish(args, table, all(table["converged"]))


def _branch(args: argparse.Namespace) -> int:
    from replicax.answers.branch import branch
    from replicax.top.plot import plot_branch

    check_writable(args.plot, _IMAGES)
    model, ansatz, known, owner = _solvable(args)
    ranges = {name: text.split(":") for name, text in args.given.items() if text.count(":") == 1}
    if len(ranges) != 1:
        raise ValueError(f"give one parameter as name=start:stop, not {len(ranges)}")
    (vary, ends), = ranges.items()  # fmt: skip
    fixed = {name: text for name, text in args.given.items() if name != vary}
    start, stop = (_single(read_points(fixed | {vary: end}, None, known, owner), "branch") for end in ends)
    of_model, of_ansatz = split(start, registry.parameters(model))
    found = branch(model(**of_model), ansatz(**of_ansatz), vary=vary, start=start[vary], stop=stop[vary])
    table = {name: np.asarray(x).tolist() for name, x in found.table().items()}
    if args.plot is not None:
        plot_branch(found, args.plot)
        print(args.plot, file=sys.stderr if args.json else sys.stdout)
    return _finish(args, table, all(table["converged"]))


def _sweep(args: argparse.Namespace) -> int:
    from replicax.answers.sweep import remove_blocks, save_dataset, sweep
    from replicax.top.plot import plot_sweep

    if args.output is None:
        raise ValueError("a sweep needs -o OUT.nc")
    check_writable(args.plot, _IMAGES)
    model, ansatz, known, owner = _solvable(args)
    values: dict[str, Any] = {}
    for name, text in args.given.items():
        cells = read_points({name: text}, None, known, owner).values
        values[name] = [row[name] for row in cells] if len(cells) > 1 or ":" in text else cells[0][name]
    axes = [name for name, value in values.items() if isinstance(value, list)]
    if args.plot is not None and len(axes) not in (1, 2):
        raise ValueError(f"--plot draws a sweep over one or two parameters, not {len(axes)}")
    folder = Path(f"{args.output}.blocks")
    dataset = sweep(model, ansatz, folder=folder, resume=args.resume, **values)
    save_dataset(dataset, args.output)
    remove_blocks(folder)
    print(args.output)
    if args.plot is not None:
        plot_sweep(dataset, args.plot)
        print(args.plot)
    return 0 if bool(dataset["converged"].all()) else 3


def _simulate(args: argparse.Namespace) -> int:
    from replicax.top.simulate import simulate

    check_writable(args.output)
    model = registry.find_model(args.model)
    options = registry.run_parameters(registry.find_run(args.algorithm, model))
    known = registry.parameters(model) | options
    points = read_points(args.given, args.points, known, f"{args.model} and {args.algorithm}")
    runs = [split(values, options) for values in points.values]
    made = [model(**of_model) for _, of_model in runs]
    progress = tqdm(list(zip(made, runs)), disable=None, delay=2.0, leave=False)
    run = lambda thing, values: simulate(thing, args.algorithm, **whole(values, options)).table()
    results = [run(thing, of_run) for thing, (of_run, _) in progress]
    names = list(dict.fromkeys(name for result in results for name in result))
    table = points.cells | {name: [float(r.get(name, math.nan)) for r in results] for name in names}
    return _finish(args, table, True)


def _validate(args: argparse.Namespace) -> int:
    from replicax.top.validate import validate

    check_writable(args.output)
    model = registry.find_model(args.model)
    ansatz = None if args.ansatz is None else registry.find_ansatz(args.ansatz, model)
    options = registry.validation_parameters(model, args.given.get("algorithm"))
    of_ansatz = {} if ansatz is None else registry.parameters(ansatz)
    several = "N" if "N" in args.given and len(spread("N", args.given["N"])) > 1 else "sizes"
    sizes = args.given.pop(several, None)
    known = of_ansatz | registry.parameters(model) | options
    values = _single(read_points(args.given, None, known, f"the validation of {args.model}"), "validate")
    of_run, rest = split(whole(values, known), options)
    if sizes is not None:
        of_run["sizes"] = [int(options["N"].read(size)) for size in spread("sizes", sizes)]
    of_model, chosen = split(rest, registry.parameters(model))
    found = validate(model(**of_model), None if ansatz is None else ansatz(**chosen), **of_run)
    table = {name: np.asarray(x).tolist() for name, x in found.table().items()}
    return _finish(args, table, not found.worst > _SIGMAS)


def _figure(args: argparse.Namespace) -> int:
    from replicax.top.figures import figure

    if args.name != "all":
        registry.look_up("figure", args.name, registry.figures())
    try:
        Path(args.output).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{args.output} is not a folder that can be written to: {error.strerror}") from None
    refused: list[str] = []
    for name in registry.figures() if args.name == "all" else (args.name,):
        try:
            for path in figure(name, args.output, quick=args.quick):
                print(path)
        except ValueError as error:  # the others are drawn nevertheless
            refused.append(f"{name}: {error}")
    if refused:
        raise ValueError("; ".join(refused))
    return 0
