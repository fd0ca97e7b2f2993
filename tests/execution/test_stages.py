"""Stages that overlap: order, bounds, errors and stopping early."""

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gaitext.execution.stages import Behind, ahead, spread


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers()), st.integers(1, 5))
def test_ahead_changes_nothing(items: list[int], depth: int) -> None:
    assert list(ahead(items, depth)) == items


def test_ahead_stays_within_its_depth() -> None:
    made: list[int] = []

    def counted() -> Iterator[int]:
        for i in range(20):
            made.append(i)
            yield i

    with closing(ahead(counted(), 3)) as items:
        for item in items:
            time.sleep(0.01)
            assert len(made) <= item + 1 + 3 + 1  # taken, waiting, and one in the fetcher's hand
    assert made == list(range(20))


def test_an_error_comes_after_the_items_before_it() -> None:
    def failing() -> Iterator[int]:
        yield from range(5)
        raise ValueError("no more")

    items, got = ahead(failing(), 2), []
    for _ in range(5):
        got.append(next(items))
    with pytest.raises(ValueError, match="no more"):
        next(items)
    assert got == [0, 1, 2, 3, 4]


def test_stopping_early_closes_the_iterator_and_its_thread() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    with closing(ahead(endless(), 2)) as items:
        assert next(items) == 1
    assert closed.is_set()
    assert not [t for t in threading.enumerate() if t.name == "gaitext-ahead"]


def test_they_overlap() -> None:
    """Two stages that wait for each other's signal would never end one after the other."""
    second_began = threading.Event()

    def first() -> Iterator[int]:
        yield 0
        assert second_began.wait(5)  # while the consumer works on item 0
        yield 1

    for item in ahead(first(), 1):
        if item == 0:
            second_began.set()


def test_behind_works_in_order_and_is_done_when_left() -> None:
    done: list[int] = []

    def slow(item: int) -> None:
        time.sleep(0.002)
        done.append(item)

    with Behind(slow, depth=2) as work:
        for i in range(20):
            work.put(i)
    assert done == list(range(20))


def test_behind_raises_and_works_on_nothing_after_an_error() -> None:
    done: list[int] = []

    def picky(item: int) -> None:
        if item == 3:
            raise ValueError("not three")
        done.append(item)

    with pytest.raises(ValueError, match="not three"), Behind(picky, depth=1) as work:  # noqa: PT012
        for i in range(1000):
            work.put(i)
    assert done == [0, 1, 2]


def test_behind_finishes_what_it_has_when_the_caller_fails() -> None:
    done: list[int] = []
    with pytest.raises(KeyError), Behind(done.append, depth=5) as work:  # noqa: PT012
        for i in range(4):
            work.put(i)
        raise KeyError
    assert done == [0, 1, 2, 3]


def test_stages_leave_the_callers_threads_alone() -> None:
    before, inside = torch.get_num_threads(), []
    with Behind(lambda _: inside.append(torch.get_num_threads())) as work:
        work.put(None)
    assert inside == [1]
    later: list[int] = []
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    assert torch.get_num_threads() == before == later[0]


@pytest.mark.parametrize("items", [0, 1, 2, 7])
def test_spreading_a_batch_changes_nothing(items: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    names: set[str] = set()

    def double(part: torch.Tensor) -> torch.Tensor:
        names.add(threading.current_thread().name)
        assert not torch.is_grad_enabled()
        return part * 2

    batch = torch.arange(items * 4.0).reshape(items, 4).requires_grad_()
    result = spread(double, batch)
    assert torch.equal(result, batch * 2)
    assert not result.requires_grad
    assert all(name.startswith("gaitext-spread") for name in names) == (items > 1)
