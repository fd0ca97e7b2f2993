"""Apply a function to many items.

A job array's share of the items.

Where the work is done: on this machine, or over a Ray cluster.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal, TypeVar
from urllib.parse import parse_qsl

from pydantic import Field

from gaitext.config import Settings
from gaitext.errors import ConfigError, suggest
from gaitext.execution.outcome import Outcome
from gaitext.execution.processes import Processes, Task, work_through
from gaitext.progress import progress

__all__ = [
    "Engine",
    "Shard",
    "map_sequences",
    "parse_engine",
    "parse_shard",
]


Item = TypeVar("Item")
Result = TypeVar("Result")

_HOW = "give local, ray, or ray:ADDRESS such as ray:10.0.0.1:6379?num_cpus=2&num_gpus=0.5"


class Engine(Settings):
    """Where the work is done.

    Attributes:
        kind: ``"local"`` (this process or processes of this machine) or ``"ray"``.
        address: of the Ray cluster; None takes the one Ray finds (``RAY_ADDRESS``, then a cluster
            running on this machine) or starts one here.
        num_cpus: cores that Ray reserves for a worker; also its number of OpenMP threads.
        num_gpus: GPUs that Ray reserves for a worker; None is 1 where the cluster has any, else 0.
    """

    kind: Literal["local", "ray"] = "local"
    address: str | None = None
    num_cpus: float = Field(default=1, gt=0)
    num_gpus: float | None = Field(default=None, ge=0)


def parse_engine(text: str | Engine) -> Engine:
    """Read ``local`` or ``ray[:ADDRESS][?num_cpus=…&num_gpus=…]``.

    >>> engine = parse_engine("ray:10.0.0.1:6379?num_gpus=0.5")
    >>> engine.address, engine.num_gpus
    ('10.0.0.1:6379', 0.5)

    Raises:
        ConfigError: it is of another form, or an option is unknown or out of range.
    """
    if isinstance(text, Engine):
        return text
    name, _, options = text.strip().partition("?")
    kind, _, address = name.partition(":")
    if kind not in ("local", "ray"):
        raise ConfigError(f"unknown engine {text!r}", where="engine", how=f"{suggest(kind, ['local', 'ray'])} {_HOW}")
    if kind == "local" and name + options != "local":
        raise ConfigError(f"{text!r}: the local engine has no options", where="engine", how=_HOW)
    if address.startswith("//"):  # "ray://HOST:10001", as Ray writes the address of its client server
        address = f"ray:{address}"
    values: dict[str, Any] = dict(parse_qsl(options, keep_blank_values=True))
    for key in values.keys() & {"kind", "address"}:
        raise ConfigError(f"unknown key 'engine.{key}'", where="engine", how=_HOW)
    return Engine.parse(values | {"kind": kind, "address": address or None}, where="engine")


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
