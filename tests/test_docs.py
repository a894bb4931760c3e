"""The documentation is run: tables are recomputed, examples executed.

`python tests/test_docs.py` writes the tables of the README anew.
"""

import contextlib
import io
import re
import shlex
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import brentq, root
from scipy.stats import norm

import replicax as rx
from replicax.answers.status import STATUSES
from replicax.top import cli, registry

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "architecture.md", ROOT / "docs" / "conventions.md")


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


# ---------------------------------------------------------------- tables of the README


def u_function_threshold() -> float:
    """kappa* at which q = 0 becomes unstable just where the annealed entropy vanishes."""

    def replicon(kappa: float) -> float:
        model = rx.SymmetricPerceptron(kappa=kappa, constraint="u")
        alpha = rx.threshold(model, "capacity").value
        return float(rx.solve(rx.SymmetricPerceptron(alpha=alpha, kappa=kappa, constraint="u")).replicon)

    return brentq(replicon, 0.7, 0.9, xtol=1e-12)  # type: ignore[return-value]


def capacity(model) -> float:
    return float(rx.threshold(model, "capacity").value)


def hard_capacity(kappa: float) -> float:
    """Gardner's integral: 1/alpha = (1 + kappa^2) H(-kappa) + kappa G(kappa)."""
    return 1.0 / ((1.0 + kappa**2) * norm.cdf(kappa) + kappa * norm.pdf(kappa))


def published() -> list[tuple[str, float, str | float, str]]:
    """(quantity, computed here, published: as printed, or the value of a printed formula, source)."""
    binary, sphere, pair = rx.BinaryPerceptron, rx.SphericalPerceptron, rx.SymmetricPerceptron
    binary_capacity = capacity(binary())
    satisfied = norm.cdf(1) - norm.cdf(-1)
    return [
        ("binary weights, kappa = 0: capacity", binary_capacity, "0.833", "Krauth & Mézard 1989"),
        ("binary weights, kappa = 0: capacity", binary_capacity, "0.8330786", "Stojnic 2023"),
        (
            "binary weights, kappa = 0: replica symmetry unstable",
            float(rx.threshold(binary(), "dat").value),
            "1.015",
            "Gardner & Derrida 1988",
        ),
        ("sphere, kappa = 0: capacity", capacity(sphere()), "2", "Gardner 1988"),
        (
            "sphere, kappa = 1: capacity",
            capacity(sphere(kappa=1.0)),
            hard_capacity(1.0),
            "Gardner 1988, closed form",
        ),
        (
            "rectangle, kappa = 1: capacity",
            capacity(pair(kappa=1.0)),
            -np.log(2) / np.log(satisfied),
            "Aubin, Perkins & Zdeborová 2019, closed form",
        ),
        (
            "u-function, kappa = 1/2: capacity",
            capacity(pair(kappa=0.5, constraint="u")),
            -np.log(2) / np.log(2 * norm.sf(0.5)),
            "Aubin, Perkins & Zdeborová 2019, closed form",
        ),
        (
            "u-function: kappa* beyond which replica symmetry breaks",
            u_function_threshold(),
            "0.817",
            "Aubin, Perkins & Zdeborová 2019",
        ),
        (
            "symmetric couplings, J_D = 0: entropy of fixed points (SK model)",
            float(rx.solve(rx.RecurrentNetwork(J_D=0.0, eta=1.0)).phi),
            "0.1992",
            "Tanaka & Edwards 1980; Bray & Moore 1980",
        ),
    ]


def table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [header, ("---",) * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def published_table() -> str:
    rows = [
        (what, f"{ours:.7f}", value if isinstance(value, str) else f"{value:.7f}", source)
        for what, ours, value, source in published()
    ]
    return table(("quantity", "replicax", "published", "source"), rows)


def code(words: list[str]) -> str:
    return ", ".join(f"`{word}`" for word in words) or "-"


def models_table() -> str:
    listed = registry.catalogue()["models"]
    rows = [
        (
            f"`{name}`",
            f"`rx.{registry.models()[name].__name__}`",
            code(entry["parameters"]),
            code(entry["ansatze"]),
            code([t.split()[0] for t in entry["thresholds"]]),
        )
        for name, entry in listed.items()
    ]
    return table(("model", "Python", "parameters", "ansätze", "thresholds"), rows)


def ansatze_table() -> str:
    listed = registry.catalogue()["ansatze"]
    rows = [
        (
            f"`{name}`",
            f"`rx.{registry.ansatze()[name].__name__}`",
            code(entry["parameters"]),
            code(entry["models"]) if entry["models"] else "functional only (`rx.free_entropy`)",
        )
        for name, entry in listed.items()
    ]
    return table(("ansatz", "Python", "parameters", "models"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "published": published_table,
    "models": models_table,
    "ansatze": ansatze_table,
}


def between(name: str) -> re.Pattern:
    return re.compile(rf"(<!-- {name}: begin -->\n)(.*?)(<!-- {name}: end -->)", re.DOTALL)


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_the_readme_are_current(name):
    (found,) = between(name).findall(text_of(README))
    assert found[1] == TABLES[name](), "run `python tests/test_docs.py`"


def test_computed_values_agree_with_the_published_ones():
    """To the digits that the source prints; that the table is current is tested above."""
    (found,) = between("published").findall(text_of(README))
    rows = [line.split(" | ") for line in found[1].splitlines()[2:]]
    assert len(rows) == 9
    for _, ours, value, _ in rows:
        digits = len(value.partition(".")[2])
        assert f"{float(ours):.{digits}f}" == value


def test_the_statuses_of_the_readme_exist():
    section = text_of(README).split("## How far to trust a result")[1].split("\n## ")[0]
    (sentence,) = re.findall(r"^- `status`: (.*?)^- ", section, re.DOTALL | re.MULTILINE)
    named = re.findall(r"`([^`]+)`", sentence)
    assert len(named) == 6 and set(named) <= set(STATUSES)


# ---------------------------------------------------------------- examples


def run_python(source: str) -> tuple[dict, str]:
    """The names that a block defines, and what it prints."""
    names: dict = {"__name__": "example"}
    with contextlib.redirect_stdout(io.StringIO()) as out:
        exec(compile(source, "example", "exec"), names)
    return names, out.getvalue()


def test_the_python_of_the_readme_prints_what_it_says():
    (source,) = blocks(README, "python")
    promised = re.findall(r"print\(.*?  # (.*)", source)
    assert run_python(source)[1].splitlines() == promised
    assert promised[-2:] == ["0.8330786", "-1.0820156348"]
    assert len(source.strip().splitlines()) <= 11


def test_set_up_is_two_lines():
    figure, test, *more = [block.strip() for block in blocks(README, "sh")]
    assert not more and "\n" not in figure + test
    python, install, run = figure.split(" && ")
    assert python == test.split(" && ")[0] == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install -e ."
    assert run == ".venv/bin/replicax figure phase-diagram -o replicax-output"
    project = tomllib.loads(text_of(ROOT / "pyproject.toml"))
    (extra,) = re.findall(r"pip install -e '\.\[(\w+)\]'", test)
    assert extra in project["project"]["optional-dependencies"]
    (marker,) = re.findall(r"pytest -n 2 -m 'not (\w+)'", test)
    assert any(m.startswith(f"{marker}:") for m in project["tool"]["pytest"]["ini_options"]["markers"])
    assert project["project"]["scripts"]["replicax"] == "replicax.top.cli:main"
    assert "phase-diagram" in registry.figures()


def console_commands() -> list[tuple[str, str]]:
    """(command, what the page says it prints) of the console blocks of the README."""
    (block,) = blocks(README, "console")
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [(part.partition("\n")[0], part.partition("\n")[2]) for part in parts]


@pytest.mark.parametrize("command, promised", [pytest.param(*c, id=c[0]) for c in console_commands()])
def test_the_commands_of_the_readme(command, promised, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    program, *arguments = shlex.split(command)
    assert program == "replicax" and cli.main(arguments) == 0
    printed = capsys.readouterr().out
    for option in ("-o", "--plot"):
        if option in arguments:
            name = arguments[arguments.index(option) + 1]
            assert name in printed and (tmp_path / name).stat().st_size > 0
    if promised:
        got, said = (re.split(r"\s+", text.strip()) for text in (printed, promised))
        assert len(got) == len(said)
        for a, b in zip(got, said):
            assert a == b or abs(float(a) - float(b)) <= 1e-9, (a, b)


@pytest.mark.slow
def test_the_figure_command(tmp_path, capsys):
    """The first command, with the quick figure; both paths are printed and both files are there."""
    arguments = ["figure", "phase-diagram", "-o", str(tmp_path / "out"), "--quick"]
    assert cli.main(arguments) == 0
    image, data = (Path(line) for line in capsys.readouterr().out.split())
    assert image.suffix == ".png" and data.suffix == ".nc"
    loaded = rx.load_dataset(data)
    assert float(loaded["entropy"].max()) == pytest.approx(np.log(2), abs=1e-12)
    at_zero = np.interp(0.0, loaded["margin"], loaded["capacity"])
    assert at_zero == pytest.approx(0.8330786, abs=1e-2)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", text_of(page)):
        assert target.startswith("http") or (page.parent / target).exists(), target


def test_pictures_are_small():
    assert all(f.stat().st_size < 300_000 for f in (ROOT / "docs").glob("*.png"))


def test_versions_agree():
    version = tomllib.loads(text_of(ROOT / "pyproject.toml"))["project"]["version"]
    assert f"version: {version}\n" in text_of(ROOT / "CITATION.cff")
    assert re.search(r"^## \[(.*?)\]", text_of(ROOT / "CHANGELOG.md"), re.MULTILINE)[1] == version  # type: ignore


# ---------------------------------------------------------------- ternary weights


@pytest.fixture(scope="module")
def ternary():
    """What the worked example of docs/architecture.md defines."""
    (source,) = blocks(ROOT / "docs" / "architecture.md", "python")
    return run_python(source)[0]


def ternary_by_hand(alpha: float, kappa: float) -> dict[str, float]:
    """RS of ternary weights with the saddle-point equations written out, on a uniform grid."""
    z = np.linspace(-10.0, 10.0, 4001)
    dz = norm.pdf(z) * (z[1] - z[0])

    def site(q_hat, b):
        h = np.sqrt(q_hat) * z
        up, down = np.exp(h + 0.5 * b), np.exp(-h + 0.5 * b)
        total = 1.0 + up + down
        mean, square = (up - down) / total, (up + down) / total
        return dz @ np.log(total), dz @ mean**2, dz @ (square - mean**2)

    def pattern(q, V):
        u = (kappa - np.sqrt(q) * z) / np.sqrt(V)
        log_f = norm.logsf(u)
        mills = np.exp(norm.logpdf(u) - log_f)
        return dz @ log_f, dz @ mills**2 / V, -(dz @ (mills * (mills - u))) / V

    def residual(x):
        _, q, V = site(np.exp(x[0]), x[1])
        _, score2, slope = pattern(q, V)
        return [x[0] - np.log(alpha * score2), x[1] - alpha * slope]

    found = root(residual, [np.log(alpha), -alpha], tol=1e-13)
    assert found.success
    q_hat, b = np.exp(found.x[0]), found.x[1]
    value, q, V = site(q_hat, b)
    phi = -0.5 * q_hat * V - 0.5 * (q + V) * b + value + alpha * pattern(q, V)[0]
    return dict(phi=phi, q=q, Q=q + V, q_hat=q_hat, b=b)


@pytest.mark.parametrize("alpha, kappa", [(0.5, 0.0), (1.0, 0.0), (0.3, 0.5), (1.2, -0.5)])
def test_ternary_weights_against_equations_written_by_hand(ternary, alpha, kappa):
    solution = ternary["rx"].solve(ternary["TernaryPerceptron"](alpha=alpha, kappa=kappa))
    expected = ternary_by_hand(alpha, kappa)
    assert float(solution.phi) == pytest.approx(expected.pop("phi"), abs=1e-11)
    for name, value in expected.items():
        assert float(getattr(solution, name)) == pytest.approx(value, rel=1e-9), name


def test_ternary_numbers_of_the_page(ternary):
    page = text_of(ROOT / "docs" / "architecture.md")
    solution, capacity = ternary["solution"], ternary["capacity"]
    for shown in (f"{solution.entropy:.10f}", f"{solution.q:.6f}", f"{solution.Q:.6f}", f"{capacity:.7f}"):
        assert shown in page
    assert ternary_by_hand(float(capacity), 0.0)["phi"] == pytest.approx(0.0, abs=1e-8)
    step = 1e-4
    difference = ternary_by_hand(0.5, step)["phi"] - ternary_by_hand(0.5, -step)["phi"]
    assert float(ternary["slope"]) == pytest.approx(difference / (2 * step), abs=1e-6)


def test_ternary_weights_against_enumeration(ternary):
    """(1/N) E log Z of all 3^N weights at alpha = 1/2, kappa = 0, extrapolated in 1/N."""
    rng = np.random.default_rng(0)
    means, errors, sizes = [], [], (6, 8, 10)
    for N in sizes:
        weights = np.stack(np.meshgrid(*[np.arange(-1.0, 2.0)] * N, indexing="ij"), -1).reshape(-1, N)
        logs = []
        for _ in range(100 if N == sizes[-1] else 900):
            patterns = rng.normal(size=(N // 2, N))
            logs.append(np.log(np.sum(np.all(weights @ patterns.T >= 0.0, axis=1))) / N)
        means.append(np.mean(logs))
        errors.append(np.std(logs, ddof=1) / np.sqrt(len(logs)))
    design = np.stack([np.ones(3), 1.0 / np.array(sizes)], 1) / np.array(errors)[:, None]
    solved = np.linalg.lstsq(design, np.array(means) / errors, rcond=None)[0]
    error = np.sqrt(np.linalg.inv(design.T @ design)[0, 0])
    theory = float(ternary["solution"].phi)
    assert error < 0.02
    assert abs(solved[0] - theory) < 4 * error + 0.005


if __name__ == "__main__":
    page = text_of(README)
    for name, make in TABLES.items():
        before, old, after = between(name).findall(page)[0]
        page = page.replace(before + old + after, before + make() + after)
    README.write_text(page, encoding="utf-8")
    print(README, file=sys.stderr)
