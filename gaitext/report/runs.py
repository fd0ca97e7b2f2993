"""What ``gaitext report`` is given: saved embeddings, a training's folder, a study's folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitext.errors import ConfigError, DataError
from gaitext.evaluation.analysis import analyse
from gaitext.evaluation.saved import Saved, read_saved
from gaitext.report.document import Axis, Block, Code, Document, Row, Section, Table
from gaitext.report.environment import environment, yaml_text
from gaitext.report.recognition import Analysed, run_section, summary
from gaitext.report.study import RESULTS, log_charts, log_line, read_rows, read_study, study_sections

LEVEL = 0.95
#: Columns of a training's log that are no loss.
_NO_LOSS = ("iteration", "lr")


@dataclass(frozen=True)
class Run:
    """A run of which a report is made.

    Attributes:
        name: in the report.
        folder: of its files.
        saved: its embeddings with their file, if it has any.
        log: rows of its training's ``log.csv``, and of ``validation.csv``; empty where there is none.
        validation: see ``log``.
        study: what a study's ``study_results.json`` holds; None of what is no study.
    """

    name: str
    folder: Path
    saved: tuple[tuple[Path, Saved], ...] = ()
    log: tuple[Mapping[str, float], ...] = ()
    validation: tuple[Mapping[str, float], ...] = ()
    study: Mapping[str, Any] | None = None


def find_runs(paths: Sequence[str | Path]) -> list[Run]:
    """Read what each path holds; runs of one name are told apart by their folders.

    Raises:
        DataError: a path is not there, or holds no run.
        ConfigError: one is given twice.
    """
    given = [Path(path) for path in paths]
    resolved = [path.resolve() for path in given]
    if len(set(resolved)) < len(resolved):
        twice = next(path for path, whole in zip(given, resolved) if resolved.count(whole) > 1)
        raise ConfigError("is given twice", where=twice, how="name each run once")
    return [_read(path, name) for path, name in zip(given, names_of(resolved))]


def names_of(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of paths that tell them apart.

    >>> names_of([Path("a/x.npz"), Path("b/x.npz"), Path("b/y.npz")])
    ['a/x', 'b/x', 'y']
    """
    plain = [path.with_suffix("") if path.suffix == ".npz" else path for path in paths]

    def name(path: Path) -> str:
        for count in range(1, len(path.parts) + 1):
            end = path.parts[-count:]
            if sum(other.parts[-count:] == end for other in plain) == 1:
                return "/".join(end)
        return str(path)

    return [name(path) for path in plain]


def _read(path: Path, name: str) -> Run:
    if path.is_file():
        return Run(name, path.parent, ((path, read_saved(path)),))
    if not path.is_dir():
        raise DataError("no such file or folder", where=path, how="name an .npz, a training's folder or a study's")
    if (path / RESULTS).is_file():
        return Run(name, path, study=read_study(path))
    log, validation = (
        tuple(read_rows(path / file)) if (path / file).is_file() else () for file in ("log.csv", "validation.csv")
    )
    saved = tuple((file, read_saved(file)) for file in sorted(path.glob("*.npz")))
    if not log and not saved:
        raise DataError(
            f"holds no run: neither {RESULTS}, log.csv nor .npz",
            where=path,
            how="name the folder that `gaitext train` or `gaitext study` wrote, or what --save-embeddings named",
        )
    return Run(name, path, saved, log, validation)


def report(
    paths: Sequence[str | Path],
    *,
    title: str | None = None,
    dataset: str | None = None,
    metric: str | None = None,
    pictures: bool = True,
    resamples: int = 2000,
) -> Document:
    """Make a report of runs.

    Args:
        paths: saved embeddings (.npz), folders of trainings, folders of studies.
        title: of the report.
        dataset, metric: whose protocol evaluates embeddings; None: what their files say.
        pictures: whether the walks of the hardest confusions are shown.
        resamples: of the intervals.

    Raises:
        DataError: a path holds no run, or embeddings that cannot be evaluated.
        ConfigError: a path is given twice; a file does not say whose protocol it is for, and none is given.
    """
    runs = find_runs(paths)
    analysed = []
    for run in runs:
        for path, saved in run.saved:
            name = run.name if len(run.saved) == 1 else f"{run.name}: {path.stem}"
            found = analyse(saved, dataset, metric, level=LEVEL, resamples=resamples)
            analysed.append(Analysed(name, found, saved.about, saved.paths, run.folder))
    sections = summary(analysed, LEVEL)
    sections += [run_section(run, pictures=pictures) for run in analysed]
    for run in runs:
        if run.study is not None:
            lead = run.name if len(runs) > 1 else ""
            sections += study_sections(run.study, run.folder, name=lead)
    trained = [block for run in runs for block in training_blocks(run)]
    if trained:
        sections.append(Section("Training", tuple(trained)))
    made = [block for run in analysed for block in made_by(run)]
    if made:
        sections.append(Section("What made it", tuple(made)))
    studies = [run.study["about"].get("study") for run in runs if run.study is not None]
    named = title or (str(studies[0]) if len(runs) == 1 and studies else f"Report of {_listed(runs)}")
    return Document(named, tuple(sections), environment())


def _listed(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def training_blocks(run: Run) -> list[Block]:
    """How a training went: losses, learning rate, validation; and its checkpoints."""
    blocks: list[Block] = []
    if run.log:
        names = list(dict.fromkeys(name for row in run.log for name in row if name not in _NO_LOSS))
        losses = [name for name in names if name == "loss" or name.endswith("/loss")] or names
        others = [name for name in names if name not in losses]
        for title, group in ((f"{run.name}: losses", losses), (f"{run.name}: what else was logged", others)):
            lines = [log_line(name, run.log) for name in group]
            blocks += log_charts(title, lines, Axis("mean since the last row"))
        rate = Axis("learning rate", low=0.0)
        blocks += log_charts(f"{run.name}: learning rate", [log_line("lr", run.log)], rate)
    if run.validation:
        names = [name for name in dict.fromkeys(n for row in run.validation for n in row) if name != "iteration"]
        for name in names[:12]:
            blocks += log_charts(f"{run.name}: validation, {name}", [log_line(name, run.validation)], Axis(name))
    files = sorted((run.folder / "checkpoints").glob("*.pt")) if run.log else []
    if files:
        rows = tuple(Row(file.name, (f"{file.stat().st_size / 1e6:.1f} MB",)) for file in files)
        blocks.append(Table(f"{run.name}: checkpoints", ("size",), rows, corner="file"))
    return blocks


def made_by(run: Analysed) -> list[Block]:
    """A run's environment as a table, and its config, each character of it."""
    about = dict(run.about)
    config = about.pop("config", None)
    rows = tuple(Row(name, (value,)) for name, value in _flat(about))
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(f"{run.name}: environment", ("value",), rows, corner="what"))
    if config is not None:
        blocks.append(Code(f"{run.name}: config", config if isinstance(config, str) else yaml_text(config)))
    return blocks


def _flat(values: Mapping[str, Any], lead: str = "") -> list[tuple[str, str]]:
    """Names and values, those of mappings with their own names behind."""
    found = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{lead}{name}.")
        elif value is not None:
            found.append((f"{lead}{name}", value if isinstance(value, str) else yaml_text(value, line=True)))
    return found
