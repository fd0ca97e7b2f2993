"""Applying a function to many items, or to a job array's share of them, on this machine or over a Ray cluster."""

from __future__ import annotations

import pickle
import re
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from gaitext.errors import ConfigError
from gaitext.execution.actors import Engine, parse_engine, ray_actors
from gaitext.execution.processes import Process, cores
from gaitext.execution.workers import Outcome, Task, work_through

Item = TypeVar("Item")
Result = TypeVar("Result")

#: Seconds between two lines of progress where there is no terminal.
_BETWEEN_LINES = 30.0


@contextmanager
def progress(label: str, total: int | None, *, done: int = 0, quiet: bool = False) -> Iterator[Callable[..., None]]:
    """Yield ``update(done, total=None, note="")``, which moves a bar; where there is no terminal, a line now and then.

    Args:
        label: shown before the bar.
        total: steps in all, if known.
        done: steps already done.
        quiet: show nothing.
    """
    if quiet:
        yield lambda done, total=None, note="": None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, completed=done, note="")
        due = time.monotonic() + _BETWEEN_LINES

        def update(done: int, total: int | None = None, note: str = "") -> None:
            nonlocal due
            fields: dict[str, Any] = {"note": note} if note else {}
            bar.update(task, completed=done, total=total, **fields)
            if not console.is_terminal and time.monotonic() >= due:
                due = time.monotonic() + _BETWEEN_LINES
                whole = bar.tasks[task].total
                said = f"{done}/{whole:.0f}" if whole is not None else f"{done}"
                console.print(f"{label} {said} {note}".rstrip(), markup=False, highlight=False)

        yield update


@dataclass(frozen=True)
class Shard:
    """Share ``number`` (counted from 1) of ``count``."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise ConfigError(
                f"there is no shard {self.number} of {self.count}",
                where="shard",
                how=f"shards count from 1 to {self.count}, so does `#SBATCH --array=1-{self.count}`"
                if self.count > 0
                else "give I/N with I from 1 to N",
            )

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[Item]) -> list[Item]:
        """Every ``count``-th item: all shards together hold each item once, also large ones sorted first.

        Jobs agree on who does what only if each is given the same items in the same order. Take the
        share first, and leave out what is finished afterwards.

        >>> Shard(2, 3).of("abcdefgh")
        ['b', 'e', 'h']
        """
        return list(items[self.number - 1 :: self.count])


def parse_shard(text: str | Shard | None) -> Shard | None:
    """Read ``"I/N"``, 1-based; None stands for everything.

    >>> parse_shard("3/100")
    Shard(number=3, count=100)

    Raises:
        ConfigError: it is not of that form, or I is not within 1..N.
    """
    if text is None or isinstance(text, Shard):
        return text
    # At most nine digits: nothing sensible is longer, and int() limits them.
    match = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text, re.ASCII)
    if match is None:
        raise ConfigError(
            f"{text!r} is no share of the work",
            where="shard",
            how="give I/N, such as 3/100 or $SLURM_ARRAY_TASK_ID/100",
        )
    return Shard(int(match[1]), int(match[2]))


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

    An item whose function raises does not stop the others; call :func:`~gaitext.execution.raise_failures` on the
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
        with ray_actors(task, engine, workers, len(items)) as (actors, count):
            yield from work_through(items, actors.start, workers=count, attempts=attempts)
    elif workers > 0:
        workers = min(workers, len(items))
        start = partial(Process, pickle.dumps(task), max(1, cores() // workers))
        yield from work_through(items, start, workers=workers, attempts=attempts)
    else:
        yield from _in_this_process(task, items)


def _in_this_process(task: Task, items: Sequence[Any]) -> Generator[tuple[int, Outcome[Any, Any]], None, None]:
    if task.initialise is not None:
        task.initialise(*task.arguments)
    for position, item in enumerate(items):
        try:
            outcome = Outcome(item, task.function(item))
        except Exception as error:  # reported by the caller, with the item
            outcome = Outcome(item, error=error)
        yield position, outcome
