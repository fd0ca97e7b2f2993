"""Work in stages that overlap: one thread fetches ahead, another finishes behind.

Decoding, resizing, inference and writing release Python's lock while they work, so that threads
are enough to have them all at work at once, on a bounded number of items.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from typing import Any, Generic, TypeVar

import torch

Item = TypeVar("Item")

_END: Any = object()


def ahead(items: Iterable[Item], depth: int = 2) -> Generator[Item, None, None]:
    """Iterate over ``items`` in a thread of their own, at most ``depth`` items ahead.

    What the iteration raises is raised here, after the items before it. When the consumer stops
    early (closes this generator, which :func:`contextlib.closing` does), the thread stops, too,
    and closes the iterator.

    Args:
        items: consumed in the background, with torch limited to one thread there.
        depth: items that may wait; at most ``depth`` + 1 more are in memory.
    """
    iterator = iter(items)
    with ThreadPoolExecutor(1, "gaitext-ahead", initializer=_use_one_torch_thread) as thread:
        waiting = deque(thread.submit(next, iterator, _END) for _ in range(max(1, depth) + 1))
        try:
            while (item := waiting.popleft().result()) is not _END:
                waiting.append(thread.submit(next, iterator, _END))
                yield item
        finally:
            thread.shutdown(cancel_futures=True)
            close = getattr(iterator, "close", None)
            if close is not None:
                close()


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
        self._function, self._depth = function, max(1, depth)
        self._waiting: deque[Future[None]] = deque()
        self._error: BaseException | None = None
        self._thread = ThreadPoolExecutor(1, "gaitext-behind", initializer=_use_one_torch_thread)

    def __enter__(self) -> Behind[Item]:
        return self

    def put(self, item: Item) -> None:
        """Hand over one item; blocks while ``depth`` items wait."""
        if len(self._waiting) > self._depth:  # one of them is being worked on
            self._waiting.popleft().result()
        if self._error is not None:
            raise self._error
        self._waiting.append(self._thread.submit(self._work, item))

    def __exit__(self, kind: Any, value: Any, trace: Any) -> None:
        self._thread.shutdown()
        if self._error is not None and self._error is not value:
            raise self._error  # where the caller failed, too, its error is this one's context

    def _work(self, item: Item) -> None:
        if self._error is None:
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
