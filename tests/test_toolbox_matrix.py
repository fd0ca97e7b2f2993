"""tools/toolbox_matrix.py: what counts as failed, what is run again, what a page says of it, what is left behind."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gaitext.toolboxes.hosts import TOOLBOXES

from .toolboxes.fake import make_toolbox

sys.path.insert(0, str(Path(__file__).parent.parent / "tools"))
import toolbox_matrix as matrix
from toolbox_matrix_checkouts import copied
from toolbox_matrix_configs import CASES, MODELS, Place, checkpoint, config
from toolbox_matrix_evaluators import compared
from toolbox_matrix_launch import last_error
from toolbox_matrix_report import markdown

LOSS = "Iteration 00001, Cost 0.1s, occlusion_loss={}, occlusion_accuracy=1.0"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(TOOLBOXES[0], tmp_path / "OpenGait", tmp_path / "data", 1, "cpu")


def wrong(place: Place, case: str, log: str) -> str | None:
    cfgs = {"data_cfg": {"dataset_name": "CASIA-B"}, "trainer_cfg": {"total_iter": 2}}
    return matrix._wrong(matrix.Cell(place, "RGGaitOEM", case), cfgs, log)


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
    monkeypatch.setattr(matrix, "config", lambda *_: {"trainer_cfg": {"total_iter": 2}, "data_cfg": {}})
    monkeypatch.setattr(matrix, "launch", lambda *_: (0, LOSS.format("0.5")))
    outcome = matrix.run_cell(matrix.Cell(place, "RGGaitOEM", "train"), place.data, 1)
    assert (outcome.state, outcome.reason) == ("failed", "left no checkpoint train-cpu-1-00002.pt")


def test_says_why_a_run_failed() -> None:
    log = "x\n[rank0]: KeyError: 'the cause'\nUserWarning: no\ntorch.distributed.elastic.ChildFailedError:\nend"
    assert last_error(log) == "[rank0]: KeyError: 'the cause'"
    assert last_error("nothing to see") == "nothing to see"
    assert last_error("") == "nothing was logged"


def test_runs_only_what_has_to_be_run(tmp_path: Path) -> None:
    made: list[str] = []

    def make(state: str) -> Any:
        return lambda: made.append(state) or {"state": state, "reason": ""}

    first = matrix._Book(tmp_path, False, math.inf)
    assert first.outcome("a", make("failed"))["state"] == "failed"
    assert first.outcome("a", make("ok"))["state"] == "failed"
    assert matrix._Book(tmp_path, True, -1).outcome("a", make("ok"))["state"] == "failed"
    assert matrix._Book(tmp_path, False, -1).outcome("b", make("ok"))["state"] == "not run"
    assert made == ["failed"]
    again = matrix._Book(tmp_path, True, math.inf)
    assert [again.outcome(name, make("ok"))["state"] for name in "ab"] == ["ok", "ok"]


def test_what_is_left_behind_is_seen(tmp_path: Path) -> None:
    original = make_toolbox(tmp_path / "original")
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "all"]):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "-C", str(original), *who, *arguments], check=True)
    checkout = copied(TOOLBOXES[0], str(original), tmp_path / "work")
    with checkout.linked():
        assert (checkout.root / checkout.toolbox.plugin).exists()
        (checkout.root / "output").mkdir()
    found = checkout.differences()
    assert found["added"] == [f"?? {checkout.toolbox.plugin}"]
    assert found["changed"] == []
    (checkout.root / checkout.toolbox.main).write_text("changed")
    (checkout.root / "left").touch()
    changed = checkout.differences()["changed"]
    assert {"left", "?? left", checkout.toolbox.main} <= set(changed)


def test_compares_conditions_and_cells() -> None:
    theirs = {"scalar/test_accuracy/NM@R1": 40.0, "scalar/test_accuracy/NM@R5": 90.0, "x/CL": [[90, 10], [30, 70]]}
    ours = {"scalar/test_accuracy/NM@R1": 41.0, "scalar/test_accuracy/CL@R1": 20.0}
    assert compared(theirs, ours) == {"NM": (40.0, 41.0), "CL": (20.0, 20.0)}


def test_the_page_says_what_failed_and_what_was_not_run() -> None:
    cells = {}
    for case in CASES:
        for processes in (1, 2):
            state = "failed" if (case, processes) == ("resume", 1) else "not run" if processes == 2 else "ok"
            about = {"toolbox": "OpenGait", "model": "GaitPT", "case": case, "processes": processes}
            cells[f"{case}{processes}"] = {**about, "state": state, "reason": "KeyError: 7", "seconds": 4.0}
    checkouts = {"OpenGait": {"commit": "abc", "files": 3, "added": ["?? plugin"], "changed": []}}
    results = {"cells": cells, "processes": [1, 2], "device": "cpu", "command": "this", "iterations": 2}
    page = markdown({**results, "evaluations": {}, "checkouts": checkouts})
    row = next(line for line in page.splitlines() if line.startswith("| GaitPT"))
    assert row == "| GaitPT | ✓ · | ✗ · | " + " | ".join(["✓ ·"] * (len(CASES) - 2)) + " |"
    assert f"{2 * len(CASES)} cells: {len(CASES) - 1} ok, 1 failed, {len(CASES)} not run" in page
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
