"""Killing one of a run's processes ends the run, with a message and a status, in every host."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from gaitext.toolboxes.toolbox import TOOLBOXES

from . import data, killing
from .checkout import needs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks processes up in /proc"),
]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return data.make_dataset(tmp_path_factory.mktemp("casia"))


@pytest.mark.toolbox
@pytest.mark.parametrize("toolbox", [pytest.param(t.name.lower(), marks=needs(t), id=t.name) for t in TOOLBOXES])
def test_toolboxes(toolbox: str, dataset: Path, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    root: Path = request.getfixturevalue(toolbox)
    cfgs = data.config(dataset, 2, save_name="killed", total_iter=1_000_000, save_iter=1_000_000, fix_BN=False)
    config = data.write_config(tmp_path / "config.yaml", cfgs)
    log = tmp_path / "log.txt"
    call = ["run", str(root), "--device", "cpu", "--nproc", "2", "--", "--cfgs", str(config), "--phase", "train"]
    with killing.command(call, tmp_path) as process:
        killing.wait_until(lambda: "Iteration 00003" in log.read_text(), process, log)
        rank = killing.by_environment(process, "RANK=1")
        below = killing.all_below(process)
        os.kill(rank, signal.SIGKILL)
        assert killing.ended(process, log) != 0
        killing.check_gone(below)
    said = log.read_text()
    # torchrun's summary.
    assert "exitcode  : -9" in said or "exitcode: -9" in said
    assert f"Signal 9 (SIGKILL) received by PID {rank}" in said


def test_embedded_host(dataset: Path, tmp_path: Path) -> None:
    cfgs = data.config(dataset, 2, save_name="killed", total_iter=1_000_000, save_iter=1_000_000)
    config = data.write_config(tmp_path / "config.yaml", cfgs)
    log, rows = tmp_path / "log.txt", tmp_path / "output/CASIA-B/GaitHeat/killed/log.csv"
    with killing.command(["train", str(config), "--device", "cpu", "--nproc", "2", "--quiet"], tmp_path) as process:
        killing.wait_until(lambda: rows.exists() and len(rows.read_text().splitlines()) > 3, process, log)
        ranks = killing.by_command(process, "spawn_main")
        assert len(ranks) == 2
        below = killing.all_below(process)
        os.kill(ranks[1], signal.SIGKILL)
        assert killing.ended(process, log) == 1
        killing.check_gone(below)
    said = " ".join(log.read_text().split())
    assert "Traceback" not in said
    assert "has ended" in said
    assert "--resume" in said
