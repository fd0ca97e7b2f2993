"""The one driver of all studies: do what is not done yet, side by side, then write tables and claims."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from gaitext.errors import ConfigError, DataError, MissingDependencyError
from gaitext.execution import Engine, Outcome, cores, parse_engine, raise_failures, worker_index
from gaitext.execution import map_sequences as map_tasks
from gaitext.execution.memory import keep_freed_memory
from gaitext.store import make_folder, only_one
from gaitext.studies.cells import Cell, Cells
from gaitext.studies.settings import StudySettings
from gaitext.studies.tasks import Task, to_do, waves
from gaitext.toolboxes.hosts import detect
from gaitext.toolboxes.run import check_linked, visible_gpus
from gaitext.training.launch import resolve_device

__all__ = ["Running", "Study", "StudyResult", "run_study"]

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
    def toolboxes(self) -> dict[str, Path]:
        """Name -> root of all that are given.

        Raises:
            ToolboxError: one is no toolbox.
        """
        roots = () if self.toolbox is None else (self.toolbox, *self.more_toolboxes)
        return {detect(root).name: root for root in roots}

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
        roots = () if self.toolbox is None else (self.toolbox, *self.more_toolboxes)
        for root in roots:
            check_linked(root)
        if len(self.toolboxes) < len(roots):
            raise ConfigError("two are the same toolbox", where="--toolbox", how="name each once")


class Study(Protocol):
    """A kind of study.

    Attributes:
        settings: its YAML.
    """

    settings: StudySettings

    def tasks(self, running: Running) -> list[Task]:
        """All there is to do; those that end in a cell write it to their ``done``."""
        ...

    def is_cell(self, task: Task) -> bool:
        """Whether a task's ``done`` is a cell."""
        ...

    def finish(self, running: Running, cells: Cells) -> list[Path]:
        """Write what this kind has beside tables and claims: pictures, for example."""
        ...


@dataclass(frozen=True)
class StudyResult:
    """What a study has come to.

    Attributes:
        cells: all of them.
        files: what was written.
        text: the claims' table.
    """

    cells: Cells
    files: list[Path]
    text: str


def run_study(study: Study, running: Running) -> StudyResult:
    """Do what is not done, and write tables, claims and plots.

    A task that is done is not done again; a training that was killed goes on from its last checkpoint. With other
    settings for a system, its trainings and cells are made anew, beside the old ones.

    Raises:
        ConfigError: the study cannot be.
        DataError: some tasks failed; those that do not need them are done. Or another process is at work in the folder.
    """
    running.check()
    if running.toolbox is not None and len(study.settings.seeds) > 1:
        raise ConfigError(
            "a toolbox sets its own seed: several would be the same training",
            where="seeds",
            how="name one (--seeds 0)",
        )
    make_folder(running.out)
    with only_one(running.out):
        tasks = study.tasks(running)
        perform(tasks, running)
        cells = Cells(Cell.read(task.done)[0] for task in tasks if study.is_cell(task))
        files, text = report(study, running, cells)
    return StudyResult(cells, files, text)


def report(study: Study, running: Running, cells: Cells) -> tuple[list[Path], str]:
    """Write everything that follows from cells, into the study's folder."""
    from gaitext.studies.plots import claims_figure, table_figure
    from gaitext.studies.tables import write_claims, write_results, write_tables

    settings, out = study.settings, running.out
    about = {"study": settings.title, "seeds": " ".join(map(str, settings.seeds))}
    files = write_tables(settings.tables, cells, out, about)
    comparisons = write_claims(settings.claims, cells, out)
    files += [out / f"claims.{end}" for end in ("md", "csv", "json")] if settings.claims else []
    files.append(write_results(settings.tables, settings.claims, cells, out, about))
    try:
        if comparisons:
            files.append(claims_figure(comparisons, out / "claims.png"))
        files += [table_figure(table, cells, out / f"{table.name}.png") for table in settings.tables]
    except MissingDependencyError as error:
        log.warning("no plots: %s", error)
    files += study.finish(running, cells)
    texts = [path.read_text(encoding="utf-8") for path in files if path.suffix == ".md"]
    return files, "\n".join(texts)


def perform(tasks: Sequence[Task], running: Running) -> None:
    """Do what is not done, wave by wave.

    Raises:
        DataError: tasks failed; all named.
    """
    failed: dict[str, Outcome[Task, None]] = {}
    wanted = to_do(tasks)
    for wave in waves(tasks):
        left = [t for t in wave if t.name in wanted and not any(need in failed for need in t.needs)]
        blocked = [t for t in wave if any(need in failed for need in t.needs)]
        failed |= {t.name: failed[next(n for n in t.needs if n in failed)] for t in blocked}
        outcomes: list[Outcome[Task, None]] = []
        for task in (t for t in left if t.alone):
            outcomes += map_tasks(_perform, [task], quiet=True)
            _say(outcomes[-1])
        outcomes += map_tasks(
            _perform,
            [t for t in left if not t.alone],
            workers=running.workers,
            engine=running.chosen_engine,
            initialise=_prepare,
            initialise_arguments=(running.chosen_device == "cuda" and running.is_local and running.toolbox is None,),
            label="study",
            quiet=running.quiet,
            on_outcome=_say,
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


def _say(outcome: Outcome[Task, None]) -> None:
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
