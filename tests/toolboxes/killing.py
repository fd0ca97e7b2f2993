"""Kills one process of several that train, and waits for the others. For Linux, whose /proc tells which is which."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import gaitext
from gaitext.toolboxes.run import _descendants

#: Seconds that training may take to get under way, and a run to end once a process is gone.
UNDER_WAY, TO_END = 240.0, 120.0


@contextmanager
def command(arguments: list[str], folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """``gaitext`` with ``arguments``, writing to log.txt in ``folder``; nothing of it is left at the end."""
    call = [sys.executable, "-c", "from gaitext.cli import main; main()", *arguments]
    with (folder / "log.txt").open("wb") as log:
        path = os.pathsep.join([str(Path(gaitext.__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path}
        process = subprocess.Popen(call, cwd=folder, env=env, stdout=log, stderr=subprocess.STDOUT)
        below: list[int] = []
        try:
            yield process
        finally:
            below += _descendants(process.pid)
            for pid in (process.pid, *below):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            process.wait()


def wait_until(true: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until ``true()``, as long as the process runs."""
    end = time.monotonic() + UNDER_WAY
    while not true():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end, f"not under way after {UNDER_WAY} s:\n{log.read_text()}"
        time.sleep(0.2)


def ended(process: subprocess.Popen[bytes], log: Path) -> int:
    """The exit status of a run that has to end now."""
    try:
        return process.wait(TO_END)
    except subprocess.TimeoutExpired:
        raise AssertionError(
            f"still runs {TO_END} s after one of its processes was killed:\n{log.read_text()}"
        ) from None


def all_below(process: subprocess.Popen[bytes]) -> list[int]:
    """All processes below ``process``."""
    return _descendants(process.pid)


def check_gone(pids: list[int]) -> None:
    """None of the processes runs any more; data loaders' workers notice within seconds that they are alone."""
    end = time.monotonic() + TO_END / 4
    while running := [pid for pid in pids if _runs(pid)]:
        assert time.monotonic() < end, f"still run: {running}"
        time.sleep(0.2)


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def by_environment(process: subprocess.Popen[bytes], entry: str) -> int:
    """The topmost process below ``process`` that was started with ``entry`` (``NAME=value``) in its environment."""
    for pid in _descendants(process.pid):
        with contextlib.suppress(OSError):
            if entry.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
                return pid
    raise AssertionError(f"no process has {entry}")


def by_command(process: subprocess.Popen[bytes], text: str) -> list[int]:
    """The processes right below ``process`` in whose command line ``text`` is, in the order of their starts."""
    found = []
    for pid in _descendants(process.pid):
        with contextlib.suppress(OSError):
            if (
                text.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
                and f"PPid:\t{process.pid}\n" in Path(f"/proc/{pid}/status").read_text()
            ):
                found.append(pid)
    return sorted(found)
