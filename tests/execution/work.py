"""Functions for workers: importable in other processes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from gaitext.errors import DataError
from gaitext.execution import worker_index

PATIENCE = 60.0
loaded: list[str] = []


def wait_for(path: Path) -> Path:
    until = time.monotonic() + PATIENCE
    while not path.exists():
        assert time.monotonic() < until, f"{path} has not appeared"
        time.sleep(0.01)
    return path


def half(value: int) -> float:
    if value % 5 == 3:
        raise ValueError(f"{value} is odd in a bad way")
    return value / 2


def half_backwards(value: int) -> float:
    """Later items are faster, so that they finish first."""
    time.sleep((6 - value) * 0.02 if value < 6 else 0)
    return half(value)


def meet(item: int, marks: Path, workers: int) -> tuple[int, int, list[str]]:
    """Wait until that many workers have loaded, so that each has an item."""
    until = time.monotonic() + PATIENCE
    while len(list(marks.glob("load-*"))) < workers and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.2)
    return worker_index(), os.getpid(), loaded


def where_am_i(item: int) -> tuple[int, int, str | None]:
    time.sleep(0.05)
    return worker_index(), os.getpid(), os.environ.get("OMP_NUM_THREADS")


def load(text: str, marks: Path) -> None:
    (marks / f"load-{os.getpid()}-{time.monotonic_ns()}").touch()
    loaded.append(f"{text}{worker_index()}")


def load_nothing(marks: Path) -> None:
    (marks / f"load-{os.getpid()}-{time.monotonic_ns()}").touch()
    raise DataError("is not there", where="model.pt", how="download it")


def die_loading(only: int | None, marks: Path) -> None:
    (marks / f"load-{os.getpid()}").touch()
    if only is None or worker_index() == only:
        os.kill(os.getpid(), signal.SIGKILL)


def die_at_first(item: int, marks: Path, victims: tuple[int, ...]) -> tuple[int, int]:
    """Killed, as by the system when memory runs out, at the first attempt on each of the victims."""
    mark = marks / str(item)
    if item in victims and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item, worker_index()


def poison(item: int, marks: Path) -> int:
    if item == 2:
        (marks / f"{time.monotonic_ns()}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def exit_with(item: int) -> int:
    os._exit(item)


def wait_to_be_killed(item: int, marks: Path) -> int:
    """The first item waits for the kill from outside; the others are at once done."""
    mark = marks / "pid"
    if item == 0 and not mark.exists():
        (marks / "pid.part").write_text(str(os.getpid()))
        (marks / "pid.part").rename(mark)
        time.sleep(PATIENCE)
        raise AssertionError("not killed")
    return item


def die_with_offspring(item: int, marks: Path) -> int:
    """Killed at the first attempt, while a child of its own holds its pipe open."""
    mark = marks / str(item)
    if not mark.exists():
        mark.touch()
        if os.fork() == 0:
            time.sleep(10)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGKILL)
    return item


class TwoArgumentsError(Exception):
    """Pickles, but does not come back."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} and {second}")


class DoubledError(Exception):
    """Comes back with another message."""

    def __init__(self, code: str) -> None:
        super().__init__(f"code {code}")


class LockedError(Exception):
    """Does not pickle."""

    def __init__(self) -> None:
        super().__init__("locked")
        self.hold = open(os.devnull)  # noqa: SIM115


def fail_strangely(item: int) -> object:
    if item == 0:
        raise TwoArgumentsError("this", "that")
    if item == 1:
        raise DoubledError("5")
    if item == 2:
        raise LockedError
    if item == 3:
        return open(os.devnull)
    if item == 4:
        raise DataError("what", where="there", how="so")
    return item


def exit_python(item: int) -> int:
    raise SystemExit(4)


def announce_and_sleep(item: int, marks: Path) -> int:
    (marks / f"pid-{os.getpid()}").touch()
    time.sleep(PATIENCE)
    return item
