"""Sweeps: the numbers of `solve` on a grid, files that explain themselves, nothing lost in a kill."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from replicax.answers import sweep as module
from replicax.answers.columns import COLUMNS, column
from replicax.answers.solve import solve
from replicax.answers.status import CODE, STATUSES
from replicax.answers.sweep import load_dataset, remove_blocks, save_dataset, sweep
from replicax.theory.ansatz import RS, LocalEntropy
from replicax.theory.models import BinaryPerceptron, Perceptron, RecurrentNetwork, SymmetricPerceptron

ALPHA, KAPPA = np.linspace(0.1, 1.6, 5), np.array([-0.5, 0.0, 0.7])
#: 40 cheap points in blocks of 8
CHEAP = dict(alpha=np.linspace(0.1, 2.0, 8), kappa=np.linspace(0.5, 1.0, 5), constraint="u", block=8)
HEADER = """
    import os, signal, sys
    import numpy as np
    import replicax
    from replicax.answers import sweep as module
    from replicax.answers.sweep import save_dataset, sweep
    from replicax.theory.ansatz import RS
    from replicax.theory.models import BinaryPerceptron, SymmetricPerceptron
"""


def run(script: str, *arguments, expect: int = 0, **environment: str) -> str:
    code = textwrap.dedent(HEADER) + textwrap.dedent(script)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == expect, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def diagram() -> xr.Dataset:
    return sweep(BinaryPerceptron, RS(), kappa=KAPPA, alpha=ALPHA)


@pytest.fixture
def solves(monkeypatch) -> list[int]:
    """The sizes of the blocks that were solved."""
    sizes = []

    def counted(model, ansatz):
        sizes.append(np.size(model.alpha))
        return solve(model, ansatz)

    monkeypatch.setattr(module, "solve", counted)
    return sizes


def test_every_point_is_what_solve_gives(diagram):
    assert diagram["phi"].dims == ("kappa", "alpha")
    for i, kappa in enumerate(KAPPA):
        alone = solve(BinaryPerceptron(alpha=ALPHA, kappa=kappa), RS())
        for name in ("phi", "q", "replicon", "converged"):
            expected = np.asarray(getattr(alone, name), float)
            np.testing.assert_allclose(diagram[name][i], expected, rtol=1e-9, atol=1e-12)
        np.testing.assert_array_equal(diagram["status"][i], alone.code)
        np.testing.assert_allclose(diagram["phi"].sel(kappa=kappa), alone.phi, rtol=1e-12)


def test_a_published_point():
    """Krauth & Mezard (1989): the entropy of the binary perceptron vanishes at alpha = 0.833."""
    entropy = sweep(BinaryPerceptron, alpha=[0.83307859974]).entropy
    assert abs(float(entropy[0])) < 1e-10


def test_the_dataset_explains_itself(diagram):
    for name, variable in diagram.variables.items():
        assert variable.attrs["definition"] and variable.attrs["units"], name
    assert diagram["phi"].attrs == dict(definition=COLUMNS["phi"].definition, units="nats per weight")
    assert diagram["alpha"].attrs["definition"] == "patterns per weight, P/N"
    assert diagram.coords["beta"] == np.inf and diagram.coords["beta"].dims == ()
    assert diagram.attrs["model"] == "binary-perceptron" and diagram.attrs["ansatz"] == "rs"
    assert diagram.attrs["parameters"] == "beta=inf labels=random"
    assert "nodes" in diagram.attrs["quadrature"]
    for package in ("replicax", "jax", "jaxlib", "numpy"):
        assert diagram.attrs[f"{package}_version"]
    status = diagram["status"]
    assert status.dtype == diagram["converged"].dtype == np.int8
    meanings = status.attrs["flag_meanings"].split()
    assert [m.replace("_", " ") for m in meanings] == list(STATUSES)
    np.testing.assert_array_equal(status.attrs["flag_values"], np.arange(len(STATUSES)))


def test_beyond_the_domain_of_existence_points_are_flagged_and_nan(diagram):
    lost = diagram["converged"] == 0
    assert lost.any() and not lost.all()
    assert bool(lost.sel(kappa=0.7, alpha=1.6))
    assert (diagram["status"].values[lost] == CODE["no solution"]).all()
    for name in ("phi", "entropy", "q", "replicon", "quadrature_error"):
        np.testing.assert_array_equal(np.isnan(diagram[name]), lost)


def test_units_are_per_spin_for_the_network():
    # a control among the order parameters is its own coordinate; y = inf is a result and so no parameter
    found = sweep(RecurrentNetwork, LocalEntropy, q1=[0.3, 0.6], J_D=0.5, y=np.inf)
    assert found["phi"].attrs["units"] == "nats per spin" and found["phi"].dims == ("q1",)
    assert found.coords["J_D"] == 0.5 and (found["y"] == np.inf).all() and "y" in found.data_vars
    expected = solve(RecurrentNetwork(J_D=0.5), LocalEntropy(q1=np.array([0.3, 0.6]))).phi
    np.testing.assert_allclose(found["phi"], expected, rtol=1e-12)
    np.testing.assert_allclose(sweep(RecurrentNetwork(J_D=0.5), LocalEntropy(q1=0.3)).phi, expected[0])


@pytest.mark.parametrize("extension", ["nc", "json"])
def test_files_are_read_back_identical(diagram, tmp_path, extension):
    strange = diagram.assign(limit=(("alpha",), np.array([np.inf, -np.inf, np.nan, 0.1 + 0.2, 1e-300])))
    for dataset in (diagram, strange, diagram.isel(alpha=0, kappa=0)):
        path = tmp_path / f"diagram.{extension}"
        save_dataset(dataset, path)
        back = load_dataset(path)
        xr.testing.assert_identical(dataset, back)
        assert {k: v.dtype for k, v in back.variables.items()} == {
            k: v.dtype for k, v in dataset.variables.items()
        }
    assert os.listdir(tmp_path) == [path.name]


def test_json_is_strict_and_csv_is_a_table(diagram, tmp_path):
    def refuse(constant):
        raise AssertionError(constant)

    save_dataset(diagram, tmp_path / "d.json")
    json.loads((tmp_path / "d.json").read_text(), parse_constant=refuse)
    save_dataset(diagram, tmp_path / "d.csv")
    header, *rows = (line.split(",") for line in (tmp_path / "d.csv").read_text().splitlines())
    assert header[:3] == ["kappa", "alpha", "beta"] and len(rows) == diagram["phi"].size
    assert [float(x) for x in rows[6][:2]] == [KAPPA[1], ALPHA[1]]
    assert float(rows[6][header.index("phi")]) == float(diagram["phi"][1, 1])
    assert rows[-1][header.index("status")] == "no solution" and rows[-1][header.index("phi")] == "nan"


def test_a_failed_write_leaves_the_old_file(diagram, tmp_path, monkeypatch):
    path = tmp_path / "d.nc"
    save_dataset(diagram, path)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_dataset(diagram.isel(alpha=0), path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["d.nc"]


@pytest.mark.parametrize("write", [save_dataset, lambda _, path: load_dataset(path)])
def test_unknown_extensions_are_refused(diagram, tmp_path, write):
    with pytest.raises(ValueError, match="xlsx"):
        write(diagram, tmp_path / "d.xlsx")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            dict(alpa=[0.1]),
            "unknown parameter 'alpa': binary-perceptron has alpha, kappa, beta, labels; rs has branch",
        ),
        (dict(alpha=[0.1, -0.2]), r"alpha = -0.2 is outside the allowed range \[0"),
        (dict(alpha=[0.1], kappa=[0.0, np.nan]), "kappa = nan"),
        (dict(alpha=0.1, beta=-1.0), "beta = -1"),
        (dict(kappa=[0.1]), "alpha is missing"),
        (dict(alpha=[[0.1]]), r"alpha: .*\(1, 1\)"),
        (dict(alpha=[]), r"alpha: .*\(0,\)"),
        (dict(alpha=["a"]), "alpha: .* numbers"),
        (dict(alpha=0.1, labels=["random"]), "labels takes one value"),
        (dict(alpha=0.1, labels="none"), "labels = 'none'"),
        (dict(alpha=[0.1], block=0), "block = 0"),
        (dict(alpha=[0.1], resume=True), "resume"),
    ],
)
def test_bad_arguments_are_refused_before_computing(solves, arguments, message):
    with pytest.raises(ValueError, match=message):
        sweep(BinaryPerceptron, RS(), **arguments)
    assert solves == []


def test_bad_models_are_refused(solves):
    with pytest.raises(ValueError, match="not a model"):
        sweep("binary-perceptron", alpha=[0.1])
    with pytest.raises(ValueError, match="prior is missing"):
        sweep(Perceptron, alpha=[0.1])
    with pytest.raises(ValueError, match="alpha: give a grid as a keyword"):
        sweep(BinaryPerceptron(alpha=np.ones(2)))
    with pytest.raises(ValueError, match="is not available for symmetric-perceptron"):
        sweep(SymmetricPerceptron, LocalEntropy, alpha=[0.1], kappa=0.5, d=0.1)
    assert solves == []


def test_blocks_and_threads_change_nothing(solves, tmp_path):
    whole = sweep(SymmetricPerceptron, **{**CHEAP, "block": None})
    assert solves == [40]
    xr.testing.assert_allclose(whole, sweep(SymmetricPerceptron, **CHEAP), rtol=1e-13)
    assert solves[1:] == [8] * 5
    with ThreadPoolExecutor(2) as pool:
        spread = sweep(SymmetricPerceptron, **CHEAP, executor=pool, folder=tmp_path)
    xr.testing.assert_identical(spread, sweep(SymmetricPerceptron, **CHEAP))


def test_default_blocks_share_one_compilation():
    assert module._blocks(4097, None) == [(0, 2049), (2049, 4097)]
    assert module._blocks(1, None) == [(0, 1)]
    spans = module._blocks(40200, None)
    assert spans[0] == (0, 4020) and spans[-1][1] == 40200 and len({b - a for a, b in spans}) == 1


def test_killed_in_the_middle_nothing_is_lost_or_computed_twice(solves, tmp_path):
    folder = tmp_path / "blocks"
    script = """
        write, written = module._savez, []

        def half_a_file(path, key, result):
            if len(written) == 3:
                path.write_bytes(b"PK half a block")
                os.kill(os.getpid(), signal.SIGKILL)
            written.append(path)
            write(path, key, result)

        module._savez = half_a_file
        sweep(SymmetricPerceptron, alpha=np.linspace(0.1, 2.0, 8), kappa=np.linspace(0.5, 1.0, 5),
              constraint="u", block=8, folder=sys.argv[1])
    """
    run(script, folder, expect=-signal.SIGKILL)
    done = sorted(folder.glob("block-*.npz"))
    assert len(done) == 3 and len(list(folder.glob(".*.tmp"))) == 1
    times = [path.stat().st_mtime_ns for path in done]

    with pytest.raises(ValueError, match="resume it"):
        sweep(SymmetricPerceptron, **CHEAP, folder=folder)
    with pytest.raises(ValueError, match=r"another sweep: parameters = .*=u.* there, .*=rectangle"):
        sweep(SymmetricPerceptron, **{**CHEAP, "constraint": "rectangle"}, folder=folder, resume=True)
    with pytest.raises(ValueError, match="another sweep: axes = "):
        sweep(SymmetricPerceptron, **{**CHEAP, "alpha": CHEAP["alpha"] + 1e-9}, folder=folder, resume=True)
    assert solves == []

    resumed = sweep(SymmetricPerceptron, **CHEAP, folder=folder, resume=True)
    assert solves == [8, 8]
    assert [path.stat().st_mtime_ns for path in done] == times
    xr.testing.assert_identical(resumed, sweep(SymmetricPerceptron, **CHEAP))
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 6 and names[-1] == "sweep.json" and not any(n.endswith(".tmp") for n in names)

    solves.clear()
    xr.testing.assert_identical(resumed, sweep(SymmetricPerceptron, **CHEAP, folder=folder, resume=True))
    assert solves == []
    remove_blocks(folder)
    assert not folder.exists()


def test_blocks_of_two_sweeps_are_never_mixed(tmp_path):
    for name, shift in (("a", 0.0), ("b", 0.1)):
        sweep(SymmetricPerceptron, **{**CHEAP, "kappa": CHEAP["kappa"] + shift}, folder=tmp_path / name)
    stranger = sorted((tmp_path / "b").glob("block-*.npz"))[2]
    (tmp_path / "a" / stranger.name).write_bytes(stranger.read_bytes())
    with pytest.raises(ValueError, match="is not of the sweep"):
        sweep(SymmetricPerceptron, **CHEAP, folder=tmp_path / "a", resume=True)
    (tmp_path / "a" / "sweep.json").unlink()
    with pytest.raises(ValueError, match="without"):
        sweep(SymmetricPerceptron, **CHEAP, folder=tmp_path / "a", resume=True)
    (tmp_path / "a" / "notes.txt").write_text("mine")
    remove_blocks(tmp_path / "a")
    assert os.listdir(tmp_path / "a") == ["notes.txt"]


def test_the_bar_is_for_terminals(capsys):
    sweep(SymmetricPerceptron, **CHEAP)
    assert capsys.readouterr().err == ""
    sweep(SymmetricPerceptron, **CHEAP, progress=True)
    assert "40/40" in capsys.readouterr().err


def test_every_documented_column_has_a_definition():
    for name in (
        "q_0",
        "q_3",
        "m_2",
        "stability_1",
        "phi_err",
        "q_0_err",
        "R_hat",
        "rho_hat",
        "value",
        "samples",
    ):
        definition, units = column(name)
        assert definition != name and units
    assert column("entropy_err").units == "nats per weight" and column("stranger").definition == "stranger"
    for definition, units in COLUMNS.values():
        assert definition and "\n" not in definition and units in ("1", "nats per weight")


@pytest.mark.slow
@pytest.mark.multiprocess
def test_processes_change_nothing(tmp_path):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        spread = sweep(SymmetricPerceptron, **CHEAP, executor=pool, folder=tmp_path)
    xr.testing.assert_identical(spread, sweep(SymmetricPerceptron, **CHEAP))
    assert len(list(tmp_path.glob("block-*.npz"))) == 5 and not list(tmp_path.glob(".*"))


@pytest.mark.slow
@pytest.mark.multiprocess
def test_eight_devices_agree_with_one(diagram, tmp_path):
    script = """
        import jax
        assert len(jax.local_devices()) == 8
        data = sweep(BinaryPerceptron, RS(), kappa=np.array([-0.5, 0.0, 0.7]), alpha=np.linspace(0.1, 1.6, 5))
        save_dataset(data, sys.argv[1])
    """
    run(script, tmp_path / "d.nc", XLA_FLAGS="--xla_force_host_platform_device_count=8")
    eight = load_dataset(tmp_path / "d.nc")
    xr.testing.assert_equal(eight[["status", "converged"]], diagram[["status", "converged"]])
    trusted = ["phi", "entropy", "q", "q_hat", "replicon"]
    xr.testing.assert_allclose(eight[trusted], diagram[trusted], rtol=1e-8, atol=1e-12)


@pytest.mark.slow
@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="the peak of the memory is read from /proc"
)
def test_a_phase_diagram_of_40_000_points_is_small_and_fast():
    script = """
        import pathlib, re, time
        start = time.perf_counter()
        data = sweep(BinaryPerceptron, RS(), alpha=np.linspace(.1, .8, 200), kappa=np.linspace(-1, 1, 201))
        assert data["phi"].shape == (200, 201)
        # not ru_maxrss, which begins with that of the process that forked
        peak = re.search("VmHWM:[^0-9]*([0-9]+) kB", pathlib.Path("/proc/self/status").read_text())[1]
        print(1024 * int(peak), time.perf_counter() - start)
    """
    start = time.perf_counter()
    peak, seconds = map(float, run(script).split())
    assert peak < 2e9 and seconds < 120, (peak, seconds, time.perf_counter() - start)
