"""Workers that are processes of this machine, each at the end of a pipe.

concurrent.futures' pool breaks as a whole when one of its processes dies; here each process has a
pipe of its own, so that a death touches one item and is known from the pipe's end.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any

from gaitext.execution.schedule import Lost
from gaitext.execution.worker import Desk, Task

__all__ = ["Processes", "cores"]

#: How often to look for a dead process whose pipe a child of its own still holds open, seconds.
_POLL = 1.0
#: How long a process may take to exit before it is killed, seconds.
_PATIENCE = 5.0


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection[bytes, bytes]


class Processes:
    """A :class:`~gaitext.execution.schedule.Crew` of spawned processes.

    Args:
        task: what they do; picklable.
        workers: how many share the machine's cores.
    """

    def __init__(self, task: Task, workers: int) -> None:
        self._task = pickle.dumps(task)
        self._threads = max(1, cores() // max(1, workers))
        # Fresh processes: a fork of a process with OpenMP threads can hang.
        self._context = multiprocessing.get_context("spawn")
        self._workers: dict[int, _Worker] = {}

    def start(self, index: int) -> None:
        ours, theirs = self._context.Pipe()
        # Not a daemon: the function may want processes of its own. They end by _end_with_parent.
        process = self._context.Process(target=_serve, args=(theirs, self._task, index), name=f"gaitext-{index}")
        with _threads_each(self._threads), _interrupts_kept_here():
            process.start()
        theirs.close()
        self._workers[index] = _Worker(process, ours)

    def give(self, index: int, item: Any) -> None:
        pickled = pickle.dumps(item)
        with contextlib.suppress(OSError):  # it has just died: its pipe will say so
            self._workers[index].pipe.send_bytes(pickled)

    def answers(self) -> list[tuple[int, bytes | Lost]]:
        by_pipe = {worker.pipe: index for index, worker in self._workers.items()}
        ready = [by_pipe[pipe] for pipe in connection.wait(list(by_pipe), _POLL)]  # type: ignore[index]
        if not ready:
            ready = [index for index, worker in self._workers.items() if worker.process.exitcode is not None]
        return [(index, self._receive(index)) for index in ready]

    def _receive(self, index: int) -> bytes | Lost:
        worker = self._workers[index]
        with contextlib.suppress(EOFError, OSError):  # the end, or an end within a message
            if worker.pipe.poll():
                return worker.pipe.recv_bytes()
        del self._workers[index]
        worker.pipe.close()
        worker.process.join(_PATIENCE)
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()
        return Lost(_ending(worker.process.exitcode))

    def close(self, idle: Collection[int]) -> None:
        for index, worker in self._workers.items():
            worker.pipe.close()  # an idle worker takes it for the end of its work
            if index not in idle:
                worker.process.kill()
        until = time.monotonic() + _PATIENCE
        for worker in self._workers.values():
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()


def _serve(pipe: connection.Connection[bytes, bytes], task: bytes, index: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent stops the work
    threading.Thread(target=_end_with_parent, name="gaitext-watch", daemon=True).start()
    desk = Desk(task, index)
    with contextlib.suppress(EOFError, OSError):  # the parent has no more work, or is gone
        pipe.send_bytes(desk.start())
        while True:
            pipe.send_bytes(desk.work(pipe.recv_bytes()))


def _end_with_parent() -> None:
    """End this process when its parent ends, however that ends.

    A worker that outlived a killed job would go on writing beside the job that is run in its place.
    """
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


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


@contextlib.contextmanager
def _interrupts_kept_here() -> Iterator[None]:
    """Let processes started within be deaf to Ctrl-C from their first instruction on.

    A blocked signal stays blocked in the new process, and waits here.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _ending(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        try:
            return f"by {signal.Signals(-exitcode).name}"
        except ValueError:
            return f"by signal {-exitcode}"
    return f"with exit status {exitcode}"
