"""Running a toolbox's main.py on the CPU, and looking at a toolbox with doctor."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from gaitext.errors import ConfigError, ToolboxError
from gaitext.toolboxes import doctor as doctoring
from gaitext.toolboxes import run as running
from gaitext.toolboxes.doctor import doctor
from gaitext.toolboxes.link import link
from gaitext.toolboxes.run import run

from . import data, killing
from .fake import make_toolbox


@pytest.fixture
def toolbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    root = make_toolbox(tmp_path / "OpenGait")
    link(root)
    return root


def test_main_runs_unchanged_on_cpu(toolbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    Path("mine.yaml").write_text("model_cfg: {model: Plain}\n")
    assert run(toolbox, ["--cfgs", "mine.yaml", "--phase", "test"], device="cpu", nproc=2, time_limit=120) == 0
    for rank in (0, 1):
        facts = json.loads((toolbox / f"facts-{rank}.json").read_text())
        assert facts["models"] == ["GaitHeat", "Plain"]
        assert facts["cwd"] == str(toolbox.resolve())
        assert facts["path"] == str((toolbox / "opengait").resolve())
        config = str(tmp_path / "here" / "mine.yaml")
        assert facts["arguments"][1:] == ["--cfgs", config, "--phase", "test"]
        assert (facts["backend"], facts["world"], facts["devices"], facts["total"]) == ("gloo", 2, 2, 3.0)
        assert (facts["device"], facts["loaded"], facts["dtype"]) == ("cpu", "cpu", "torch.float32")


def test_exit_status_is_passed_on(toolbox: Path) -> None:
    assert run(toolbox, ["--cfgs=configs/default.yaml", "--fail"], device="cpu", time_limit=120) != 0


@pytest.mark.skipif(os.name != "posix", reason="needs ps")
def test_time_limit_ends_all_processes(toolbox: Path) -> None:
    started: list[int] = []
    # Other tests leave multiprocessing's resource tracker to this process.
    before = set(running._descendants(os.getpid()))

    def watch() -> None:
        for _ in range(80):
            started[:] = set(running._descendants(os.getpid())) - before or started
            time.sleep(0.1)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with pytest.raises(ToolboxError, match="time limit of 6 s"):
        run(toolbox, ["--cfgs=configs/default.yaml", "--sleep", "60"], device="cpu", time_limit=6)
    watcher.join()
    left = set(running._descendants(os.getpid())) & set(started)
    assert started
    assert not left


@pytest.mark.skipif(os.name != "posix", reason="signals differ")
def test_ctrl_c_ends_the_children(tmp_path: Path) -> None:
    timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        running._supervise(command, tmp_path, dict(os.environ), None)
    assert time.monotonic() - begun < 30
    assert not [p for p in running._descendants(os.getpid()) if "time.sleep(60)" in _command_line(p)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
@pytest.mark.parametrize("status", [0, 1])
def test_of_a_run_that_failed_nothing_stays(status: int, tmp_path: Path) -> None:
    """Not even what has lost its parent, in a session of its own."""
    code = (
        "import subprocess, sys; from pathlib import Path;"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True);"
        f"Path('pid').write_text(str(child.pid)); sys.exit({status})"
    )
    assert running._supervise([sys.executable, "-c", code], tmp_path, dict(os.environ), None) == status
    child = int((tmp_path / "pid").read_text())
    if status == 0:
        os.kill(child, signal.SIGKILL)  # not there, it raises
    killing.check_gone([child])


def _command_line(pid: int) -> str:
    file = Path(f"/proc/{pid}/cmdline")
    return file.read_text() if file.exists() else ""


def test_refuses_before_starting(toolbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_supervise", lambda *_: pytest.fail("was started"))
    with pytest.raises(ConfigError, match="needs a config"):
        run(toolbox, [], device="cpu")
    with pytest.raises(ConfigError, match=r"did you mean .*default\.yaml"):
        run(toolbox, ["--cfgs", "configs/defualt.yaml"], device="cpu")
    with pytest.raises(ToolboxError, match="--device cpu"):
        run(toolbox, ["--cfgs", "configs/default.yaml"], device="cuda", nproc=99)
    with pytest.raises(ToolboxError, match="nproc is 0"):
        run(toolbox, ["--cfgs", "configs/default.yaml"], device="cpu", nproc=0)
    cfgs = data.config(tmp_path)
    cfgs["model_cfg"]["chanels"] = 3
    wrong = data.write_config(tmp_path / "wrong.yaml", cfgs)
    with pytest.raises(ConfigError, match="did you mean 'channels'"):
        run(toolbox, ["--cfgs", str(wrong)], device="cpu")
    with pytest.raises(ToolboxError, match="gaitext link"):
        run(make_toolbox(tmp_path / "unlinked"), ["--cfgs", "configs/default.yaml"], device="cpu")


def test_cuda_runs_main_as_it_is(toolbox: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[list[str], Path, dict[str, str]]] = []
    monkeypatch.setattr(running, "_supervise", lambda c, root, env, limit: calls.append((c, root, env)) or 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3,5,7")
    run(toolbox, ["--cfgs", "configs/default.yaml"], device="cuda", nproc=2)
    command, root, env = calls[0]
    assert "gaitext.toolboxes.cpu" not in command
    assert command[-3:-1] == ["opengait/main.py", "--cfgs"]
    assert command[command.index("--nproc_per_node") + 1] == "2"
    assert env["CUDA_VISIBLE_DEVICES"] == "2,3"
    assert root == toolbox.resolve()


def test_doctor_finds_nothing_wrong(toolbox: Path) -> None:
    report = doctor(toolbox)
    states = {check.name: check.state for check in report.checks}
    assert [check for check in report.checks if check.state == "fail"] == []
    assert report.ok
    assert {states[name] for name in ("toolbox", "link", "import", "models", "transforms", "losses")} == {"ok"}


def test_doctor_tells_what_to_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make_toolbox(tmp_path, zoo="import surely_not_installed\nclass GaitHeat: ...\n")
    (root / "opengait/modeling/models/gaitext_plugin.py").write_text("# mine\n")
    report = doctor(root)
    found = {check.name: check for check in report.checks}
    assert not report.ok
    assert found["link"].state == "fail"
    assert found["clash"].state == "warn"
    assert "surely_not_installed" in found["import"].detail
    assert found["import"].mend == "pip install surely_not_installed"
    assert not doctor(tmp_path / "nowhere").ok


def test_doctor_tells_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctoring, "_installed", lambda name: name != "av")
    found = {check.name: check for check in doctor().checks}
    assert found["extra video"].state == "warn"
    assert found["extra video"].mend == "pip install 'gaitext[video]'"
    assert found["torch"].state == "ok"
