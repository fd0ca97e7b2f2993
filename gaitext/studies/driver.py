"""The one driver of all studies: do what is not done yet, then write tables, claims and the page of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from gaitext.errors import ConfigError
from gaitext.report.study import read_study, study_document
from gaitext.report.writing import write_document
from gaitext.store import make_folder, only_one
from gaitext.studies.cells import Cell, Cells
from gaitext.studies.settings import StudySettings
from gaitext.studies.tables import write_claims, write_results, write_tables
from gaitext.studies.tasks import Running, Task, perform


class Study(Protocol):
    """A kind of study."""

    @property
    def settings(self) -> StudySettings:
        """Its YAML."""
        ...

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
        text: the tables and claims as Markdown.
    """

    cells: Cells
    files: list[Path]
    text: str


def run_study(study: Study, running: Running) -> StudyResult:
    """Do what is not done, and write tables, claims and ``report.html``.

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
        files = _report(study, running, cells)
    text = "\n".join(path.read_text(encoding="utf-8") for path in files if path.suffix == ".md")
    return StudyResult(cells, files, text)


def _report(study: Study, running: Running, cells: Cells) -> list[Path]:
    """Write everything that follows from cells, into the study's folder."""
    settings, out = study.settings, running.out
    about = {"study": settings.title, "seeds": " ".join(map(str, settings.seeds))}
    files = write_tables(settings.tables, cells, out, about)
    write_claims(settings.claims, cells, out)
    files += [out / f"claims.{end}" for end in ("md", "csv", "json")] if settings.claims else []
    made_of = settings.model_dump(mode="json")
    files.append(write_results(settings.tables, settings.claims, cells, out, about, made_of))
    files += study.finish(running, cells)
    return [*files, write_document(study_document(read_study(out), out), out / "report.html")]
