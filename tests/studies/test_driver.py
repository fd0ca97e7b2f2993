"""The driver: nothing is done twice, a failure stops only what needs it, one process a folder."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from gaitext import studies
from gaitext.cli import main
from gaitext.errors import ConfigError, DataError, GaitextError, ToolboxError
from gaitext.store import files, only_one
from gaitext.studies import Cell, Running, run_study
from gaitext.studies import tasks as tasks_module
from gaitext.studies.settings import StudySettings
from gaitext.studies.tasks import Task, finish, perform
from gaitext.toolboxes.toolbox import TOOLBOXES


def work(argument: tuple[Path, dict[str, Any], str]) -> None:
    done, about, kind = argument
    with (done.parent / "log").open("a") as log:
        log.write(f"{done.stem} {os.getpid()}\n")
    if kind == "fails":
        raise DataError("is broken", where=done.stem)
    if kind == "cell":
        Cell("s", "c", int(done.stem), {"mean": 50.0 + int(done.stem)}, {"mean": {"001": 50.0, "002": 51.0}}).write(
            done, **about
        )
    elif kind != "forgets":
        finish(done, about)


def make(folder: Path, name: str, *needs: str, kind: str = "works", alone: bool = False, version: int = 1) -> Task:
    done, about = folder / f"{name}.json", {"version": version}
    return Task(name, work, (done, about, kind), done, about, needs, alone)


def worked(folder: Path) -> list[str]:
    log = folder / "log"
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    running = Running(tmp_path, jobs=1, device="cpu", quiet=True)
    tasks = [make(tmp_path, "data", alone=True), make(tmp_path, "a", "data"), make(tmp_path, "b", "data")]
    perform(tasks, running)
    assert sorted(worked(tmp_path)) == ["a", "b", "data"]
    perform(tasks, running)
    assert len(worked(tmp_path)) == 3
    tasks[2] = make(tmp_path, "b", "data", version=2)  # other settings
    perform([*tasks, make(tmp_path, "c", "a")], running)
    assert sorted(worked(tmp_path)[3:]) == ["b", "c"]


def test_alone_runs_here_and_the_others_in_workers(tmp_path: Path) -> None:
    perform([make(tmp_path, "here", alone=True), make(tmp_path, "there")], Running(tmp_path, 1, quiet=True))
    pids = dict(line.split() for line in (tmp_path / "log").read_text().splitlines())
    assert pids["here"] == str(os.getpid()) != pids["there"]


def test_a_failure_stops_what_needs_it_alone_and_is_told(tmp_path: Path) -> None:
    tasks = [
        make(tmp_path, "bad", kind="fails"),
        make(tmp_path, "needs-bad", "bad"),
        make(tmp_path, "needs-that", "needs-bad"),
        make(tmp_path, "good"),
        make(tmp_path, "needs-good", "good"),
    ]
    with pytest.raises(DataError, match="is broken"):
        perform(tasks, Running(tmp_path, 1, quiet=True))
    assert sorted(worked(tmp_path)) == ["bad", "good", "needs-good"]


def test_a_task_that_forgets_its_result_has_failed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ended without its result"):
        perform([make(tmp_path, "a", kind="forgets")], Running(tmp_path, 1, quiet=True))


class Made:
    """A study of two cells."""

    def __init__(self) -> None:
        claim = {"name": "n", "better": "s@c", "than": "s@c"}
        table = {"name": "t", "title": "T", "rows": ["s"], "columns": [{"condition": "c"}]}
        self.settings = StudySettings.parse(
            {"kind": "made", "title": "Made", "seeds": [0, 1], "claims": [claim], "tables": [table]}, where="made"
        )

    def tasks(self, running: Running) -> list[Task]:
        return [make(running.out, name, kind="cell") for name in ("0", "1")]

    def is_cell(self, task: Task) -> bool:
        return True

    def finish(self, running: Running, cells: Any) -> list[Path]:
        return [running.out / "own.txt"]


def test_one_process_works_in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    with only_one(tmp_path), pytest.raises(DataError, match="another gaitext process is at work here"):
        run_study(Made(), Running(tmp_path, 1, device="cpu", quiet=True))
    assert list(tmp_path.iterdir()) == []


def test_a_study_ends_in_tables_claims_and_plots(tmp_path: Path) -> None:
    result = run_study(Made(), Running(tmp_path, 1, device="cpu", quiet=True))
    assert len(result.cells) == 2
    assert result.cells.numbers("s", "c", "mean") == [50.0, 51.0]
    names = {path.name for path in result.files}
    assert {"t.md", "t.csv", "t.json", "claims.md", "study_results.json", "own.txt", "report.html"} <= names
    assert all(path.exists() for path in result.files if path.name != "own.txt")
    assert "50.5 ± 0.7" in (tmp_path / "t.md").read_text()
    page = (tmp_path / "report.html").read_text()
    assert "50.5 ± 0.7" in page
    assert "kind: made" in page  # the settings are in it, too


@pytest.mark.parametrize(
    ("running", "said"),
    [
        ({"jobs": 0}, "--jobs: is 0"),
        ({"device": "cudaa"}, "unknown device"),
        ({"engine": "rya"}, "unknown engine"),
        ({"toolbox": Path("/no/such")}, "no such folder"),
    ],
)
def test_what_no_task_could_run_with_is_refused_first(tmp_path: Path, running: dict[str, Any], said: str) -> None:
    with pytest.raises(GaitextError, match=said):
        run_study(Made(), Running(tmp_path / "out", **{"device": "cpu", **running}))
    assert not (tmp_path / "out").exists()


def test_a_toolbox_that_is_not_linked_or_given_two_seeds_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in TOOLBOXES[0].signature:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(ToolboxError, match="not linked"):
        run_study(Made(), Running(tmp_path / "out", device="cpu", toolbox=tmp_path))
    monkeypatch.setattr(tasks_module, "check_linked", lambda root: None)
    with pytest.raises(ConfigError, match="sets its own seed"):
        run_study(Made(), Running(tmp_path / "out", device="cpu", toolbox=tmp_path))


def test_workers_are_one_a_core_a_gpu_or_what_the_cluster_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert Running(tmp_path, device="cuda").workers == 3
    assert Running(tmp_path, device="cpu").workers == tasks_module.cores()
    assert Running(tmp_path, device="cpu", engine="ray").workers == 0
    assert Running(tmp_path, device="cpu", engine="ray", jobs=5).workers == 5
    assert Running(tmp_path, jobs=5, toolbox=tmp_path).workers == 1
    gpus = [
        Running(tmp_path, device=device, engine=engine).chosen_engine.num_gpus
        for device in ("cpu", "cuda")
        for engine in ("ray", "ray?num_gpus=0.5", "local")
    ]
    assert gpus == [0, 0.5, None, None, 0.5, None]


def test_workers_share_the_gpus_that_are_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    for index, seen, own in ((0, None, "0"), (3, None, "1"), (1, "4, 7", "7"), (2, "4, 7", "4")):
        monkeypatch.setattr(tasks_module, "worker_index", lambda index=index: index)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", seen) if seen else monkeypatch.delenv(
            "CUDA_VISIBLE_DEVICES", raising=False
        )
        tasks_module._prepare(True)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == own
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    tasks_module._prepare(False)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"


def command_line(monkeypatch: pytest.MonkeyPatch, *words: object) -> Any:
    """The status that ``gaitext study`` ends with."""
    monkeypatch.setattr(sys, "argv", ["gaitext", "study", *map(str, words)])
    with pytest.raises(SystemExit) as caught:
        main()
    return caught.value.code


@pytest.mark.parametrize("error", [IsADirectoryError(21, "Is a directory", "a.md"), ConfigError("no", where="a.md")])
def test_the_command_line_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(studies, "parse_study", lambda *_: None)
    monkeypatch.setattr(studies, "run_study", fail)
    for more, said in (((), r"^Error: a\.md"), (("--seeds", "x"), r"^Error: --seeds: 'x' names no seeds")):
        assert command_line(monkeypatch, "study.yaml", "--out", tmp_path, *more) == 1
        assert re.search(said, capsys.readouterr().err)


def test_an_interrupt_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(studies, "parse_study", interrupt)
    assert command_line(monkeypatch, "study.yaml", "--out", tmp_path) == 130
    assert "goes on from here" in caplog.text
