"""Hand items to workers until each has an outcome, whichever workers die meanwhile."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Collection, Generator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from gaitext.errors import DataError, GaitextError
from gaitext.execution.outcome import Outcome
from gaitext.execution.worker import unpack

__all__ = ["Crew", "Lost", "work_through"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lost:
    """A worker is gone.

    Attributes:
        why: how it ended, completing "the worker process died …".
    """

    why: str


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
    queue = deque(range(len(items)))
    deaths: Counter[int] = Counter()  # by item
    false_starts: Counter[int] = Counter()  # by worker, in a row
    at: dict[int, int] = {}  # worker -> the item it works on
    starting: set[int] = set()
    idle: set[int] = set()
    left = len(items)

    def start(index: int) -> None:
        crew.start(index)
        starting.add(index)

    finished = False
    try:
        for index in range(min(workers, len(items))):
            start(index)
        while left:
            for index, answer in crew.answers():
                position = at.pop(index, None)
                if isinstance(answer, bytes):
                    said = unpack(answer)
                    if said.kind == "stop":
                        raise said.value
                    starting.discard(index)
                    false_starts[index] = 0
                    idle.add(index)
                    if position is not None:
                        left -= 1
                        done = said.kind == "done"
                        yield position, Outcome(items[position], *((said.value,) if done else (None, said.value)))
                    continue
                idle.discard(index)
                if position is not None:
                    deaths[position] += 1
                    if deaths[position] < attempts:
                        queue.append(position)
                    else:
                        left -= 1
                        yield position, Outcome(items[position], error=_poison(items[position], attempts, answer))
                elif index in starting:
                    starting.remove(index)
                    false_starts[index] += 1
                    if false_starts[index] >= attempts:
                        _give_up(index, attempts, answer, remaining=len(at) + len(idle) + len(starting))
                        continue
                if queue:
                    start(index)
            while idle and queue:
                index, position = idle.pop(), queue.popleft()
                try:
                    crew.give(index, items[position])
                    at[index] = position
                except Exception as error:  # the item does not pickle
                    idle.add(index)
                    left -= 1
                    yield position, Outcome(items[position], error=error)
        finished = True
    finally:
        crew.close(idle if finished else ())


def _poison(item: Any, attempts: int, lost: Lost) -> DataError:
    times = "once" if attempts == 1 else f"{attempts} times"
    return DataError(
        f"the worker process died {times} on it, last {lost.why}",
        where=item,
        how="if memory ran out (the system's log says so), use fewer workers or smaller batches; "
        "otherwise run this item alone with 0 workers to see it fail",
    )


def _give_up(index: int, attempts: int, lost: Lost, *, remaining: int) -> None:
    if remaining:
        logger.warning("worker %d could not start (%s); going on with %d workers", index, lost.why, remaining)
        return
    raise GaitextError(
        f"no worker process could start: the last died {attempts} times while starting, last {lost.why}",
        how="if memory ran out, use fewer workers; in a script of your own, "
        'call map_sequences below `if __name__ == "__main__":`',
    )
