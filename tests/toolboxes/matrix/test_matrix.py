"""Every model of gaitext in every case, through the toolboxes' own main.py; docs/toolbox-matrix.md says what it shows.

    OPENGAIT_ROOT=… FASTPOSEGAIT_ROOT=… GAITEXT_WRITE_DOCS=1 python -m pytest tests/toolboxes/matrix

runs all of it, in one process for about an hour, and writes the page; ``-k "OpenGait and GaitPT"`` runs a part, and
what it starts from. Beside each run's exit status it is checked that losses are numbers, that the log says what it
must, and that the checkpoint is there.
"""

from __future__ import annotations

from dataclasses import asdict

import pytest

from gaitext.toolboxes.toolbox import TOOLBOXES, Toolbox
from tests.toolboxes.checkout import needs
from tests.toolboxes.matrix.configs import CASES, EVALUATED, MODELS, PROCESSES, not_applicable
from tests.toolboxes.matrix.conftest import Matrix
from tests.toolboxes.matrix.runs import Cell, Outcome, run_evaluation

pytestmark = [pytest.mark.toolbox, pytest.mark.slow]
toolboxes = pytest.mark.parametrize(
    "toolbox", [pytest.param(toolbox, id=toolbox.name, marks=needs(toolbox)) for toolbox in TOOLBOXES]
)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("model", MODELS)
@toolboxes
@pytest.mark.parametrize("processes", PROCESSES)
def test_cell(matrix: Matrix, processes: int, toolbox: Toolbox, model: str, case: str) -> None:
    cell = Cell(matrix.place(toolbox, processes), model, case)
    why = not_applicable(cell.place, case)
    if why is not None:
        matrix.record(cell, Outcome("not applicable", why))
        pytest.skip(why)
    outcome = matrix.run(cell)
    assert outcome.state == "ok", outcome.reason


@pytest.mark.parametrize("dataset", EVALUATED)
@toolboxes
def test_the_toolboxes_numbers_are_gaitexts(matrix: Matrix, toolbox: Toolbox, dataset: str) -> None:
    place, model = matrix.place(toolbox, PROCESSES[0]), EVALUATED[dataset]
    assert matrix.run(Cell(place, model, "train")).state == "ok"
    name = f"{toolbox.name}-on-{dataset}"
    outcome = run_evaluation(place, model, dataset, matrix.work / "cells" / name)
    about = {"toolbox": toolbox.name, "dataset": dataset, "state": outcome.state, "reason": outcome.reason}
    matrix.results["evaluations"][name] = {**about, **asdict(outcome)["found"]}
    if outcome.state == "not applicable":
        pytest.skip(outcome.reason)
    assert outcome.state == "ok", outcome.reason
