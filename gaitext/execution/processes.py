"""Workers that are processes of this machine, each at the end of a pipe.

concurrent.futures' pool breaks as a whole when one of its processes dies; here each process has a
pipe of its own, so that a death touches one item and is known from the pipe's end.

Hand items to workers until each has an outcome, whichever workers die meanwhile.

A worker's side: initialise once, then one item after another, each answered in bytes.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import pickle
import signal
import threading
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.context import SpawnProcess
from typing import Any, Literal, Protocol

from gaitext.errors import DataError, GaitextError
from gaitext.execution.outcome import Outcome, RemoteError

__all__ = [
    "Answer",
    "Crew",
    "Desk",
    "Lost",
    "Processes",
    "Task",
    "cores",
    "failure_answer",
    "unpack",
    "work_through",
    "worker_index",
]


_index = 0


def worker_index() -> int:
    """Number of this worker, 0 … N - 1; 0 outside a pool.

    Workers of one machine choose their GPU by it: ``cuda:{worker_index() % device_count()}``. A
    replaced worker has its predecessor's number.
    """
    return _index


@dataclass(frozen=True)
class Task:
    """What a worker is to do with items."""

    function: Callable[[Any], Any]
    initialise: Callable[..., None] | None
    arguments: tuple[object, ...]


@dataclass(frozen=True)
class Answer:
    """A worker's answer.

    Attributes:
        kind: ``"done"`` (the value is the result), ``"failed"`` (the value is the item's error) or
            ``"stop"`` (the value is to be raised: the job cannot go on).
    """

    kind: Literal["done", "failed", "stop"]
    value: Any


class Desk:
    """Where one worker does its work.

    Args:
        task: a pickled :class:`Task`; it is unpickled in :meth:`start`, where failing is answered.
        index: what :func:`worker_index` returns from now on in this process.
        dumps: pickles answers.
    """

    def __init__(self, task: bytes, index: int, dumps: Callable[[Any], bytes] = pickle.dumps) -> None:
        global _index
        _index = index
        self._pickled, self._dumps = task, dumps
        self._task: Task | None = None

    def start(self) -> bytes:
        """Prepare for items; a failure is a ``"stop"``: it would meet every other worker, too."""

        def prepare() -> None:
            task = pickle.loads(self._pickled)  # made by the process that started this one
            if task.initialise is not None:
                task.initialise(*task.arguments)
            self._task = task

        return self._answer(prepare, failing="stop")

    def work(self, item: bytes) -> bytes:
        """Answer for one pickled item."""
        assert self._task is not None, "start() comes first"
        function = self._task.function
        return self._answer(lambda: function(pickle.loads(item)), failing="failed")

    def _answer(self, call: Callable[[], Any], failing: Literal["failed", "stop"]) -> bytes:
        try:
            return self._dumps(("done", call(), ""))
        except Exception as error:
            return failure_answer(failing, error, self._dumps)
        except BaseException as error:  # SystemExit and its like end the job, as they do in one process
            return failure_answer("stop", error, self._dumps)


def failure_answer(kind: str, error: BaseException, dumps: Callable[[Any], bytes]) -> bytes:
    """Pickle ``error`` with its traceback, or a :class:`RemoteError` in its place."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickled = dumps((kind, error, trace))
        # Many exceptions pickle, but come back wrong or not at all.
        if str(pickle.loads(pickled)[1]) == str(error):
            return pickled
    except Exception:
        pass
    return dumps((kind, RemoteError(f"{type(error).__qualname__}: {error}"), trace))


def unpack(answer: bytes) -> Answer:
    """Read what a :class:`Desk` of ours answered."""
    try:
        kind, value, trace = pickle.loads(answer)
    except Exception as error:  # a result that only pickles one way
        return Answer("failed", error)
    if isinstance(value, BaseException) and kind != "done":
        value.__cause__ = RemoteError(f"\n{trace}") if trace else None
    return Answer(kind, value)


logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lost:
    """A worker is gone.

    Attributes:
        why: how it ended, completing "the worker process died …".
        details: all that is known of it.
    """

    why: str
    details: str = ""


class Crew(Protocol):
    """Workers by their index, whatever they are made of."""

    def start(self, index: int) -> None:
        """Start a worker; its first answer says how initialising went."""

    def give(self, index: int, item: Any) -> None:
        """Give an idle worker its next item. Raises what pickling the item raises."""

    def answers(self) -> list[tuple[int, bytes | Lost]]:
        """Wait for the next answers. After :class:`Lost` the index has no worker."""

    def close(self, idle: Collection[int]) -> None:
        """End all workers: the idle ones in good order, the others at once."""


def work_through(
    items: Sequence[Any], crew: Crew, *, workers: int, attempts: int
) -> Generator[tuple[int, Outcome[Any, Any]], None, None]:
    """Yield (position, outcome) for every item as it is finished.

    A worker holds one item at a time, so that a death is one item's. That item waits behind the
    others: where memory ran out, it often suffices at the end, when fewer work.

    Raises:
        GaitextError: no worker could be started.
        BaseException: what initialising raised.
    """
    rota = _Rota(items, crew, workers, attempts)
    left, finished = len(items), False
    try:
        while left:
            for position, outcome in rota.turn():
                left -= 1
                yield position, outcome
        finished = True
    finally:
        crew.close(rota.idle if finished else ())


class _Rota:
    """Who works on what. A worker is vacant, starting, idle, at an item, or given up."""

    def __init__(self, items: Sequence[Any], crew: Crew, workers: int, attempts: int) -> None:
        self.items, self.crew, self.attempts = items, crew, attempts
        self.queue = deque(range(len(items)))
        self.vacant = set(range(min(workers, len(items))))
        self.starting: set[int] = set()
        self.idle: set[int] = set()
        self.at: dict[int, int] = {}
        self.deaths: Counter[int] = Counter()  # by item
        self.false_starts: Counter[int] = Counter()  # by worker, in a row

    def turn(self) -> Iterator[tuple[int, Outcome[Any, Any]]]:
        """Hand out what there is, and take in the next answers."""
        while self.idle and self.queue:
            index, position = self.idle.pop(), self.queue.popleft()
            try:
                self.crew.give(index, self.items[position])
                self.at[index] = position
            except Exception as error:  # the item does not pickle
                self.idle.add(index)
                yield position, Outcome(self.items[position], error=error)
        while self.vacant and len(self.starting) < len(self.queue):
            index = min(self.vacant)
            self.crew.start(index)
            self.vacant.remove(index)
            self.starting.add(index)
        if self.starting or self.at:
            for index, answer in self.crew.answers():
                yield from self._hear(index, answer) if isinstance(answer, bytes) else self._miss(index, answer)

    def _hear(self, index: int, answer: bytes) -> Iterator[tuple[int, Outcome[Any, Any]]]:
        said, position = unpack(answer), self.at.pop(index, None)
        if said.kind == "stop":
            raise said.value
        self.starting.discard(index)
        self.idle.add(index)
        self.false_starts[index] = 0
        if position is not None:
            result, error = (said.value, None) if said.kind == "done" else (None, said.value)
            yield position, Outcome(self.items[position], result, error)

    def _miss(self, index: int, lost: Lost) -> Iterator[tuple[int, Outcome[Any, Any]]]:
        position = self.at.pop(index, None)
        if position is not None:
            self.deaths[position] += 1
            if self.deaths[position] < self.attempts:
                self.queue.append(position)
            else:
                yield position, Outcome(self.items[position], error=_poison(self.items[position], self.attempts, lost))
        self.false_starts[index] += index in self.starting
        self.starting.discard(index)
        self.idle.discard(index)
        if self.false_starts[index] < self.attempts:
            self.vacant.add(index)
        else:
            remaining = len(self.vacant) + len(self.starting) + len(self.idle) + len(self.at)
            _give_up(index, self.attempts, lost, remaining)


def _poison(item: Any, attempts: int, lost: Lost) -> DataError:
    times = "once" if attempts == 1 else f"{attempts} times"
    error = DataError(
        f"the worker process died {times} on it, last {lost.why}",
        where=item,
        how="if memory ran out (the system's log says so), use fewer workers or smaller batches; "
        "otherwise run this item alone with 0 workers to see it fail",
    )
    error.__cause__ = RemoteError(lost.details) if lost.details else None
    return error


def _give_up(index: int, attempts: int, lost: Lost, remaining: int) -> None:
    if remaining:
        logger.warning("worker %d could not start (%s); going on with %d workers", index, lost.why, remaining)
        return
    raise GaitextError(
        f"no worker process could start: the last died {attempts} times while starting, last {lost.why}",
        how="if memory ran out, use fewer workers; in a script of your own, "
        'call map_sequences below `if __name__ == "__main__":`',
    ) from (RemoteError(lost.details) if lost.details else None)


#: How often to look for a dead process whose pipe a child of its own still holds open, seconds.
_POLL = 1.0
#: How long a process may take to exit before it is killed, seconds.
_PATIENCE = 5.0


@dataclass
class _Worker:
    process: SpawnProcess
    pipe: connection.Connection[bytes, bytes]


class Processes:
    """A :class:`~gaitext.execution.processes.Crew` of spawned processes.

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
