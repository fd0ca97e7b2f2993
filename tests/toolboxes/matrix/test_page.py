"""What counts as failed in the toolbox matrix, what is run again, and what its page says."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from gaitext.toolboxes.toolbox import TOOLBOXES
from tests.toolboxes.checkout import git_status, linked_copy
from tests.toolboxes.fake import make_toolbox
from tests.toolboxes.matrix import conftest, runs
from tests.toolboxes.matrix.configs import CASES, MODELS, Place, checkpoint, config
from tests.toolboxes.matrix.page import markdown
from tests.toolboxes.matrix.runs import Cell, Outcome, compared, last_error, run_cell, what_is_wrong

LOSS = "Iteration 00001, Cost 0.1s, occlusion_loss={}, occlusion_accuracy=1.0"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(TOOLBOXES[0], tmp_path / "OpenGait", tmp_path / "data", 1, "cpu")


def wrong(place: Place, case: str, log: str) -> str | None:
    cfgs = {"data_cfg": {"dataset_name": "CASIA-B"}, "trainer_cfg": {"total_iter": 2}}
    return what_is_wrong(Cell(place, "RGGaitOEM", case), cfgs, log)


def test_a_run_that_ended_well_may_have_gone_wrong(place: Place) -> None:
    assert wrong(place, "train", LOSS.format("nan")) == "the log says occlusion_loss=nan"
    assert wrong(place, "train", LOSS.format("inf")) == "the log says occlusion_loss=inf"
    assert wrong(place, "train", LOSS.format("0.5")) == "left no checkpoint train-cpu-1-00002.pt"
    assert wrong(place, "test", "===Occlusion evaluation") == "the log does not say 'Restore Parameters from'"
    assert wrong(place, "test", "Restore Parameters from here. ===Occlusion evaluation CASIA-B===") is None
    assert wrong(place, "sync_BN", LOSS.format("0.5")) == "the log does not say 'sync_BN is off'"


def test_an_earlier_checkpoint_does_not_pass_for_this_ones(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    stale = checkpoint(place, "RGGaitOEM")
    stale.parent.mkdir(parents=True)
    stale.touch()
    monkeypatch.setattr(runs, "config", lambda *_: {"trainer_cfg": {"total_iter": 2}, "data_cfg": {}})
    monkeypatch.setattr(runs, "launch", lambda *_: (0, LOSS.format("0.5")))
    outcome = run_cell(Cell(place, "RGGaitOEM", "train"), place.data)
    assert (outcome.state, outcome.reason) == ("failed", "left no checkpoint train-cpu-1-00002.pt")


def test_says_why_a_run_failed() -> None:
    log = "x\n[rank0]: KeyError: 'the cause'\nUserWarning: no\ntorch.distributed.elastic.ChildFailedError:\nend"
    assert last_error(log) == "[rank0]: KeyError: 'the cause'"
    assert last_error("nothing to see") == "nothing to see"
    assert last_error("") == "nothing was logged"


def test_a_cell_runs_once_and_after_what_it_starts_from(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def run(cell: Cell, folder: Path) -> Outcome:
        made.append(f"{cell.model} {cell.case}")
        if cell.model == "RGGaitOEM":
            return Outcome("failed", "KeyError: 7")
        left = checkpoint(cell.place, cell.model, cell.case)
        left.parent.mkdir(parents=True)
        left.touch()
        return Outcome("ok")

    monkeypatch.setattr(conftest, "run_cell", run)
    monkeypatch.setattr(conftest, "make_data", lambda _: None)
    matrix = conftest.Matrix(place.data, {"cells": {}, "evaluations": {}, "checkouts": {}})
    assert matrix.run(Cell(place, "GaitHeat", "resume")).state == "ok"
    assert matrix.run(Cell(place, "GaitHeat", "train")).state == "ok"
    lacking = matrix.run(Cell(place, "RGGait", "train"))
    assert (lacking.state, lacking.reason[:6]) == ("failed", "needs ")
    assert "RGGaitOEM" in lacking.reason
    assert matrix.run(Cell(place, "RGGaitOEM", "train")).reason == "KeyError: 7"
    assert made == ["GaitHeat train", "GaitHeat resume", "RGGaitOEM train"]


def test_what_is_left_behind_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, toolbox = make_toolbox(tmp_path / "original"), TOOLBOXES[0]
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(original), *who, *arguments], check=True)
    monkeypatch.setenv(toolbox.environment, str(original))
    with linked_copy(toolbox, tmp_path / "work") as root:
        assert git_status(root).splitlines() == [f"?? {toolbox.plugin}"]
        (root / "output").mkdir()
    assert not (root / toolbox.plugin).exists()
    for name in (toolbox.main, "left"):
        with pytest.raises(AssertionError), linked_copy(toolbox, tmp_path / name) as root:
            (root / name).write_text("changed")


def test_compares_conditions_and_cells() -> None:
    theirs = {"scalar/test_accuracy/NM@R1": 40.0, "scalar/test_accuracy/NM@R5": 90.0, "x/CL": [[90, 10], [30, 70]]}
    ours = {"scalar/test_accuracy/NM@R1": 41.0, "scalar/test_accuracy/CL@R1": 20.0}
    assert compared(theirs, ours) == {"NM": (40.0, 41.0), "CL": (20.0, 20.0)}


def test_the_page_says_what_failed_and_what_was_not_run() -> None:
    cells = {}
    for case in CASES:
        about = {"toolbox": "OpenGait", "model": "GaitPT", "case": case, "processes": 1}
        state = "failed" if case == "resume" else "ok"
        cells[case] = {**about, "state": state, "reason": "KeyError: 7", "seconds": 4.0}
    checkouts = {"OpenGait": {"commit": "abc", "files": 3, "added": ["?? plugin"]}}
    page = markdown({"cells": cells, "evaluations": {}, "checkouts": checkouts})
    row = next(line for line in page.splitlines() if line.startswith("| GaitPT"))
    assert row == "| GaitPT | ✓ · | ✗ · | " + " | ".join(["✓ ·"] * (len(CASES) - 2)) + " |"
    assert f"{len(CASES)} cells: {len(CASES) - 1} ok, 1 failed" in page
    assert "GaitPT, resume, 1 process: `KeyError: 7`" in page
    assert "all 3 files are what they were" in page


@pytest.mark.parametrize("model", MODELS)
def test_configs_differ_from_training_in_their_case_only(model: str, tmp_path: Path) -> None:
    place = Place(TOOLBOXES[1], tmp_path, tmp_path / "data", 2, "cpu")
    for dataset in ("CASIA-B", "PsyMo", "Crops", "SUSTech1K", "CCPG", "OtherCrops"):
        (place.data / dataset).mkdir(parents=True)
        (place.data / dataset / "partition.json").write_text('{"TRAIN_SET": ["1", "2"], "TEST_SET": []}')
    train = config(place, model, "train")
    for case, about in CASES.items():
        cfgs = config(place, model, case)
        assert {key: cfgs["trainer_cfg"][key] for key in about.trainer} == about.trainer
        assert (cfgs["data_cfg"] == train["data_cfg"]) == (case != "cross")
        assert cfgs["model_cfg"] == train["model_cfg"]
