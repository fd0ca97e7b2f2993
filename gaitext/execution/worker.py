"""A worker's side: initialise once, then one item after another, each answered in bytes."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from gaitext.execution.outcome import RemoteError

__all__ = ["Answer", "Desk", "Task", "failure_answer", "unpack", "worker_index"]

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
