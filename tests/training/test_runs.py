"""Checkpoints on disk, and run folders that one training at a time works in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gaitext.errors import DataError
from gaitext.store import files
from gaitext.training.runs import alone, checkpoint_path, read_checkpoint, write_checkpoint


def _content() -> dict[str, object]:
    weights = torch.arange(50_000, dtype=torch.float32)
    return {"model": {"a": weights, "b": weights[:5]}, "iteration": 3, "gaitext": {"seed": 0}}


def test_equal_contents_are_equal_bytes_wherever_they_are_written(tmp_path: Path) -> None:
    paths = [tmp_path / "one-00001.pt", tmp_path / "elsewhere" / "another name.pt"]
    for path in paths:
        write_checkpoint(path, _content())
    assert paths[0].read_bytes() == paths[1].read_bytes()
    read = read_checkpoint(paths[1])
    torch.testing.assert_close(read["model"], _content()["model"], rtol=0, atol=0)
    assert (read["iteration"], read["gaitext"]) == (3, {"seed": 0})
    # Views of one storage stay one: nothing is written twice.
    assert paths[0].stat().st_size < 1.1 * 4 * 50_000


def test_a_full_disk_is_said_in_a_sentence_and_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    script = (
        "import resource, signal, sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from tests.training.test_runs import _content\n"
        "from gaitext.training.runs import write_checkpoint\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "path = Path(sys.argv[2])\n"
        "write_checkpoint(path, {'iteration': 1})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "write_checkpoint(path, _content())\n"
    )
    path = tmp_path / "run-00001.pt"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", script, str(root), str(path)], capture_output=True, text=True)
    assert done.returncode == 1
    said = f"DataError: {path}: cannot be written: File too large\nTo mend it: free some space"
    assert said in done.stderr
    assert "with --resume" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == [path.name]
    assert read_checkpoint(path) == {"iteration": 1}


def test_a_folder_is_held_and_cleared_of_what_killed_trainings_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.1)
    folder = tmp_path / "run"
    last = checkpoint_path(folder, 4)
    write_checkpoint(last, {})
    for rest in (folder / ".log.ab_d3fgh.tmp.csv", last.with_name(f".{last.stem}.ab_d3fgh.tmp.pt")):
        rest.touch()
    with alone(folder):
        assert sorted(path.name for path in folder.rglob("*")) == ["checkpoints", last.name]
        with pytest.raises(DataError, match="run: another gaitext process is at work here"), alone(folder):
            pass
        with alone(folder, first=False):  # torchrun's other processes
            pass
    with alone(folder):
        pass
