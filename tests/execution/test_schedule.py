"""The loop that hands out items, against workers that die at random."""

from __future__ import annotations

import pickle
import random
from collections import Counter
from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import DataError, GaitextError
from gaitext.execution.processes import Lost, work_through


class DyingCrew:
    """Workers that die while starting, working and idling, as chance has it; checks how it is used."""

    def __init__(self, seed: int, *, attempts: int, poison: Collection[int]) -> None:
        self.random = random.Random(seed)
        self.attempts, self.poison = attempts, poison
        self.doing: dict[int, str | int] = {}
        self.false_starts: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()
        self.closed: set[int] | None = None

    def start(self, index: int) -> None:
        assert index not in self.doing, "one worker an index"
        self.doing[index] = "starting"

    def give(self, index: int, item: int) -> None:
        assert self.doing[index] == "idle"
        self.doing[index] = item

    def answers(self) -> list[tuple[int, bytes | Lost]]:
        busy = [index for index, what in self.doing.items() if what != "idle"]
        assert busy, "nobody would ever answer"
        chosen = self.random.sample(busy, self.random.randint(1, len(busy)))
        idle = [index for index in self.doing if index not in busy and self.random.random() < 0.2]
        return [(index, self._answer(index)) for index in chosen + idle]

    def _answer(self, index: int) -> bytes | Lost:
        what = self.doing[index]
        dies = self.random.random() < 0.4
        if what == "starting":
            # Worker 0 can always be started in the end.
            dies = dies and (index != 0 or self.false_starts[0] < self.attempts - 1)
            self.false_starts[index] = self.false_starts[index] + 1 if dies else 0
        elif what == "idle":
            dies = True
        else:
            dies = what in self.poison or (dies and self.deaths[what] < self.attempts - 1)
            self.deaths[what] += dies
        if dies:
            del self.doing[index]
            return Lost("by chance")
        self.doing[index] = "idle"
        return pickle.dumps(("done", None if what == "starting" else f"did {what}", ""))

    def close(self, idle: Collection[int]) -> None:
        assert self.closed is None
        self.closed = set(idle)


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 12),
    workers=st.integers(1, 5),
    attempts=st.integers(1, 4),
    poison=st.sets(st.integers(0, 11), max_size=3),
)
def test_every_item_has_one_outcome_whoever_dies(
    seed: int, count: int, workers: int, attempts: int, poison: set[int]
) -> None:
    crew = DyingCrew(seed, attempts=attempts, poison=poison)
    outcomes = list(work_through(range(count), crew, workers=workers, attempts=attempts))
    assert sorted(position for position, _ in outcomes) == list(range(count))
    for position, outcome in outcomes:
        assert outcome.item == position
        if position in poison:
            assert isinstance(outcome.error, DataError)
            assert crew.deaths[position] == attempts
        else:
            assert (outcome.result, outcome.error) == (f"did {position}", None)
    assert crew.closed == {index for index, what in crew.doing.items() if what == "idle"}


class StillbornCrew(DyingCrew):
    def _answer(self, index: int) -> bytes | Lost:
        del self.doing[index]
        self.false_starts[index] += 1
        return Lost("by SIGKILL")


def test_workers_that_never_start_end_the_job() -> None:
    crew = StillbornCrew(0, attempts=3, poison=())
    with pytest.raises(GaitextError, match="died 3 times while starting, last by SIGKILL"):
        list(work_through(range(4), crew, workers=2, attempts=3))
    assert crew.false_starts == {0: 3, 1: 3}
    assert crew.closed == set()


def test_a_consumer_that_leaves_ends_the_workers() -> None:
    crew = DyingCrew(1, attempts=3, poison=())
    work = work_through(range(4), crew, workers=2, attempts=3)
    next(work)
    work.close()
    assert crew.closed == set()
