"""Many videos degraded: over a pool of processes or machines, each whole or not at all."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Union

import gaitext
from gaitext.errors import DataError, GaitextError, import_extra
from gaitext.execution import Outcome, map_sequences, parse_engine
from gaitext.records import Records, claim, frame_ranges, video_digest
from gaitext.records import made_with as recorded
from gaitext.restoration.degrade import Degraded, DegradeSettings, degrade_video
from gaitext.store import clear_temporaries, locked_item
from gaitext.video.digests import digest
from gaitext.video.sources import VideoSource

__all__ = ["DegradeReport", "Making", "degrade_dataset", "make_videos"]


@dataclass
class DegradeReport:
    """What degrading did.

    Attributes:
        written: names (``id/type/view``) of the videos written now.
        standing: those finished by an earlier run with the same settings.
        notes: name -> what was dropped or changed beside the quality, of those written now.
        failed: name -> the error that stopped it; it has left nothing.
        frames: written now.
        seconds: wall time.
        bytes_in, bytes_out: sizes of the files degraded now, before and after.
    """

    written: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    notes: dict[str, list[str]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0

    @classmethod
    def together(cls, reports: Sequence[DegradeReport]) -> DegradeReport:
        """One report of several; ``seconds`` are added up."""
        whole = cls()
        for report in reports:
            whole.written += report.written
            whole.standing += report.standing
            whole.notes |= report.notes
            whole.failed |= report.failed
            whole.frames += report.frames
            whole.seconds += report.seconds
            whole.bytes_in += report.bytes_in
            whole.bytes_out += report.bytes_out
        return whole

    def __str__(self) -> str:
        """A few lines for people."""
        rate = f", {self.frames / self.seconds:.0f} frames/s" if self.frames and self.seconds else ""
        lines = [
            f"{len(self.written)} videos written, {len(self.standing)} already there "
            f"({self.frames} frames in {self.seconds:.1f} s{rate})"
        ]
        if self.bytes_in:
            lines.append(f"{_amount(self.bytes_in)} became {_amount(self.bytes_out)}")
        named: dict[str, list[str]] = {}
        for name, notes in self.notes.items():
            for note in notes:
                named.setdefault(note, []).append(name)
        for note, names in named.items():
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            lines.append(f"note: {note}: {names[0]}{more}")
        lines += [f"FAILED: {name}: {why}" for name, why in self.failed.items()]
        return "\n".join(lines)


def degrade_dataset(
    sources: Sequence[VideoSource],
    out: str | Path,
    settings: DegradeSettings | None = None,
    *,
    resume: bool = True,
    workers: int = 0,
    engine: str = "local",
    shard: str | None = None,
    quiet: bool = False,
    progress: Callable[[int, int | None], None] | None = None,
) -> DegradeReport:
    """Degrade every source to ``out/videos/<id>/<type>/<view>.mp4``, a lone one to ``out/videos/<name>.mp4``.

    A source that cannot be used is reported and stops nobody else. What stands with the same
    settings is not done again. ``out/records/….json`` says of each where it comes from, with which
    settings it was made, and which of the source's frames it holds; ``out/manifest.json`` gathers
    the records when a command ends, unless it is one shard of several.

    Args:
        sources: what :func:`gaitext.video.sources.find_videos` found.
        out: output folder, on a file system that all workers see.
        settings: how much is lost.
        resume: keep what stands with the same settings; False makes everything again.
        workers, engine, shard: see :func:`gaitext.execution.map_sequences`.
        quiet: no progress bar.
        progress: of a single source, as for :func:`~gaitext.restoration.degrade_video`.

    Raises:
        ConfigError: wrong engine or shard.
        DataError: two sources for one video, or an output folder that cannot be written to.
        MissingDependencyError: PyAV, or what the engine needs, is missing.
    """
    settings = settings or DegradeSettings()
    recorded = settings.model_dump(mode="json") | {"crf": settings.rate_factor}
    making = Making(recorded, partial(_degrade, settings))
    return make_videos(
        sources,
        out,
        making,
        resume=resume,
        workers=workers,
        engine=engine,
        shard=shard,
        quiet=quiet,
        progress=progress,
    )


Progress = Callable[[int, Union[int, None]], None]


@dataclass(frozen=True)
class Making:
    """How one video becomes another.

    Attributes:
        settings: what decides the result beside the source, plain JSON values.
        make: called with (source, result, progress); the result must appear whole or not at all. Picklable.
        suffix: of the results; "" for folders of frames.
    """

    settings: dict[str, Any]
    make: Callable[[Path, Path, Union[Progress, None]], Degraded]
    suffix: str = ".mp4"


def _degrade(settings: DegradeSettings, source: Path, path: Path, progress: Progress | None) -> Degraded:
    return degrade_video(source, path, settings, progress=progress)


def make_videos(
    sources: Sequence[VideoSource],
    out: str | Path,
    making: Making,
    *,
    resume: bool = True,
    workers: int = 0,
    engine: str = "local",
    shard: str | None = None,
    quiet: bool = False,
    progress: Progress | None = None,
) -> DegradeReport:
    """:func:`degrade_dataset` for any making of videos from videos: names, records and resuming are the same."""
    started = time.perf_counter()
    out = Path(out)
    import_extra("av", "video", "reading and writing video")  # once, and not as a failure of every video
    _refuse_twins(sources)
    claim(out)
    alone = len(sources) == 1
    here = workers == 0 and parse_engine(engine).kind == "local"
    outcomes = map_sequences(
        partial(_make_in_turn, out, making, resume, progress if here and alone else None),
        list(sources),
        workers=workers,
        engine=engine,
        shard=shard,
        label="videos",
        quiet=quiet or alone,
    )
    report = DegradeReport.together([_reported(outcome) for outcome in outcomes])
    report.seconds = time.perf_counter() - started
    if shard is None:
        Records(out).write_manifest(report.failed)
    return report


def video_name(source: VideoSource) -> str:
    """Where a source's video lies below ``out/videos``, without suffix."""
    return source.path.stem if source.place is None else source.name


def _make_in_turn(
    out: Path, making: Making, resume: bool, progress: Progress | None, source: VideoSource
) -> DegradeReport:
    """:func:`_make_one`; of several commands one makes a video, and the others find it made."""
    name = video_name(source)
    try:
        with locked_item(out, name):
            return _make_one(out, making, resume, progress, source)
    except GaitextError as error:
        return DegradeReport(failed={name: str(error)})


def _make_one(
    out: Path,
    making: Making,
    resume: bool,
    progress: Progress | None,
    source: VideoSource,
) -> DegradeReport:
    report, name, records = DegradeReport(), video_name(source), Records(out)
    path = out / "videos" / f"{name}{making.suffix}"
    try:
        made_with: dict[str, Any] = {
            "video_digest": digest(source.path),
            "settings": making.settings,
        }
        made_with = json.loads(json.dumps(made_with))  # as it reads back: lists, not tuples
        known = records.get(name)
        if resume and known is not None and recorded(known) == made_with and path.exists():
            report.standing.append(name)
            return report
        _refuse_strangers(known, source, made_with, path, records)
        records.folder.mkdir(parents=True, exist_ok=True)
        clear_temporaries(path)
        records.clear(name)
        records.remove(name)  # a kill from here on leaves a video without a record, which is made again
        done = making.make(source.path, path, progress)
        size = _size(source.path)
        records.put(
            name,
            {
                "video": os.path.abspath(source.path),
                "sha256": made_with["video_digest"],
                "gaitext": gaitext.__version__,
                "made_with": made_with,
                "frames": frame_ranges(done.frames),
                "kept": len(done.frames),
                "original_size": done.original_size,
                "size": done.size,
                "notes": done.notes,
                "bytes": _size(path),
            },
        )
        report.written.append(name)
        report.notes |= {name: done.notes} if done.notes else {}
        report.frames, report.bytes_in, report.bytes_out = len(done.frames), size, _size(path)
    except GaitextError as error:
        report.failed[name] = str(error)
    return report


def _refuse_strangers(
    known: dict[str, Any] | None, source: VideoSource, made_with: dict[str, Any], path: Path, records: Records
) -> None:
    """Raise where a file of the name is not this video's: it would be lost."""
    how = "give another --out"
    if path.exists() and path.samefile(source.path):
        raise DataError("is the video itself", where=path, how=how)
    if known is None and path.exists() and not records.folder.exists():
        raise DataError("is there already, and not of this command's making", where=path, how=how)
    if known is None or video_digest(known) == made_with["video_digest"]:
        return
    if known.get("video") != os.path.abspath(source.path):
        raise DataError(f"was made from {known.get('video')}", where=path, how=how)


def _reported(outcome: Outcome[VideoSource, DegradeReport]) -> DegradeReport:
    if outcome.result is not None:
        return outcome.result
    return DegradeReport(failed={video_name(outcome.item): f"{type(outcome.error).__name__}: {outcome.error}"})


def _refuse_twins(sources: Sequence[VideoSource]) -> None:
    owners: dict[str, VideoSource] = {}
    for source in sources:
        other = owners.setdefault(video_name(source), source)
        if other is not source:
            raise DataError(
                f"{other.path} and {source.path} would both be {video_name(source)}.mp4",
                how="give each a name of its own",
            )


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return sum(file.stat().st_size for file in files)
