"""Items handed to workers until each has an outcome, whichever workers die meanwhile.

A thread of this process stands for each worker, whatever it is made of: it starts one, gives it an item, waits
for the answer and takes the next item. Libraries start the workers, carry items and answers, and notice deaths:
:mod:`concurrent.futures` on this machine, Ray over several.
"""

from __future__ import annotations

import logging
import pickle
import queue
import signal
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from gaitext.errors import DataError, GaitextError, describe_failures

log = logging.getLogger(__name__)

Item = TypeVar("Item")
Result = TypeVar("Result")

#: How long threads may take to end their workers, seconds.
_PATIENCE = 30.0


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: its result, or the error that stopped it.

    An error of another process carries that process's traceback as its ``__cause__``.
    """

    item: Item
    result: Result | None = None
    error: Exception | None = None


class RemoteError(RuntimeError):
    """Stands for an error that could not itself cross the process boundary; says its type and message."""


def raise_failures(outcomes: Iterable[Outcome[Item, Result]], what: str) -> list[Result]:
    """Return all results, or raise one error that names every item that failed.

    Raises:
        GaitextError: the only failure, where there is one and it is gaitext's own.
        DataError: several failures, each kind once (:func:`gaitext.errors.describe_failures`).
    """
    outcomes = list(outcomes)
    failed = [o for o in outcomes if o.error is not None]
    if not failed:
        return [o.result for o in outcomes]  # type: ignore[misc]
    first = failed[0].error
    if len(failed) == 1 and isinstance(first, GaitextError):
        raise first
    errors = {str(o.item): o.error for o in failed if o.error is not None}
    listed = "\n".join(f"  {line}" for line in describe_failures(errors, what))
    raise DataError(
        f"{len(failed)} of {len(outcomes)} {what} failed:\n{listed}",
        how="mend the inputs and run the same command again: what is finished is not done again",
    ) from first


@dataclass(frozen=True)
class Task:
    """What a worker is to do with items."""

    function: Callable[[Any], Any]
    initialise: Callable[..., None] | None
    arguments: tuple[object, ...]


# In the worker: begin once, then work on one item after another. Answers are pickled here, as what does not
# pickle, or does not come back, is to be that item's error and nothing worse.

#: This process's number and task, where it is a worker.
_index = 0
_task: Task | None = None


def worker_index() -> int:
    """Number of this worker, 0 … N - 1; 0 outside a pool.

    Workers of one machine choose their GPU by it: ``cuda:{worker_index() % device_count()}``. A
    replaced worker has its predecessor's number.
    """
    return _index


def begin(task: bytes, index: int, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """Make this process worker ``index`` of a pickled :class:`Task`.

    A failure is a "stop": it would meet every other worker, too.
    """
    global _index
    _index = index

    def prepare() -> None:
        global _task
        _task = pickle.loads(task)  # made by the process that started this one
        assert isinstance(_task, Task)
        if _task.initialise is not None:
            _task.initialise(*_task.arguments)

    return _answer(prepare, "stop", dumps)


def work(item: bytes, dumps: Callable[[Any], bytes] = pickle.dumps) -> bytes:
    """Answer for one pickled item."""
    assert _task is not None, "begin() comes first"
    function = _task.function
    return _answer(lambda: function(pickle.loads(item)), "failed", dumps)


def _answer(call: Callable[[], Any], failing: str, dumps: Callable[[Any], bytes]) -> bytes:
    """A pickled (kind, value, traceback). The kind is "done" (the value is the result), "failed" (it is the item's
    error) or "stop" (it is to be raised: the job cannot go on)."""
    try:
        return dumps(("done", call(), ""))
    except Exception as error:
        return failure(failing, error, dumps)
    except BaseException as error:  # SystemExit and its like end the job, as they do in one process
        return failure("stop", error, dumps)


def failure(kind: str, error: BaseException, dumps: Callable[[Any], bytes]) -> bytes:
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


def _read(answer: bytes) -> tuple[str, Any]:
    """Kind and value of an answer."""
    try:
        kind, value, trace = pickle.loads(answer)
    except Exception as error:  # a result that only pickles one way
        return "failed", error
    if isinstance(value, BaseException) and kind != "done":
        value.__cause__ = RemoteError(f"\n{trace}") if trace else None
    return kind, value


# In the process that hands out the items.


class Lost(Exception):
    """A worker is gone.

    Args:
        why: how it ended, completing "the worker process died …".
        details: all that is known of it.
    """

    def __init__(self, why: str, details: str = "") -> None:
        super().__init__(why)
        self.why = why
        self.cause = RemoteError(details) if details else None


class Worker(Protocol):
    """A worker that has been started; its methods wait for what it answers, and raise :class:`Lost`."""

    def begin(self) -> bytes:
        """The answer of :func:`begin`."""

    def work(self, item: Any) -> bytes:
        """The answer of :func:`work`. Raises what pickling the item raises."""

    def end(self) -> None:
        """End it, idle or dead, in good order."""

    def kill(self) -> None:
        """End it at once, whatever it does: whoever waits for it meets :class:`Lost`."""


def work_through(
    items: Sequence[Any], start: Callable[[int], Worker], *, workers: int, attempts: int
) -> Generator[tuple[int, Outcome[Any, Any]], None, None]:
    """Yield (position, outcome) for every item as it is finished.

    A worker holds one item at a time, so that a death is one item's. That item waits behind the
    others: where memory ran out, it often suffices at the end, when fewer work.

    Args:
        items: what to work on.
        start: starts the worker of an index, 0 … ``workers`` - 1, and does not wait for it.
        workers: how many there are to be.
        attempts: an item on which this many workers died fails; so often in a row may a worker die starting.

    Raises:
        GaitextError: no worker could be started.
        BaseException: what initialising raised.
    """
    job = _Job(items, start, min(workers, len(items)), attempts)
    threads = [threading.Thread(target=job.run, args=(index,), daemon=True) for index in range(job.workers)]
    for thread in threads:
        thread.start()
    finished = False
    try:
        for _ in items:
            done = job.done.get()
            if isinstance(done, BaseException):
                raise done
            yield done
        finished = True
    finally:
        job.stop(kill=not finished)
        for _ in threads:
            job.waiting.put(None)
        for thread in threads:
            thread.join(_PATIENCE)


class _Job:
    """What the workers' threads share.

    Attributes:
        waiting: positions of items to be done; None ends a thread.
        done: (position, outcome) of what is finished, or an error that ends the job.
        workers: how many there are, or may yet be.
    """

    def __init__(self, items: Sequence[Any], start: Callable[[int], Worker], workers: int, attempts: int) -> None:
        self.items, self.start, self.workers, self.attempts = items, start, workers, attempts
        self.waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        for position in range(len(items)):
            self.waiting.put(position)
        self.done: queue.SimpleQueue[tuple[int, Outcome[Any, Any]] | BaseException] = queue.SimpleQueue()
        self._deaths: Counter[int] = Counter()  # by item, which one thread has at a time
        self._living: dict[int, Worker] = {}
        self._starting: set[int] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def run(self, index: int) -> None:
        """Keep the worker of an index at work; the body of its thread."""
        if hasattr(signal, "pthread_sigmask"):
            # Inherited by processes started here, which are so deaf to Ctrl-C from their first instruction on.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            # Without an item in hand: what it would have to wait for a machine to start on, others can do.
            while (worker := self._started(index)) is not None:
                if self._all_done_by(worker):
                    break
        except BaseException as error:
            self.done.put(error)
        finally:
            if index in self._living:
                self._living[index].end()

    def _started(self, index: int) -> Worker | None:
        """A worker that has begun; None where there is to be none."""
        for attempt in range(1, self.attempts + 1):
            with self._lock:
                if self._stopped:
                    return None
                worker = self._living[index] = self.start(index)
                self._starting.add(index)
            try:
                kind, value = _read(worker.begin())
            except Lost as lost:
                if attempt == self.attempts:
                    self._give_up(index, lost)
                continue
            if kind == "stop":
                raise value
            self._starting.discard(index)
            return worker
        return None

    def _all_done_by(self, worker: Worker) -> bool:
        """Have a worker do items until there are none; False when it dies."""
        while (position := self.waiting.get()) is not None:
            item = self.items[position]
            try:
                kind, value = _read(worker.work(item))
            except Lost as lost:
                self._lose(position, lost)
                return False
            except Exception as error:  # the item does not pickle
                kind, value = "failed", error
            if kind == "stop":
                raise value
            result, failed = (value, None) if kind == "done" else (None, value)
            self.done.put((position, Outcome(item, result, failed)))
        return True

    def _lose(self, position: int, lost: Lost) -> None:
        """Have an item done again whose worker died, or give it up."""
        self._deaths[position] += 1
        if self._deaths[position] < self.attempts:
            self.waiting.put(position)
            return
        times = "once" if self.attempts == 1 else f"{self.attempts} times"
        error = DataError(
            f"the worker process died {times} on it, last {lost.why}",
            where=self.items[position],
            how="if memory ran out (the system's log says so), use fewer workers or smaller batches; "
            "otherwise run this item alone with 0 workers to see it fail",
        )
        error.__cause__ = lost.cause
        self.done.put((position, Outcome(self.items[position], error=error)))

    def _give_up(self, index: int, lost: Lost) -> None:
        """Go on without a worker that cannot be started, if there are others."""
        with self._lock:
            self.workers -= 1
        if self.workers:
            log.warning("worker %d could not start (%s); going on with %d workers", index, lost.why, self.workers)
            return
        raise GaitextError(
            f"no worker process could start: the last died {self.attempts} times while starting, last {lost.why}",
            how="if memory ran out, use fewer workers; in a script of your own, "
            'call map_sequences below `if __name__ == "__main__":`',
        ) from lost.cause

    def stop(self, *, kill: bool) -> None:
        """Start no more workers; end those that are starting at once, and all others, too, with ``kill``."""
        with self._lock:
            self._stopped = True
            indices = list(self._living if kill else self._starting)
        for index in indices:
            self._living[index].kill()
