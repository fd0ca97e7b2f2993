"""Locks between processes: refused, waited for, given up by who is killed, and nothing left behind."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gaitext.errors import DataError
from gaitext.store import check_writable, disk_errors, files, is_unused, locked, locked_item, only_one, write_json

_HOLD = """
import sys, time
from pathlib import Path
from gaitext.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.2)


def hold(path: Path, seconds: float) -> subprocess.Popen[str]:
    holder = subprocess.Popen([sys.executable, "-c", _HOLD, str(path), str(seconds)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    return holder


def test_a_second_process_is_refused_until_the_first_is_killed(tmp_path: Path) -> None:
    holder = hold(tmp_path / ".lock", 60)
    with (
        pytest.raises(DataError, match=r"another gaitext process is at work here\nTo mend it: wait"),
        only_one(tmp_path),
    ):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert is_unused(tmp_path)  # what the killed one left does not count
    with only_one(tmp_path):
        assert (tmp_path / ".lock").exists()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_beside_a_folder_survives_its_renaming(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with only_one(folder, beside=True):
        assert not folder.exists()
        folder.mkdir()
        folder.rename(tmp_path / "run.old-1")
        folder.mkdir()
        with pytest.raises(DataError, match="run: another gaitext process"), only_one(folder, beside=True):
            pass
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run.old-1"]


def test_items_are_waited_for_one_by_one(tmp_path: Path) -> None:
    with locked_item(tmp_path, "1/nm/000"):
        (held,) = tmp_path.iterdir()
        with locked_item(tmp_path, "1/nm/090"):  # another item: nobody waits
            pass
    holder = hold(held, 1.0)
    with locked_item(tmp_path, "1/nm/000"):
        assert holder.wait() == 0  # it had ended before we came in
    assert list(tmp_path.iterdir()) == []


def test_many_processes_count_without_losing_one(tmp_path: Path) -> None:
    """A counter that is read and written by several processes at once, the lock file made and removed at each turn."""
    code = (
        "import sys; from pathlib import Path; from gaitext.store import locked\n"
        "counter = Path(sys.argv[1])\n"
        "for _ in range(100):\n"
        "    with locked(counter.with_name('.lock')):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))\n"
    )
    counter = tmp_path / "counter"
    counter.write_text("0")
    started = [subprocess.Popen([sys.executable, "-c", code, str(counter)]) for _ in range(3)]
    assert [process.wait() for process in started] == [0, 0, 0]
    assert counter.read_text() == "300"


def test_unused_folders(tmp_path: Path) -> None:
    assert is_unused(tmp_path / "new")
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in (".lock", ".0123456789abcdef.lock", ".record.ab_d3fgh.tmp.json"):
        (folder / name).touch()
    assert is_unused(folder)
    (folder / "mine.txt").touch()
    assert not is_unused(folder)
    assert not is_unused(folder / "mine.txt")


def _places(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "file").touch()
    yield tmp_path / "file/below/it.json"
    yield Path("/proc/nothing/is/made/here.json")
    yield tmp_path / ("x" * 300) / "long.json"


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is Linux's")
def test_places_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    for place in _places(tmp_path):
        for write in (
            check_writable,
            lambda path: write_json(path, {}),
            lambda path: only_one(path.parent).__enter__(),
        ):
            with pytest.raises(DataError, match=r"(?s)cannot be (written|made) \(.*To mend it: give a (place|folder)"):
                write(place)
    check_writable(tmp_path / "new/x.npz")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(DataError, match="is a folder"):
        check_writable(tmp_path)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_read_only_disks_are_named_and_others_errors_are_left_alone(tmp_path: Path, number: int) -> None:
    path = tmp_path / "x.json"
    for named in (path, tmp_path, path / "inner", tmp_path / ".x.ab_d3fgh.tmp.json"):
        with pytest.raises(DataError, match=r"x\.json: cannot be written"), disk_errors(path):
            raise OSError(number, os.strerror(number), str(named))
    for elsewhere in (tmp_path.parent / "source.mp4", tmp_path / "source.mp4"):
        with pytest.raises(OSError, match=r"source\.mp4"), disk_errors(path):
            raise OSError(number, os.strerror(number), str(elsewhere))


def test_locks_do_not_wait_for_ever_where_they_are_told_not_to(tmp_path: Path) -> None:
    holder = hold(tmp_path / ".lock", 60)
    begun = time.monotonic()
    with pytest.raises(BlockingIOError), locked(tmp_path / ".lock", patience=0.1):
        pass
    assert time.monotonic() - begun < 30
    holder.kill()
    holder.wait()
