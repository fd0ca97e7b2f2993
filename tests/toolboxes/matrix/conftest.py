"""The matrix's data, its linked copies of the toolboxes, and the page that says what its tests found."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox
from tests.toolboxes.checkout import git_status, hashes, linked_copy
from tests.toolboxes.matrix.configs import CASES, MODELS, Place, checkpoint
from tests.toolboxes.matrix.page import markdown
from tests.toolboxes.matrix.runs import Cell, Outcome, run_cell
from tests.toolboxes.matrix.walkers import make_data

_PAGE = Path(__file__).parents[3] / "docs" / "toolbox-matrix.md"
_RESULTS = pytest.StashKey[dict[str, Any]]()


class Matrix:
    """What the tests share: cells that have run, and where.

    Args:
        work: a folder for data, copies, configs and logs.
        results: for the page: outcomes of cells and evaluations, and what is left behind in the toolboxes.
    """

    def __init__(self, work: Path, results: dict[str, Any]) -> None:
        self.work, self.results = work, results
        self.roots: dict[str, Path] = {}
        self.links: list[Any] = []
        make_data(work / "data")

    def place(self, toolbox: Toolbox, processes: int) -> Place:
        if toolbox.name not in self.roots:
            link = self._linked(toolbox)
            self.roots[toolbox.name] = next(link)
            self.links.append(link)
        return Place(toolbox, self.roots[toolbox.name], self.work / "data", processes, "cpu")

    def _linked(self, toolbox: Toolbox) -> Iterator[Path]:
        """A linked copy; what linking added, and that nothing else has changed after unlinking, goes on the page."""
        with linked_copy(toolbox, self.work) as root:
            original = Path(os.environ[toolbox.environment])
            before = git_status(original).splitlines()
            added = [line for line in git_status(root).splitlines() if line not in before]
            commit = subprocess.run(
                ["git", "-C", str(root), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
            ).stdout.strip()
            yield root
        shutil.rmtree(root / "output", ignore_errors=True)
        self.results["checkouts"][toolbox.name] = {"commit": commit, "added": added, "files": len(hashes(root))}

    def run(self, cell: Cell) -> Outcome:
        """A cell's outcome, with those that it starts from before it; each runs once."""
        cells = self.results["cells"]
        if cell.name not in cells:
            needed = [*MODELS[cell.model].needs, *([cell.model] if CASES[cell.case].after_train else [])]
            for model in needed:
                self.run(Cell(cell.place, model, "train"))
            missing = [path for model in needed if not (path := checkpoint(cell.place, model)).exists()]
            if missing:
                outcome = Outcome("failed", f"needs {missing[0].name} of {missing[0].parts[-4]}, which is not there")
            else:
                outcome = run_cell(cell, self.work / "cells")
            self.record(cell, outcome)
        return Outcome(**{name: cells[cell.name][name] for name in ("state", "reason", "seconds")})

    def record(self, cell: Cell, outcome: Outcome) -> None:
        about = {"toolbox": cell.place.toolbox.name, "model": cell.model, "case": cell.case}
        self.results["cells"][cell.name] = {**about, "processes": cell.place.processes, **asdict(outcome)}


def pytest_configure(config: pytest.Config) -> None:
    config.stash.setdefault(_RESULTS, {"cells": {}, "evaluations": {}, "checkouts": {}})


@pytest.fixture(scope="session")
def matrix(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Matrix]:
    made = Matrix(tmp_path_factory.mktemp("matrix"), request.config.stash[_RESULTS])
    yield made
    for link in made.links:
        for _ in link:
            raise AssertionError("a copy is linked once")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With GAITEXT_WRITE_DOCS=1 the outcomes become docs/toolbox-matrix.md; tests that did not run, "not run"."""
    results = session.config.stash[_RESULTS]
    if os.environ.get("GAITEXT_WRITE_DOCS") == "1" and results["checkouts"]:
        order = [toolbox.name for toolbox in TOOLBOXES]
        results["checkouts"] = dict(sorted(results["checkouts"].items(), key=lambda item: order.index(item[0])))
        _PAGE.write_text(markdown(results), encoding="utf-8")
