"""Many videos made into other videos, each whole or not at all: degraded, say, or corrected."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gaitext.errors import DataError, import_extra
from gaitext.making import (
    Entry,
    Progress,
    Recorded,
    Records,
    Report,
    frame_ranges,
    make_all,
    refuse_twins,
    video_digest,
)
from gaitext.restoration.degrade import Degraded, DegradeSettings, degrade_video
from gaitext.video.digests import digest
from gaitext.video.sources import VideoSource

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from gaitext.making import Work


@dataclass
class DegradeReport(Report):
    """What became of videos.

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
    frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def __str__(self) -> str:
        """A few lines for people."""
        return "\n".join(self.lines() + self.failures())

    def lines(self) -> list[str]:
        """What became of those that did not fail."""
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
        return lines


def degrade_dataset(
    sources: Sequence[VideoSource], out: str | Path, settings: DegradeSettings | None = None, **work: Unpack[Work]
) -> DegradeReport:
    """Degrade every source to ``out/videos/<id>/<type>/<view>.mp4``, a lone one to ``out/videos/<name>.mp4``.

    A source that cannot be used is reported and stops nobody else. What stands with the same
    settings is not done again. ``out/records/….json`` says of each where it comes from, with which
    settings it was made, and which of the source's frames it holds; ``out/manifest.json`` gathers
    the records when a command ends, unless it is one shard of several.

    Args:
        sources: what :func:`gaitext.video.sources.find_clips` found.
        out: output folder, on a file system that all workers see.
        settings: how much is lost.
        work: ``resume``, ``workers``, ``engine``, ``shard``, ``quiet``, ``progress``, see
            :class:`gaitext.making.Work`.

    Raises:
        ConfigError: wrong engine or shard.
        DataError: two sources for one video, or an output folder that cannot be written to.
        MissingDependencyError: PyAV, or what the engine needs, is missing.
    """
    settings = settings or DegradeSettings()
    recorded = settings.model_dump(mode="json") | {"crf": settings.rate_factor}
    return make_videos(sources, Degradation(Path(out), recorded, settings), **work)


def make_videos(sources: Sequence[VideoSource], recipe: Videos, **work: Unpack[Work]) -> DegradeReport:
    """:func:`degrade_dataset` for any recipe of videos from videos."""
    import_extra("av", "video", "reading and writing video")  # once, and not as a failure of every video
    refuse_twins(((f"{recipe.name(source)}.mp4", source.path) for source in sources), how="give each a name of its own")
    return make_all(recipe, sources, **work)


@dataclass
class Videos(Recorded[VideoSource, DegradeReport]):
    """How one video becomes another, ``out/videos/<id>/<type>/<view>``.

    Attributes:
        recorded: what decides the result beside the source, plain JSON values.
    """

    out: Path
    recorded: Entry

    report = DegradeReport
    label, steps = "videos", "frames"

    @property
    def suffix(self) -> str:
        """Of the results; empty for folders of frames."""
        return ".mp4"

    @abstractmethod
    def change(self, source: Path, path: Path, progress: Progress | None) -> Degraded:
        """Make the result, which must appear whole or not at all."""

    def name(self, source: VideoSource) -> str:
        return source.path.stem if source.place is None else source.name

    def path(self, source: VideoSource) -> Path:
        return self.out / "videos" / f"{self.name(source)}{self.suffix}"

    def decides(self, source: VideoSource) -> Entry:
        return {"video_digest": digest(source.path), "settings": self.recorded}

    def origin(self, source: VideoSource, decided: Entry) -> Entry:
        return {"video": os.path.abspath(source.path), "sha256": decided["video_digest"]}

    def refuse(self, source: VideoSource, known: Entry | None, decided: Entry, path: Path) -> None:
        how = "give another --out"
        if path.exists() and path.samefile(source.path):
            raise DataError("is the video itself", where=path, how=how)
        if known is None and path.exists() and not Records(self.out).folder.exists():
            raise DataError("is there already, and not of this command's making", where=path, how=how)
        if known is None or video_digest(known) == decided["video_digest"]:
            return
        if known.get("video") != os.path.abspath(source.path):
            raise DataError(f"was made from {known.get('video')}", where=path, how=how)

    def create(self, source: VideoSource, path: Path, progress: Progress | None) -> Entry:
        done = self.change(source.path, path, progress)
        return {
            "frames": frame_ranges(done.frames),
            "kept": len(done.frames),
            "original_size": done.original_size,
            "size": done.size,
            "notes": done.notes,
            "bytes": _size(path),
        }

    def reported(self, source: VideoSource, entry: Entry, made: bool) -> DegradeReport:
        name, report = self.name(source), self.report()
        if not made:
            report.standing.append(name)
            return report
        report.written.append(name)
        report.notes |= {name: entry["notes"]} if entry["notes"] else {}
        report.frames, report.bytes_in, report.bytes_out = entry["kept"], _size(source.path), entry["bytes"]
        return report


@dataclass
class Degradation(Videos):
    """Video made worse."""

    settings: DegradeSettings

    def change(self, source: Path, path: Path, progress: Progress | None) -> Degraded:
        return degrade_video(source, path, self.settings, progress=progress)


def _amount(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.1f} kB"


def _size(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.iterdir() if file.is_file()]
    return sum(file.stat().st_size for file in files)
