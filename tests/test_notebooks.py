"""The notebooks run from top to bottom; the published numbers in them are asserted in their own cells."""

import os
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.notebook
@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_runs(path, tmp_path, monkeypatch):
    """In a fresh kernel and an empty folder."""
    from nbclient import NotebookClient

    monkeypatch.setitem(os.environ, "PYTHONWARNINGS", "ignore")  # of the kernel's own machinery
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources=dict(metadata=dict(path=tmp_path))
    )
    client.execute()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_committed_notebook(path):
    """Light, valid, run in order, without errors and without traces of a machine."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size < 1_000_000
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] in (
        [None] * len(cells),
        list(range(1, len(cells) + 1)),
    )
    outputs = [output for cell in cells for output in cell.outputs]
    assert not any(o.output_type == "error" or o.get("name") == "stderr" for o in outputs)


def test_there_is_a_notebook():
    assert [path.name for path in NOTEBOOKS][:1] == ["01_phase_diagram.ipynb"]


@pytest.mark.parametrize("printed", ["0.833", "0.8330786", "0.817", "2", "0.1992"])
def test_published_numbers_are_computed_where_they_are_compared(printed):
    """Each stands in one cell with the call of replicax that computes it, or the value that call returned."""
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    (cell,) = [c for c in notebook.cells if c.cell_type == "code" and f', "{printed}")' in c.source]
    assert "rx." in cell.source
