"""Apply a function to many items."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from gaitext.execution.engine import Engine, parse_engine
from gaitext.execution.outcome import Outcome
from gaitext.execution.processes import Processes
from gaitext.execution.schedule import work_through
from gaitext.execution.shard import Shard, parse_shard
from gaitext.execution.worker import Task
from gaitext.progress import progress

__all__ = ["map_sequences"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_sequences(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    workers: int = 0,
    engine: str | Engine = "local",
    shard: str | Shard | None = None,
    initialise: Callable[..., None] | None = None,
    initialise_arguments: tuple[object, ...] = (),
    label: str = "",
    quiet: bool = False,
    attempts: int = 3,
    on_outcome: Callable[[Outcome[Item, Result]], None] | None = None,
) -> list[Outcome[Item, Result]]:
    """Apply ``function`` to every item and return the outcomes in the items' order.

    An item whose function raises does not stop the others; call :func:`raise_failures` on the
    result to turn failures into one error. A worker that dies is replaced and its item done again,
    so ``function`` must bear being run twice on an item: write files atomically.

    Args:
        function: picklable, but for 0 local workers.
        items: what to work on; picklable likewise.
        workers: on the local engine, 0 works in this process, N > 0 in N fresh processes, which share
            the cores (OpenMP's threads; ``OMP_NUM_THREADS`` overrides). On Ray, actors; 0 is as
            many as the cluster holds now.
        engine: ``"local"``, ``"ray"`` or ``"ray:ADDRESS"``, see :func:`parse_engine`.
        shard: ``"I/N"`` takes every N-th item from the I-th on, see :meth:`Shard.of`; only their
            outcomes are returned. ``items`` must then be the same in all jobs: not those left to do.
        initialise: called once in each worker before its first item (to load a model); not called
            when there are no items. What it raises ends the job at once.
        initialise_arguments: passed to ``initialise``.
        label: shown before the progress bar.
        quiet: no progress bar.
        attempts: an item on which this many workers died fails with a DataError.
        on_outcome: called in this process with each outcome as it is known, in no particular order.

    Raises:
        ConfigError: ``engine`` or ``shard`` cannot be read.
        MissingDependencyError: Ray is not installed.
        GaitextError: no worker could be started.
    """
    engine, part = parse_engine(engine), parse_shard(shard)
    mine = list(items) if part is None else part.of(items)
    if not mine:
        return []
    task = Task(function, initialise, initialise_arguments)
    outcomes: dict[int, Outcome[Item, Result]] = {}
    failed = 0
    work = _work(task, mine, workers, engine, max(1, attempts))
    with progress(label, len(mine), quiet=quiet) as update, closing(work):
        for position, outcome in work:
            outcomes[position] = outcome
            failed += outcome.error is not None
            update(len(outcomes), note=f"{failed} failed" if failed else "")
            if on_outcome is not None:
                on_outcome(outcome)
    return [outcomes[position] for position in range(len(mine))]


def _work(
    task: Task, items: Sequence[Any], workers: int, engine: Engine, attempts: int
) -> Generator[tuple[int, Outcome[Any, Any]], None, None]:
    if engine.kind == "ray":
        from gaitext.execution.actors import ray_actors

        with ray_actors(task, engine, workers, len(items)) as (crew, count):
            yield from work_through(items, crew, workers=count, attempts=attempts)
    elif workers > 0:
        workers = min(workers, len(items))
        yield from work_through(items, Processes(task, workers), workers=workers, attempts=attempts)
    else:
        yield from _here(task, items)


def _here(task: Task, items: Sequence[Any]) -> Generator[tuple[int, Outcome[Any, Any]], None, None]:
    if task.initialise is not None:
        task.initialise(*task.arguments)
    for position, item in enumerate(items):
        try:
            outcome = Outcome(item, task.function(item))
        except Exception as error:  # reported by the caller, with the item
            outcome = Outcome(item, error=error)
        yield position, outcome
