"""The threads that hand out items, against workers that die at random."""

from __future__ import annotations

import pickle
import random
import threading
from collections import Counter
from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.errors import DataError, GaitextError
from gaitext.execution.workers import Lost, work_through


class DyingCrew:
    """Workers that die while starting, working and idling, as chance has it; checks how it is used."""

    def __init__(self, seed: int, *, attempts: int, poison: Collection[int]) -> None:
        self.random = random.Random(seed)
        self.attempts, self.poison = attempts, poison
        self.lock = threading.Lock()  # the workers' threads share all that is counted
        self.doing: dict[int, str | int] = {}
        self.false_starts: Counter[int] = Counter()
        self.deaths: Counter[int] = Counter()
        self.ended: list[int] = []
        self.killed: list[int] = []

    def start(self, index: int) -> DyingWorker:
        with self.lock:
            assert index not in self.doing, "one worker an index"
            self.doing[index] = "starting"
            return DyingWorker(self, index)

    def answer(self, index: int) -> bytes:
        with self.lock:
            what = self.doing[index]
            if self.dies(index, what):
                del self.doing[index]
                raise Lost("by chance")
            self.doing[index] = "idle"
            return pickle.dumps(("done", None if what == "starting" else f"did {what}", ""))

    def dies(self, index: int, what: str | int) -> bool:
        dies = self.random.random() < 0.4
        if what == "starting":
            # Worker 0 can always be started in the end.
            dies = dies and (index != 0 or self.false_starts[0] < self.attempts - 1)
            self.false_starts[index] = self.false_starts[index] + 1 if dies else 0
            return dies
        dies = what in self.poison or (dies and self.deaths[what] < self.attempts - 1)
        self.deaths[what] += dies
        return dies


class DyingWorker:
    def __init__(self, crew: DyingCrew, index: int) -> None:
        self.crew, self.index = crew, index

    def begin(self) -> bytes:
        assert self.crew.doing[self.index] == "starting"
        return self.crew.answer(self.index)

    def work(self, item: int) -> bytes:
        assert self.crew.doing[self.index] == "idle"
        self.crew.doing[self.index] = item
        return self.crew.answer(self.index)

    def end(self) -> None:
        self.crew.ended.append(self.index)

    def kill(self) -> None:
        self.crew.killed.append(self.index)


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
    outcomes = list(work_through(range(count), crew.start, workers=workers, attempts=attempts))
    assert sorted(position for position, _ in outcomes) == list(range(count))
    for position, outcome in outcomes:
        assert outcome.item == position
        if position in poison:
            assert isinstance(outcome.error, DataError)
            assert crew.deaths[position] == attempts
        else:
            assert (outcome.result, outcome.error) == (f"did {position}", None)
    idle = {index for index, what in crew.doing.items() if what == "idle"}
    assert idle <= set(crew.ended), "who lives at the end is ended in good order"


class StillbornCrew(DyingCrew):
    def dies(self, index: int, what: str | int) -> bool:
        self.false_starts[index] += 1
        return True

    def answer(self, index: int) -> bytes:
        try:
            return super().answer(index)
        except Lost:
            raise Lost("by SIGKILL") from None


def test_workers_that_never_start_end_the_job() -> None:
    crew = StillbornCrew(0, attempts=3, poison=())
    with pytest.raises(GaitextError, match="died 3 times while starting, last by SIGKILL"):
        list(work_through(range(4), crew.start, workers=2, attempts=3))
    assert crew.false_starts == {0: 3, 1: 3}


class WaitingWorker(DyingWorker):
    """Works until it is killed, but for the first item."""

    def __init__(self, crew: WaitingCrew, index: int) -> None:
        super().__init__(crew, index)
        self.over = threading.Event()

    def work(self, item: int) -> bytes:
        if item > 0:
            assert self.over.wait(20)
            raise Lost("by being killed")
        return super().work(item)

    def kill(self) -> None:
        super().kill()
        self.over.set()


class WaitingCrew(DyingCrew):
    def start(self, index: int) -> WaitingWorker:
        super().start(index)
        return WaitingWorker(self, index)

    def dies(self, index: int, what: str | int) -> bool:
        return False


def test_a_consumer_that_leaves_ends_the_workers() -> None:
    crew = WaitingCrew(1, attempts=3, poison=())
    work = work_through(range(4), crew.start, workers=2, attempts=3)
    assert next(work)[0] == 0
    work.close()
    assert sorted(crew.killed) == [0, 1] == sorted(set(crew.ended))
    assert not [thread for thread in threading.enumerate() if "run" in thread.name]
