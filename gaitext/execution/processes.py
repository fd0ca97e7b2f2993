"""Workers that are processes of this machine.

:mod:`concurrent.futures`' pool breaks as a whole when one of its processes dies; here each worker is a pool of
one process, so that a death touches one item.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, TimeoutError, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from gaitext.execution import workers
from gaitext.execution.workers import Lost

#: How often to look whether a process has died, seconds.
_POLL = 1.0
#: How long a process may take to exit before it is killed, seconds.
_PATIENCE = 5.0
#: Held while the environment is that of a process to be started.
_starting = threading.Lock()


class Process:
    """A :class:`~gaitext.execution.workers.Worker` that is a fresh process: a fork of one with OpenMP threads can hang.

    Args:
        task: a pickled :class:`~gaitext.execution.workers.Task`.
        threads: of OpenMP that it may use.
        index: the worker's number.
    """

    def __init__(self, task: bytes, threads: int, index: int) -> None:
        self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_belong_to_parent)
        with _starting, _threads_each(threads):
            others = set(multiprocessing.active_children())
            self._begun = self._pool.submit(workers.begin, task, index)
            (self._process, *_) = set(multiprocessing.active_children()) - others

    def begin(self) -> bytes:
        return self._answer(lambda: self._begun)

    def work(self, item: Any) -> bytes:
        pickled = pickle.dumps(item)
        return self._answer(lambda: self._pool.submit(workers.work, pickled))

    def _answer(self, ask: Callable[[], Future[bytes]]) -> bytes:
        try:
            answer = ask()
            # A child of its own may hold a dead process's pipe open, by whose end the pool learns of deaths.
            while self._process.exitcode is None and not wait([answer], _POLL).done:
                pass
            return answer.result(_POLL)
        except (BrokenProcessPool, TimeoutError):
            until = time.monotonic() + _PATIENCE
            while self._process.exitcode is None and time.monotonic() < until:
                time.sleep(0.01)  # the pool is about to learn it
            self.end()
            raise Lost(_ending(self._process.exitcode)) from None

    def end(self) -> None:
        self._pool.shutdown(wait=False)
        self._process.join(_PATIENCE)
        self.kill()

    def kill(self) -> None:
        self._process.kill()


def _belong_to_parent() -> None:
    """Leave Ctrl-C, which reaches all processes, to the parent; and end when it ends, however that is.

    A worker that outlived a killed job would go on writing beside the job that is run in its place.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="gaitext-watch", daemon=True).start()


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):  # what a job scheduler has left to this process
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def _threads_each(count: int) -> Iterator[None]:
    """Let processes started within use ``count`` OpenMP threads, unless the user has said how many.

    The variable is read when the libraries are loaded, which can be before any code of ours runs
    there, so that it has to be in the environment they start with.
    """
    if "OMP_NUM_THREADS" in os.environ:
        yield
        return
    os.environ["OMP_NUM_THREADS"] = str(count)
    try:
        yield
    finally:
        del os.environ["OMP_NUM_THREADS"]


def _ending(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            return f"by {signal.Signals(-exitcode).name}"
        except ValueError:
            return f"by signal {-exitcode}"
    return f"with exit status {exitcode}"
