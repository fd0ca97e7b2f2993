"""Work in stages that overlap: one thread fetches ahead, another finishes behind.

Decoding, resizing, inference and writing release Python's lock while they work, so that threads
are enough to have them all at work at once, on a bounded number of items.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, Generic, TypeVar

import torch

__all__ = ["Behind", "ahead", "spread"]

Item = TypeVar("Item")

#: How often a waiting stage looks whether its neighbour has gone, seconds.
_POLL = 0.1


def ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Iterate over ``items`` in a thread of their own, at most ``depth`` items ahead.

    What the iteration raises is raised here, after the items before it. When the consumer stops
    early (closes this generator, which :func:`contextlib.closing` does), the thread stops, too,
    and closes the iterator.

    Args:
        items: consumed in the background, with torch limited to one thread there.
        depth: items that may wait; at most ``depth`` + 1 more are in memory.
    """
    waiting: queue.Queue[tuple[str, Any]] = queue.Queue(max(1, depth))
    stopped = threading.Event()

    def put(kind: str, value: Any = None) -> bool:
        while not stopped.is_set():
            try:
                waiting.put((kind, value), timeout=_POLL)
                return True
            except queue.Full:
                continue
        return False

    def fetch() -> None:
        _use_one_torch_thread()
        iterator = iter(items)
        try:
            for item in iterator:
                if not put("item", item):
                    return
            put("end")
        except BaseException as error:  # raised again where the items are awaited
            put("error", error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    thread = threading.Thread(target=fetch, name="gaitext-ahead", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = waiting.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()


class Behind(Generic[Item]):
    """Call a function on items in a thread behind the caller's, in order.

    A context manager: leaving it waits until everything is done. What the function raises is
    raised at the caller's next :meth:`put` or on leaving; items after it are not worked on. When
    the caller itself fails, what it has put is still finished before its error goes on.

    Args:
        function: called on one item at a time, with torch limited to one thread.
        depth: items that may wait; :meth:`put` blocks while there are as many.
    """

    def __init__(self, function: Callable[[Item], None], depth: int = 2) -> None:
        self._function = function
        self._waiting: queue.Queue[tuple[bool, Any]] = queue.Queue(max(1, depth))
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="gaitext-behind", daemon=True)

    def __enter__(self) -> Behind[Item]:
        self._thread.start()
        return self

    def put(self, item: Item) -> None:
        """Hand over one item; blocks while ``depth`` items wait."""
        if self._error is not None:
            raise self._error
        self._waiting.put((True, item))

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._waiting.put((False, None))
        self._thread.join()
        if self._error is not None and self._error is not value:
            raise self._error  # where the caller failed, too, its error is this one's context

    def _work(self) -> None:
        _use_one_torch_thread()
        while True:
            more, item = self._waiting.get()
            if not more:
                return
            if self._error is None:  # else: drain, so that nobody waits for room
                try:
                    self._function(item)
                except BaseException as error:  # raised again in the caller's thread
                    self._error = error


def spread(function: Callable[[torch.Tensor], torch.Tensor], batch: torch.Tensor) -> torch.Tensor:
    """Apply ``function`` to a batch on the CPU in parts, a core each, and put the results together.

    torch's own way is to share every operation among the cores, which then meet at each of them:
    for networks of many small operations a part of the batch for each core is faster. No graph is
    built. What ``function`` returns for an item must not depend on the other items.

    Args:
        function: of [n, …], safe to call from several threads.
        batch: [N, …].
    """
    threads = min(torch.get_num_threads(), len(batch))
    if threads < 2:
        with torch.no_grad():
            return function(batch)

    def part(items: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return function(items)

    pool = _pool(threads)
    parts = list(pool.map(part, batch.tensor_split(threads)))
    # There, too: a team of threads that this one had for a moment would go on spinning beside the others.
    return pool.submit(torch.cat, parts).result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "gaitext-spread", initializer=_use_one_torch_thread)


if hasattr(os, "register_at_fork"):  # a forked process has none of its parent's threads
    os.register_at_fork(after_in_child=_pool.cache_clear)

_counting = threading.Lock()


def _use_one_torch_thread() -> None:
    """Keep this thread's torch work on this thread: small products gain nothing from a team.

    OpenMP's number of threads belongs to the calling thread, but torch also remembers the last
    number set for threads that come later, so that one is put back at once.
    """
    with _counting:
        later = threading.Thread(target=torch.set_num_threads, args=(torch.get_num_threads(),))
        torch.set_num_threads(1)
        later.start()
        later.join()
