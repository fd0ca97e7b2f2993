"""Runs the notebooks from top to bottom. With GAITEXT_WRITE_DOCS=1 what comes out is kept in them, for the site."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.docs.pages import ROOT

NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
#: What git holds of pictures and texts, bytes: notebooks grow unseen.
LARGEST = 400_000


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_shows_what_it_did(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    kept = [kinds(cell) for cell in notebook.cells]
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    if os.environ.get("GAITEXT_WRITE_DOCS"):
        nbformat.write(notebook, path)
    else:
        assert [kinds(cell) for cell in notebook.cells] == kept, "run this test with GAITEXT_WRITE_DOCS=1"
    assert path.stat().st_size < LARGEST
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            assert output.get("name") != "stderr", output


def kinds(cell: nbformat.NotebookNode) -> list[str]:
    """What a cell shows: of each output its kind, and the types it comes in."""
    return [f"{output.output_type} {sorted(output.get('data', ()))}" for output in cell.get("outputs", ())]
