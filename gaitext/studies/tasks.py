"""What a study has to do: tasks that stand on each other, each with a file that says it is done; and doing them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import torch

from gaitext.errors import ConfigError, DataError
from gaitext.execution import Engine, Outcome, cores, map_sequences, parse_engine, raise_failures, worker_index
from gaitext.execution.memory import keep_freed_memory
from gaitext.pose.onnx import onnx_sha256
from gaitext.store import write_json
from gaitext.toolboxes.run import check_linked, visible_gpus
from gaitext.toolboxes.toolbox import detect
from gaitext.training.launch import resolve_device
from gaitext.video.digests import content_sha256

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Running:
    """How a study is run; none of it changes results.

    Attributes:
        out: the study's folder.
        jobs: trainings and tests side by side; None: one a core, or one a GPU; of a Ray cluster, all it holds.
        engine: ``local`` or ``ray[:ADDRESS]``, see :func:`~gaitext.execution.parse_engine`.
        device: ``cpu``, ``cuda`` or ``auto``.
        toolbox: root of a linked toolbox that trains and tests, in place of the embedded host.
        more_toolboxes: others, for systems whose config is one of theirs.
        quiet: no progress bars.
    """

    out: Path
    jobs: int | None = None
    engine: str = "local"
    device: str = "auto"
    toolbox: Path | None = None
    quiet: bool = False
    more_toolboxes: tuple[Path, ...] = ()

    @property
    def roots(self) -> tuple[Path, ...]:
        """Of all toolboxes that are given."""
        return () if self.toolbox is None else (self.toolbox, *self.more_toolboxes)

    @property
    def toolboxes(self) -> dict[str, Path]:
        """Name -> root of all that are given.

        Raises:
            ToolboxError: one is no toolbox.
        """
        return {detect(root).name: root for root in self.roots}

    @property
    def chosen_device(self) -> str:
        return resolve_device("auto") if self.device == "auto" else self.device  # "cuda" may be a cluster's

    @property
    def is_local(self) -> bool:
        """Whether workers are processes of this machine."""
        return self.chosen_engine.kind == "local"

    @property
    def chosen_engine(self) -> Engine:
        """Ray need not reserve GPUs for what computes on CPUs."""
        engine = parse_engine(self.engine)
        idle = engine.kind == "ray" and engine.num_gpus is None and self.chosen_device == "cpu"
        return engine.model_copy(update={"num_gpus": 0.0}) if idle else engine

    @property
    def workers(self) -> int:
        """For :func:`~gaitext.execution.map_sequences`."""
        if self.toolbox is not None:
            return 1  # it takes the machine as it finds it
        if self.jobs is not None:
            return self.jobs
        if not self.is_local:
            return 0
        return max(1, torch.cuda.device_count()) if self.chosen_device == "cuda" else cores()

    def check(self) -> None:
        """Refuse what no task could run with.

        Raises:
            ConfigError: jobs, engine or device is wrong, or the device is not there.
            ToolboxError: there is no toolbox, or gaitext is not linked into it.
        """
        if self.jobs is not None and self.jobs < 1:
            raise ConfigError(f"is {self.jobs}", where="--jobs", how="give 1 or more, or leave it out")
        if self.is_local or self.device not in ("cuda", "auto"):  # a cluster's GPUs need not be here
            resolve_device(self.device)
        for root in self.roots:
            check_linked(root)
        if len(self.toolboxes) < len(self.roots):
            raise ConfigError("two are the same toolbox", where="--toolbox", how="name each once")


@dataclass(frozen=True)
class Task:
    """One piece of work: data, a training, a test.

    Args:
        name: for people, and for ``needs``.
        function: called with ``argument`` in some process; picklable. It must write ``done`` last, with :func:`finish`
            or as a cell, and bear being killed and called again.
        argument: picklable.
        done: a JSON file whose ``about`` says what it was made of.
        about: what this task would make it of; a file that says something else is made anew.
        needs: names of the tasks before it.
        alone: it uses all cores by itself, and runs in this process.
        passing: of use only to tasks that need it: done where one of those is still to be done, and only there.
        beside: another file that it leaves, before ``done``; it is not done without.
    """

    name: str
    function: Callable[[Any], None]
    argument: Any
    done: Path
    about: Mapping[str, Any]
    needs: tuple[str, ...] = ()
    alone: bool = False
    passing: bool = False
    beside: Path | None = None

    def is_done(self) -> bool:
        if self.beside is not None and not self.beside.is_file():
            return False
        try:
            read = json.loads(self.done.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(read, dict) and read.get("about") == plain(self.about)

    def __str__(self) -> str:
        return self.name


def finish(task_done: Path, about: Mapping[str, Any], **found: Any) -> None:
    """Say that a task is done, and what it found."""
    write_json(task_done, {**found, "about": plain(about)})


def plain(about: Any) -> Any:
    """As JSON gives it back."""
    return json.loads(json.dumps(about, sort_keys=True, default=str))


def digest_of(about: Any) -> str:
    """Eight hexadecimal digits that tell settings apart, for names of folders."""
    return hashlib.sha256(json.dumps(plain(about), sort_keys=True).encode()).hexdigest()[:8]


def seedless(about: Mapping[str, Any]) -> dict[str, Any]:
    """What all seeds of it are made of; for names of folders that hold them all."""
    return {**about, "seed": None}


def estimator_about(specification: str) -> str | dict[str, Any]:
    """What an estimator is: its specification, and the contents of the files that it names."""
    kind, _, rest = specification.partition("?")[0].partition(":")
    files: dict[str, str] = {}
    for name in (rest, *rest.split(":")):
        path = Path(name).expanduser()
        if name and path.exists():
            files[name] = onnx_sha256(path) if kind == "onnx" else content_sha256(path)
    return {"specification": specification, "files": files} if files else specification


def waves(tasks: Sequence[Task]) -> list[list[Task]]:
    """Tasks in the order given, each in the first wave after all that it needs.

    Raises:
        ConfigError: a task needs one that is not there, or itself; or two have one name.
    """
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"{', '.join(twice)}: there are several", where="systems", how="give each its own name")
    for task in tasks:
        if absent := [need for need in task.needs if need not in names]:
            raise ConfigError(f"needs '{absent[0]}', which is not there", where=task.name)
    order = TopologicalSorter({task.name: task.needs for task in tasks})
    try:
        order.prepare()
    except CycleError as error:
        circle = error.args[1][::-1]
        raise ConfigError(f"needs itself: {' ← '.join(circle)}", where=circle[0]) from error
    found = []
    while order.is_active():
        ready = set(order.get_ready())
        order.done(*ready)
        found.append([task for task in tasks if task.name in ready])
    return found


def to_do(tasks: Sequence[Task]) -> set[str]:
    """Names of the tasks that are to be done, those before in the order of :func:`waves`."""
    left: set[str] = set()
    wanted: set[str] = set()
    for task in (task for wave in reversed(waves(tasks)) for task in wave):
        if (task.name in wanted or not task.passing) and not task.is_done():
            left.add(task.name)
            wanted.update(task.needs)
    return left


def perform(tasks: Sequence[Task], running: Running) -> None:
    """Do what is not done, wave by wave.

    Raises:
        DataError: tasks failed; all named.
    """
    failed: dict[str, Outcome[Task, None]] = {}
    wanted = to_do(tasks)
    for wave in waves(tasks):
        causes = {t.name: next((failed[need] for need in t.needs if need in failed), None) for t in wave}
        left = [t for t in wave if t.name in wanted and causes[t.name] is None]
        failed |= {name: cause for name, cause in causes.items() if cause is not None}
        outcomes: list[Outcome[Task, None]] = []
        for task in (t for t in left if t.alone):
            outcomes += map_sequences(_perform, [task], quiet=True)
            _report(outcomes[-1])
        outcomes += map_sequences(
            _perform,
            [t for t in left if not t.alone],
            workers=running.workers,
            engine=running.chosen_engine,
            initialise=_prepare,
            initialise_arguments=(running.chosen_device == "cuda" and running.is_local and running.toolbox is None,),
            label="study",
            quiet=running.quiet,
            on_outcome=_report,
        )
        failed |= {o.item.name: o for o in outcomes if o.error is not None}
    if failed:
        own = {id(outcome): outcome for outcome in failed.values()}
        raise_failures(own.values(), f"tasks ({len(failed) - len(own)} more need them)")


def _perform(task: Task) -> None:
    started = time.monotonic()
    task.function(task.argument)
    if not task.is_done():
        raise DataError("has ended without its result", where=task.done)
    log.info("%s: %.0f s", task.name, time.monotonic() - started)


def _report(outcome: Outcome[Task, None]) -> None:
    if outcome.error is None:
        log.info("%s: done", outcome.item.name)
    else:
        log.error("%s: %s", outcome.item.name, outcome.error)


def _prepare(gpu_each: bool) -> None:
    """In each worker: one thread, so that results do not depend on how many work side by side.

    Args:
        gpu_each: take one of the GPUs, by the worker's number. Ray gives them out itself, and a toolbox takes all.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    if gpu_each:
        names = visible_gpus(os.environ)
        os.environ["CUDA_VISIBLE_DEVICES"] = names[worker_index() % len(names)].strip()
