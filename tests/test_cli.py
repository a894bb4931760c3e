"""The command line, mostly in this process: tables in, tables out, exit status, public figures."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import replicax as rx
from replicax.top import registry
from replicax.top.cli import main
from replicax.top.points import read_assignments, spread
from replicax.top.tables import in_order

INF = math.inf
BINARY, SYMMETRIC = "binary-perceptron", "symmetric-perceptron"
SPHERICAL, NETWORK = "spherical-perceptron", "recurrent-network"


@pytest.fixture
def replicax(capsys, tmp_path, monkeypatch):
    """call(*argv) -> (exit status, standard output, standard error), in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = main(list(argv))
        return status, *capsys.readouterr()

    return call


def read_csv(path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def strict_json(text):
    def refuse(constant):
        raise AssertionError(f"{constant} is not strict JSON")

    return json.loads(text, parse_constant=refuse)


# --- public figures, through tables of points ---

#: (call, header, rows of (cells, {column: (value, tolerance)})).  From independent scripts; also: Krauth,
#: Mezard (1989), Gardner, Derrida (1988), Aubin et al. (2019), Franz et al. (2017), Tanaka & Edwards (1980).
FIGURES = {
    "binary capacity": (
        ("threshold", BINARY, "capacity"),
        "kappa",
        [
            ("-2", dict(value=(29.992083209315155, 1e-9))),
            ("-1", dict(value=(3.7946282912193308, 1e-9))),
            ("-0.5", dict(value=(1.6788411129169627, 1e-9))),
            ("", dict(value=(0.8330785997395679, 1e-9), q=(0.5639490800844918, 1e-8))),
            ("0.5", dict(value=(0.4556645645424296, 1e-9), q=(0.6384133319957419, 1e-8))),
            ("1", dict(value=(0.27070009229345704, 1e-9), q=(0.6998846263060724, 1e-8))),
            ("2", dict(value=(0.11648872429989036, 1e-9))),
        ],
    ),
    "binary largest margin": (
        ("threshold", BINARY, "kappa-max"),
        "alpha",
        [
            ("0.2", dict(value=(1.3277036285085178, 1e-9), q=(0.7341693673224998, 2e-8))),
            ("0.5", dict(value=(0.41806249879300245, 1e-9))),
            ("1.0", dict(value=(-0.13773001694758683, 1e-9))),
        ],
    ),
    "symmetric capacity": (
        ("threshold", SYMMETRIC, "capacity"),
        "constraint,kappa",
        [
            ("rectangle,0.5", dict(value=(0.7220912450685875, 1e-12))),
            ("rectangle,2", dict(value=(14.884652251701112, 1e-11))),
            ("u,0.25", dict(value=(3.1518927356278574, 1e-12))),
            (",1", dict(value=(1.8158754958372068, 1e-12))),
        ],
    ),
    "spherical capacity": (
        ("threshold", SPHERICAL, "capacity"),
        "kappa",
        [
            ("0", dict(value=(2.0, 1e-13))),
            ("1", dict(value=(0.519572229604938, 1e-8))),
            ("-1", dict(value=(13.273199837024507, 1e-7))),
        ],
    ),
    "spherical instability": (
        ("threshold", SPHERICAL, "dat"),
        "kappa",
        [
            ("-0.5", dict(value=(3.950701313445222, 4e-7), q=(0.8959227308561226, 1e-7))),
            ("-1", dict(x_break=(0.36676533561113195, 1e-5), xdot=(0.2916540562059844, 1e-3))),
        ],
    ),
    "binary rs": (
        ("solve", BINARY),
        "alpha,kappa,beta,labels",
        [
            ("0.2,0,inf,random", dict(q=(0.12686467387465936, 1e-9), entropy=(0.5501201065160672, 1e-9))),
            ("0.5,,,", dict(q_hat=(0.6680349895350777, 1e-9), replicon=(0.7664481773125351, 1e-9))),
            ("0.5,0,3,random", dict(energy=(0.03262200886018685, 1e-9), entropy=(0.45094905061883706, 1e-9))),
            ("2,-0.5,2,", dict(phi=(0.04108804129123378, 1e-9), replicon=(0.7643016240870345, 1e-9))),
            ("0.5,0.5,inf,", dict(entropy=(-0.1093293875100152, 1e-9), q=(0.7209217786403345, 1e-9))),
            ("2,-1,inf,random", dict(q=(0.1780474279846784, 1e-9), entropy=(0.3393062429716671, 1e-9))),
        ],
    ),
    "spherical rs": (
        ("solve", SPHERICAL),
        "alpha,beta,kappa,loss",
        [
            ("1.5,inf,0,errors", dict(q=(0.8217211868395488, 1e-9), phi=(-1.589208239692867, 1e-9))),
            ("4,inf,-1,", dict(q=(0.36147468349663026, 1e-9), replicon=(0.47729853979326764, 1e-7))),
            ("3,2,0,errors", dict(phi=(-1.9080435059537766, 1e-8), energy=(0.6044572001862036, 1e-6))),
            ("4,5,,squared-hinge", dict(phi=(-1.7054792216232002, 1e-8), energy=(0.18677841639824777, 1e-6))),
        ],
    ),
    "fixed points": (
        ("solve", NETWORK),
        "J_D,beta,eta,field,N,couplings",
        [
            ("0.5,inf,0,0,inf,", dict(phi=(0.32420076527128894, 1e-10))),
            ("0.5,1,,,,", dict(phi=(0.38283561698938173, 1e-10), energy=(0.1138978804621262, 1e-10))),
            ("0,,1,,,", dict(phi=(0.199228491035784, 1e-9))),
            ("0.3,inf,-0.5,,inf,gaussian", dict(phi=(0.07552840265591909, 1e-9))),
            ("0.3,inf,0,0.5,,", dict(phi=(0.18969835781749964, 1e-10))),
            ("0.5,inf,0,0,16,pm1", dict(phi=(0.3312882734071897, 1e-9))),
            ("0.3,inf,0.5,0,14,gaussian", dict(phi=(0.2931120364058592, 1e-7))),
        ],
    ),
    "local entropy": (
        ("solve", NETWORK, "--ansatz", "local-entropy"),
        "J_D,d,q1,y",
        [
            ("0.3,,0.95,2", dict(phi=(0.11267902605391411, 1e-8), S_E=(0.18898670635747017, 1e-8))),
            ("0.3,,0.95,8", dict(S_I=(0.037498364786066496, 1e-8), r1=(0.24334857684437264, 1e-7))),
            ("0.1,,0.9,4", dict(entropy=(0.012652563537158601, 1e-8), y=(4.0, 0), q1=(0.9, 1e-12))),
            ("0.3,,0.95,inf", dict(phi=(0.0555218226079682, 1e-9), y=(INF, 0), S_E=(-INF, 0))),
            ("0.1,,0.9,", dict(phi=(0.03404328950464455, 1e-9))),
            ("0.1,0.03,,star", dict(y=(6.0712186377635975, 6e-5), S_I=(0.0133610293597, 1e-8), S_E=(0, 0))),
            ("0.2,0.05,,star", dict(y=(12.426130397261113, 1e-4), S_I=(0.04697926808081898, 1e-8))),
        ],
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", FIGURES)
def test_public_figures(replicax, tmp_path, what):
    call, header, rows = FIGURES[what]
    (tmp_path / "in.csv").write_text("\n".join([header, *(cells for cells, _ in rows)]) + "\n")
    assert replicax(*call, "--points", "in.csv", "-o", "out.csv") == (0, "out.csv\n", "")
    table = read_csv("out.csv")
    assert len(table) == len(rows)
    for line, (cells, figures) in zip(table, rows):
        assert line["converged"] == "true"
        for column, (value, tolerance) in figures.items():
            assert float(line[column]) == pytest.approx(value, rel=0, abs=tolerance), (cells, column)


def test_freezing(replicax):
    code, out, _ = replicax("threshold", BINARY, "freezing", "alpha=1,2", "kappa=0", "--json")
    assert code == 0
    beta = [row["value"] for row in strict_json(out)]
    np.testing.assert_allclose(beta, [5.344709067252837, 2.6853848153849813], rtol=0, atol=1e-7)


# --- tables ---


def test_rows_keep_their_order_and_their_text(replicax, tmp_path):
    (tmp_path / "in.csv").write_text(
        "\ufeffkappa, alpha ,beta\r\n0.50,1e-1,\r\n-1,0.3,inf\r\n,0.200,2.0\r\n\r\n"
    )
    assert replicax("solve", BINARY, "--points", "in.csv", "-o", "out.csv", "labels=random")[0] == 0
    table = read_csv("out.csv")
    assert [(r["kappa"], r["alpha"], r["beta"]) for r in table] == [
        ("0.50", "1e-1", ""),
        ("-1", "0.3", "inf"),
        ("", "0.200", "2.0"),
    ]
    assert list(table[0])[:4] == ["kappa", "alpha", "beta", "labels"]
    direct = [rx.solve(rx.BinaryPerceptron(*p)) for p in ((0.1, 0.5), (0.3, -1.0), (0.2, 0.0, 2.0))]
    for row, solution in zip(table, direct):
        assert float(row["phi"]) == pytest.approx(float(solution.phi), rel=1e-14)
        assert float(row["energy"]) == pytest.approx(float(solution.energy), abs=1e-14)


@pytest.mark.parametrize("length", [1, 7, 8, 9])
def test_any_number_of_rows(replicax, tmp_path, length):
    alphas = np.linspace(0.1, 0.7, 9)[:length]
    (tmp_path / "in.csv").write_text("alpha\n" + "".join(f"{a!r}\n" for a in alphas.tolist()))
    assert replicax("solve", BINARY, "--points", "in.csv", "-o", "out.csv")[0] == 0
    table = read_csv("out.csv")
    np.testing.assert_array_equal([float(r["alpha"]) for r in table], alphas)
    exact = rx.solve(rx.BinaryPerceptron(alpha=np.linspace(0.1, 0.7, 9))).q[:length]
    np.testing.assert_allclose([float(r["q"]) for r in table], exact, rtol=1e-12)


def test_a_table_that_fails_in_part_is_written_whole(replicax):
    code, out, _ = replicax("solve", SPHERICAL, "alpha=1,2.5,1.5", "-o", "out.csv")
    assert (code, out) == (3, "out.csv\n")
    good, bad, also_good = read_csv("out.csv")
    assert good["status"] == also_good["status"] == "ok" and bad["status"] == "no solution"
    assert (good["converged"], bad["converged"]) == ("true", "false")
    assert bad["phi"] == bad["q"] == "nan" and float(also_good["q"]) == pytest.approx(0.8217211868395488)


def test_a_negative_entropy_is_a_result(replicax):
    code, out, _ = replicax("solve", BINARY, "alpha=0.9", "--json")
    (row,) = strict_json(out)
    assert (
        code == 0 and row["status"] == "negative entropy" and row["converged"] is True and row["entropy"] < 0
    )


def test_columns_in_the_order_of_the_interface(replicax):
    replicax("solve", BINARY, "alpha=0.5", "-o", "out.csv")
    order = "alpha phi entropy energy q q_hat replicon status converged residual quadrature_error"
    assert list(read_csv("out.csv")[0]) == order.split()
    replicax("threshold", SPHERICAL, "capacity", "-o", "out.csv")
    assert list(read_csv("out.csv")[0])[:3] == ["value", "converged", "status"]


def test_a_threshold_without_parameters_writes_one_row(replicax):
    assert replicax("threshold", SPHERICAL, "capacity", "-o", "out.json")[0] == 0
    (row,) = strict_json(Path("out.json").read_text())
    assert row["value"] == pytest.approx(2.0)


def test_upper_bounds_are_flagged_and_converged(replicax):
    code, out, _ = replicax("threshold", SPHERICAL, "capacity", "kappa=-1,1", "--json")
    assert code == 0
    assert [(r["status"], r["converged"]) for r in strict_json(out)] == [("upper bound", True), ("ok", True)]


def test_grids_and_lists_are_an_outer_product(replicax):
    _, out, _ = replicax(
        "threshold", SYMMETRIC, "capacity", "kappa=0.5:1:3", "constraint=rectangle,u", "--json"
    )
    rows = strict_json(out)
    assert [(r["kappa"], r["constraint"]) for r in rows] == [
        (kappa, c) for kappa in (0.5, 0.75, 1.0) for c in ("rectangle", "u")
    ]


def test_numbers_survive_the_file(replicax):
    replicax("solve", BINARY, "alpha=0.1:0.6:6", "-o", "out.csv")
    replicax("solve", BINARY, "alpha=0.1:0.6:6", "-o", "out.json")
    assert [float(r["phi"]) for r in read_csv("out.csv")] == [
        r["phi"] for r in strict_json(Path("out.json").read_text())
    ]


def test_json_has_null_and_words(replicax):
    call = ("solve", NETWORK, "--ansatz", "local-entropy", "J_D=0.3", "q1=0.95", "y=inf")
    (row,) = strict_json(replicax(*call, "--json")[1])
    assert row["S_E"] == "-inf" and row["y"] == "inf" and row["J_D"] == 0.3 and row["converged"] is True
    code, out, _ = replicax("solve", SPHERICAL, "alpha=2.5", "--json")
    assert code == 3 and strict_json(out)[0]["phi"] is None


def test_netcdf(replicax):
    assert replicax("solve", SPHERICAL, "alpha=1,2.5", "loss=errors", "-o", "out.nc")[0] == 3
    data = rx.load_dataset("out.nc")
    assert dict(data.sizes) == {"point": 2}
    meanings = data["status"].attrs["flag_meanings"].split()
    assert [meanings[i] for i in data["status"].values] == ["ok", "no_solution"]
    assert data["converged"].values.tolist() == [1, 0] and data["loss"].attrs["flag_meanings"] == "errors"
    assert (
        data["q"].attrs["definition"]
        and data["alpha"].values.tolist() == [1.0, 2.5]
        and np.isnan(data["phi"][1])
    )


def test_text_tables(replicax):
    _, one, _ = replicax("threshold", SPHERICAL, "capacity", "kappa=1")
    assert dict(line.split(maxsplit=1) for line in one.splitlines())["value"] == "0.5195722296"
    _, many, _ = replicax("threshold", SPHERICAL, "capacity", "kappa=0,1")
    header, *rows = [line.split() for line in many.splitlines()]
    assert header[:2] == ["kappa", "value"] and [r[1] for r in rows] == ["2", "0.5195722296"]


def test_options_anywhere(replicax):
    _, first, _ = replicax("solve", "--json", SPHERICAL, "--ansatz", "rs", "alpha=1", "kappa=0.2")
    _, second, _ = replicax("solve", SPHERICAL, "alpha=1", "--ansatz=rs", "kappa=0.2", "--json")
    assert strict_json(first) == strict_json(second)


# --- bad arguments ---

BAD = {
    "no command": ((), "required: COMMAND"),
    "unknown command": (("slove",), "'slove'"),
    "no model": (("solve",), "required: MODEL"),
    "unknown model": (("solve", "binary-percptron", "alpha=1"), "did you mean binary-perceptron?"),
    "unknown ansatz": (("solve", BINARY, "--ansatz", "rsb", "alpha=1"), "unknown ansatz 'rsb'"),
    "ansatz of another model": (("solve", BINARY, "--ansatz", "krsb", "alpha=1"), "which has: rs"),
    "ansatz that only has a functional": (("solve", SYMMETRIC, "--ansatz", "1rsb", "alpha=1"), "1rsb"),
    "unknown parameter": (("solve", BINARY, "alpa=1"), "did you mean alpha?"),
    "missing parameter": (("solve", BINARY), "alpha is missing"),
    "not a number": (("solve", BINARY, "alpha=x"), "alpha = 'x': expected a number in [0, inf)"),
    "out of range": (("solve", BINARY, "alpha=-1"), "alpha = -1 is outside the allowed range [0, inf)"),
    "out of range in a list": (("solve", BINARY, "alpha=1,-2"), "row 2: alpha = -2"),
    "unknown word": (("solve", SYMMETRIC, "alpha=1", "kappa=1", "constraint=v"), "rectangle, u"),
    "no value": (("solve", BINARY, "alpha="), "'alpha=' is not of the form name=value"),
    "no name": (("solve", BINARY, "0.5"), "'0.5' is not of the form name=value"),
    "twice": (("solve", BINARY, "alpha=1", "alpha=2"), "alpha is given twice"),
    "a hole in a list": (("solve", BINARY, "alpha=1,,2"), "alpha = 1,,2"),
    "a grid without a count": (("solve", BINARY, "alpha=0:1"), "start:stop:n"),
    "an infinite grid": (("solve", BINARY, "alpha=0:inf:3"), "start:stop:n"),
    "neither d nor q1": (("solve", NETWORK, "--ansatz", "local-entropy", "J_D=1"), "d, q1"),
    "unknown option": (("solve", BINARY, "alpha=1", "--fast"), "--fast"),
    "unknown extension": (("solve", BINARY, "alpha=1", "-o", "out.txt"), ".csv, .json, .nc"),
    "no folder": (("solve", BINARY, "alpha=1", "-o", "nowhere/out.csv"), "nowhere/out.csv"),
    "no points file": (("solve", BINARY, "--points", "nowhere.csv"), "nowhere.csv: No such file"),
    "unknown threshold": (("threshold", BINARY, "capcity"), "did you mean capacity?"),
    "threshold of another model": (("threshold", SYMMETRIC, "freezing"), "which has: capacity"),
    "the parameter solved for": (("threshold", BINARY, "capacity", "alpha=1"), "solves for it"),
    "a threshold's missing parameter": (("threshold", BINARY, "kappa-max"), "alpha is missing"),
    "a parameter of an ansatz": (("threshold", BINARY, "capacity", "d=1"), "unknown parameter"),
    "no range": (("branch", BINARY, "alpha=1"), "name=start:stop"),
    "two ranges": (("branch", BINARY, "alpha=0:1", "kappa=0:1"), "name=start:stop"),
    "range out of range": (("branch", BINARY, "alpha=-1:1"), "alpha = -1"),
    "a list in a branch": (("branch", BINARY, "alpha=0.1:1", "kappa=0,1"), "one value"),
    "a sweep without a file": (("sweep", BINARY, "alpha=0:1:3"), "-o OUT.nc"),
    "a sweep out of range": (("sweep", BINARY, "alpha=-1:1:3", "-o", "out.nc"), "alpha = -1"),
    "a plot of three": (
        ("sweep", BINARY, "alpha=0:1:3", "kappa=0:1:2", "beta=1,2", "-o", "out.nc", "--plot", "a.png"),
        "one or two parameters",
    ),
    "no algorithm": (("simulate", BINARY, "alpha=1"), "--algorithm"),
    "unknown algorithm": (("simulate", BINARY, "--algorithm", "enum", "alpha=1"), "unknown algorithm"),
    "unknown option of a simulation": (
        ("simulate", BINARY, "--algorithm", "enumeration", "alpha=1", "sample=3"),
        "did you mean samples?",
    ),
    "too large": (("simulate", BINARY, "--algorithm", "enumeration", "alpha=1", "N=99"), "N = 99"),
    "unknown figure": (("figure", "phase-diagrm"), "unknown figure 'phase-diagrm'"),
    "a parameter of a figure": (("figure", "phase-diagram", "alpha=1"), "unrecognized arguments: alpha=1"),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments(replicax, tmp_path, what):
    argv, words = BAD[what]
    if len(argv) > 2 and argv[0] in ("solve", "threshold", "branch", "simulate") and "-o" not in argv:
        argv = (*argv, "-o", "out.csv")
    code, out, err = replicax(*argv)
    assert (code, out) == (2, "")
    assert err.startswith("replicax: ") and err.count("\n") == 1 and words in err
    assert list(tmp_path.iterdir()) == []


BAD_FILES = {
    "empty": ("", "in.csv is empty"),
    "blank": ("\n\n", "in.csv is empty"),
    "no rows": ("alpha\n", "in.csv has no rows"),
    "ragged, short": ("alpha,kappa\n0.1,0\n0.2\n", "row 2 has 1 cells, the header has 2"),
    "ragged, long": ("alpha,kappa\n0.1,0,3\n", "row 1 has 3 cells"),
    "a hole": ("alpha,kappa\n0.1,0\n\n0.2,0\n", "row 2 has 1 cells"),
    "unknown column": ("alpha,kapa\n0.1,0\n", "did you mean kappa?"),
    "two columns of a name": ("alpha,alpha\n0.1,0.2\n", "two columns are named alpha"),
    "column without a name": ("alpha,\n0.1,0\n", "column 2 has no name"),
    "no header": ("0.1,0.2\n0.1,0.2\n", "'0.1'"),
    "out of range": ("alpha\n0.1\n-1\n", "row 2: alpha = -1 is outside the allowed range [0, inf)"),
    "out of range, alone": ("alpha\n-1\n", "row 1: alpha = -1"),
    "not a number": ("alpha\n0.1\nmany\n", "row 2: alpha = 'many': expected a number"),
    "a list in a cell": ('alpha\n"1,2"\n', "row 1: alpha = '1,2'"),
    "nan": ("alpha\nnan\n", "row 1: alpha = nan"),
    "unknown word": ("alpha,labels\n0.1,random\n0.1,taught\n", "row 2: labels = taught is not one of random"),
    "missing value": ("alpha,kappa\n0.1,0\n,0\n", "row 2: alpha is missing"),
    "an open quote": ('alpha\n"0.1\n', "not a table"),
    "binary": (b"\xff\xfe\x00\x01", "not a table"),
}


@pytest.mark.parametrize("what", BAD_FILES)
def test_bad_points(replicax, tmp_path, what):
    content, words = BAD_FILES[what]
    (tmp_path / "in.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    code, out, err = replicax("solve", BINARY, "--points", "in.csv", "-o", "out.csv")
    assert (code, out) == (2, "") and err.count("\n") == 1 and words in err
    assert [p.name for p in tmp_path.iterdir()] == ["in.csv"]


def test_points_and_the_command_line_do_not_overlap(replicax, tmp_path):
    (tmp_path / "in.csv").write_text("alpha\n0.1\n")
    for given, words in (("alpha=1", "on the command line and as a column"), ("kappa=0,1", "give one value")):
        code, _, err = replicax("solve", BINARY, "--points", "in.csv", given)
        assert code == 2 and words in err


def test_rows_that_a_structure_refuses_are_named(replicax, tmp_path):
    (tmp_path / "in.csv").write_text("J_D,d,q1\n1,0.1,\n1,,0.5\n1,0.1,0.5\n")
    call = ("solve", NETWORK, "--ansatz", "local-entropy", "--points", "in.csv")
    code, _, err = replicax(*call)
    assert code == 2 and "row 3: d, q1: give exactly one" in err
    (tmp_path / "in.csv").write_text("J_D,d,eta\n1,0.1,0\n1,0.1,0.5\n")
    code, _, err = replicax(*call)
    assert code == 2 and "row 2: eta" in err


def test_an_existing_file_survives_bad_arguments(replicax, tmp_path):
    (tmp_path / "out.csv").write_text("precious")
    assert replicax("solve", BINARY, "alpha=-1", "-o", "out.csv")[0] == 2
    assert (tmp_path / "out.csv").read_text() == "precious"


# --- parsing and ordering ---


def test_columns_of_hierarchies_and_unknown_ones_have_their_place():
    names = "converged status m_2 fancy q_10 q_2 stability_0 m residual alpha phi q chi".split()
    table: dict[str, list] = {name: [] for name in names}
    order = "alpha phi q m q_2 q_10 m_2 stability_0 chi fancy status converged residual".split()
    assert list(in_order(table, ["alpha"])) == order


@pytest.mark.parametrize(
    "text, values",
    [
        ("0.5", ["0.5"]),
        ("1, 2,3", ["1", "2", "3"]),
        ("star", ["star"]),
        ("0:1:3", ["0.0", "0.5", "1.0"]),
        ("-1:1:2", ["-1.0", "1.0"]),
        ("2:5:1", ["2.0"]),
    ],
)
def test_spread(text, values):
    assert spread("x", text) == values


@pytest.mark.parametrize(
    "text", ["0:1", "0:1:0", "0:1:2.5", "a:1:3", "0:inf:3", "0:1:2:3", "1,,2", "1,", ":"]
)
def test_spread_refuses(text):
    with pytest.raises(ValueError, match="x = "):
        spread("x", text)


def test_assignments():
    assert read_assignments(["a=1", " b = x=y "]) == {"a": "1", "b": "x=y"}


# --- the other commands ---


def test_list_shows_everything_and_every_line_of_it_can_be_typed(replicax):
    code, out, err = replicax("list")
    assert (code, err) == (0, "")
    for table in (
        registry.models(),
        registry.ansatze(),
        registry.thresholds(),
        registry.algorithms(),
        registry.figures(),
    ):
        assert all(f"  {name}" in out for name in table)
    for name, model in registry.models().items():
        for p in registry.parameters(model).values():
            assert f"      {p}" in out
        calls = [("solve", name, "--ansatz", ansatz) for ansatz in registry.ansatze_of(model)]
        calls += [("threshold", name, threshold) for threshold in registry.thresholds_of(model)]
        calls += [("simulate", name, "--algorithm", run) for run in registry.runs_of(model)]
        for call in calls:  # understood up to the parameter that does not exist
            code, _, err = replicax(*call, "nonsense=1")
            assert code == 2 and "nonsense" in err


@pytest.mark.parametrize(
    "command", ["list", "solve", "threshold", "branch", "sweep", "simulate", "validate", "figure"]
)
def test_help(replicax, capsys, command):
    with pytest.raises(SystemExit) as end:
        main([command, "--help"])
    assert end.value.code == 0 and f"replicax {command}" in capsys.readouterr().out


def test_branch(replicax):
    code, out, _ = replicax(
        "branch", BINARY, "alpha=0.7:0.9", "kappa=0", "-o", "out.csv", "--plot", "out.png"
    )
    assert (code, out) == (0, "out.png\nout.csv\n") and Path("out.png").stat().st_size > 1000
    table = read_csv("out.csv")
    (special,) = [row for row in table if row["special"] == "entropy = 0"]
    assert float(special["alpha"]) == pytest.approx(0.8330785997395679, abs=1e-6)
    assert float(table[0]["alpha"]) == 0.7 and float(table[-1]["alpha"]) == pytest.approx(0.9)


def test_sweep(replicax, tmp_path):
    call = ("sweep", BINARY, "alpha=0.2:0.6:3", "kappa=-0.5,0", "-o", "out.nc")
    code, out, _ = replicax(*call, "--plot", "out.png")
    assert (code, out) == (0, "out.nc\nout.png\n")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.nc", "out.png"]
    data = rx.load_dataset("out.nc")
    assert dict(data.sizes) == {"alpha": 3, "kappa": 2}
    exact = rx.solve(
        rx.BinaryPerceptron(alpha=np.array([[0.2], [0.4], [0.6]]), kappa=np.array([[-0.5, 0.0]]))
    )
    np.testing.assert_allclose(data["q"], exact.q, rtol=1e-10)


def test_sweep_over_one_parameter_and_resume(replicax, tmp_path):
    call = ("sweep", BINARY, "alpha=0.2:0.6:3", "--ansatz", "rs", "-o", "out.csv")
    assert replicax(*call, "--resume", "--plot", "out.svg")[0] == 0
    assert [float(r["alpha"]) for r in read_csv("out.csv")] == pytest.approx([0.2, 0.4, 0.6])


def test_simulate(replicax):
    call = (
        "simulate",
        BINARY,
        "--algorithm",
        "enumeration",
        "N=9",
        "samples=20",
        "alpha=0.3,0.5",
        "strict=true",
    )
    assert replicax(*call, "-o", "out.csv")[0] == 0
    table = read_csv("out.csv")
    model = rx.BinaryPerceptron(alpha=0.5)
    exact = rx.simulate(model, "enumeration", N=9, samples=20, strict=True)
    assert float(table[1]["phi"]) == exact["phi"].mean and float(table[1]["phi_err"]) == exact["phi"].error
    assert table[0]["samples"] == "20.0" and table[0]["strict"] == "true"


def test_validate(replicax):
    call = ("validate", NETWORK, "J_D=0.5", "sizes=7,8", "samples=100", "key=1")
    code, out, _ = replicax(*call, "--json")
    rows = strict_json(out)
    assert code == 0 and list(rows[0]) == "quantity theory simulation error z N extrapolated".split()
    assert {row["N"] for row in rows if row["quantity"] == "phi"} == {7, 8}


def test_validate_around_references(replicax):
    call = ("validate", "binary-perceptron", "--ansatz", "pair", "d=.2", "alpha=.4", "N=10,8", "samples=100")
    code, out, _ = replicax(*call, "--json")
    rows = strict_json(out)
    assert code == 0 and {row["quantity"] for row in rows} == {"first-moment", "entropy"}
    assert {row["N"] for row in rows} == {10, 8}


def test_a_failed_validation_has_status_3(replicax, monkeypatch):
    monkeypatch.setattr("replicax.top.cli._SIGMAS", 1e-3)
    assert replicax("validate", NETWORK, "J_D=0.5", "sizes=7,8", "samples=100")[0] == 3


def test_figure(replicax, monkeypatch, tmp_path):
    from replicax.top import figures

    called = []
    monkeypatch.setattr(figures, "figures", lambda: {"one": None, "two": None})
    monkeypatch.setattr(
        figures, "figure", lambda name, folder, quick: called.append((name, folder, quick)) or [name]
    )
    assert replicax("figure", "two", "--quick", "-o", "plots")[:2] == (0, "two\n")
    assert replicax("figure", "all")[:2] == (0, "one\ntwo\n")
    assert called == [("two", "plots", True), ("one", ".", False), ("two", ".", False)]

    def missing(name, folder, quick):
        if name == "one":
            raise ValueError("a package is missing")
        return [name]

    monkeypatch.setattr(figures, "figure", missing)
    assert replicax("figure", "all") == (2, "two\n", "replicax: one: a package is missing\n")
    (tmp_path / "file").write_text("")
    code, _, err = replicax("figure", "one", "-o", "file")
    assert code == 2 and "file is not a folder" in err


def test_float32_is_refused_in_words(replicax, monkeypatch):
    import jax

    with jax.enable_x64(False):
        code, _, err = replicax("solve", BINARY, "alpha=0.5")
    assert code == 2 and "float64" in err and err.count("\n") == 1


# --- as a process ---


def process(*argv: str, cwd, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "replicax", *argv],
        cwd=cwd, capture_output=True, text=True, env=os.environ | environment, timeout=300,
    )  # fmt: skip


def test_process_bad_argument(tmp_path):
    done = process("solve", BINARY, "alpha=-1", "-o", "out.csv", cwd=tmp_path)
    assert done.returncode == 2 and done.stdout == "" and list(tmp_path.iterdir()) == []
    assert done.stderr == "replicax: alpha = -1 is outside the allowed range [0, inf)\n"


def test_process_keeps_its_compilations_and_says_nothing_else(tmp_path):
    argv = ("threshold", SYMMETRIC, "capacity", "kappa=1", "--json")
    for _ in range(2):
        done = process(
            *argv, cwd=tmp_path, REPLICAX_CACHE=str(tmp_path / "cache"), JAX_COMPILATION_CACHE_DIR=""
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert strict_json(done.stdout)[0]["value"] == pytest.approx(1.8158754958372068, abs=1e-12)
    assert any((tmp_path / "cache" / "replicax" / "xla").iterdir())


def test_process_without_a_place_to_keep_compilations(tmp_path):
    (tmp_path / "file").write_text("")
    argv = ("threshold", SPHERICAL, "capacity")
    done = process(*argv, cwd=tmp_path, REPLICAX_CACHE=str(tmp_path / "file"), JAX_COMPILATION_CACHE_DIR="")
    assert (done.returncode, done.stderr) == (0, "") and "value" in done.stdout


def test_process_with_a_closed_pipe(tmp_path):
    command = f"{sys.executable} -m replicax list | head -n 1"
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == ("models\n", "")


def test_process_version(tmp_path):
    assert process("--version", cwd=tmp_path).stdout.startswith("replicax 0.")
