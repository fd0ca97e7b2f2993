"""One seam for work over many sequences: extract, degrade, correct, prepare, walkers.

:func:`map_sequences` runs a picklable function over items, here or in a pool of processes, shows
progress, and returns every outcome: nothing is skipped silently. Resuming is the caller's: it
leaves out items whose output already stands (outputs are written atomically, see
:mod:`gaitext.store`).
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from gaitext.errors import DataError, GaitextError
from gaitext.progress import progress

__all__ = ["Outcome", "map_sequences", "raise_failures"]

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Outcome(Generic[Item, Result]):
    """What became of one item: its result, or the error that stopped it."""

    item: Item
    result: Result | None = None
    error: Exception | None = None


def map_sequences(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int = 0,
    initialise: Callable[..., None] | None = None,
    initialise_arguments: tuple[object, ...] = (),
    label: str = "",
    quiet: bool = False,
) -> list[Outcome[Item, Result]]:
    """Apply ``function`` to every item and return the outcomes in the items' order.

    An item whose function raises does not stop the others; call :func:`raise_failures` on the
    result to turn failures into one error.

    Args:
        function: picklable when ``workers`` > 0.
        items: what to work on.
        workers: 0 works in this process; N > 0 in N fresh processes.
        initialise: called once in each process before its first item (to load a model).
        initialise_arguments: passed to ``initialise``.
        label: shown before the progress bar.
        quiet: no progress bar.
    """
    outcomes: list[Outcome[Item, Result] | None] = [None] * len(items)
    with progress(label, len(items), quiet=quiet or not items) as update:
        work = _work(function, items, workers, initialise, initialise_arguments)
        for done, (index, outcome) in enumerate(work, start=1):
            outcomes[index] = outcome
            update(done)
    return [outcome for outcome in outcomes if outcome is not None]


def _work(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    initialise: Callable[..., None] | None,
    arguments: tuple[object, ...],
) -> Iterator[tuple[int, Outcome[Item, Result]]]:
    if workers <= 0:
        if initialise is not None:
            initialise(*arguments)
        for index, item in enumerate(items):
            try:
                yield index, Outcome(item, function(item))
            except Exception as error:  # reported by the caller, with the item
                yield index, Outcome(item, error=error)
        return
    # Fresh processes: a fork of a process with OpenMP threads can hang.
    context = multiprocessing.get_context("spawn")
    start = None if initialise is None else partial(initialise, *arguments)
    with ProcessPoolExecutor(workers, mp_context=context, initializer=start) as pool:
        futures: dict[Future[Result], int] = {pool.submit(function, item): i for i, item in enumerate(items)}
        for future in as_completed(futures):
            index = futures[future]
            failure = future.exception()
            if failure is None:
                yield index, Outcome(items[index], future.result())
            elif isinstance(failure, Exception):
                yield index, Outcome(items[index], error=failure)
            else:
                raise failure


def raise_failures(outcomes: Iterable[Outcome[Item, Result]], what: str) -> list[Result]:
    """Return all results, or raise one error that names every item that failed.

    Raises:
        GaitextError: the only failure, where there is one and it is gaitext's own.
        DataError: several failures, listed (the first twenty in full).
    """
    outcomes = list(outcomes)
    failed = [o for o in outcomes if o.error is not None]
    if not failed:
        return [o.result for o in outcomes]  # type: ignore[misc]
    first = failed[0].error
    if len(failed) == 1 and isinstance(first, GaitextError):
        raise first
    listed = "\n".join(f"  {o.item}: {type(o.error).__name__}: {o.error}" for o in failed[:20])
    more = f"\n  … and {len(failed) - 20} more" if len(failed) > 20 else ""
    raise DataError(
        f"{len(failed)} of {len(outcomes)} {what} failed:\n{listed}{more}",
        how="mend the inputs and run the same command again: what is finished is not done again",
    ) from first
