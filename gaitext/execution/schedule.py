"""Hand items to workers until each has an outcome, whichever workers die meanwhile."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gaitext.errors import DataError, GaitextError
from gaitext.execution.outcome import Outcome, RemoteError
from gaitext.execution.worker import unpack

__all__ = ["Crew", "Lost", "work_through"]

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
