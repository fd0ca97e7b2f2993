"""What an extraction tells its caller.

Records of extracted sequences.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from gaitext.making import Entry, video_digest
from gaitext.making import Records as SequenceRecords

__all__ = ["Entry", "ExtractReport", "Records"]


@dataclass
class ExtractReport:
    """What an extraction did.

    Attributes:
        written: leaves (``id/type/view``) written now.
        standing: leaves finished by an earlier run with the same settings.
        skipped: leaf -> why it was not written (now or by an earlier run).
        doubtful: leaf written now -> why its boxes may be another video's: most of its frames score badly.
        left_out: tracks that were not asked for (all but the longest) -> their number of boxes.
        stale: leaves of these videos in the output folder that these settings do not make; they
            are left alone.
        failed: source -> the error that stopped it. What was finished before it is written.
        frames: crops estimated now.
        dropped: reason -> how many of them were dropped.
        seconds: wall time.
    """

    written: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    frames: int = 0
    dropped: dict[str, int] = field(default_factory=lambda: {"score": 0, "outside": 0})
    seconds: float = 0.0

    @classmethod
    def together(cls, reports: Iterable[ExtractReport]) -> ExtractReport:
        """One report of several; ``seconds`` are added up."""
        whole = cls()
        for report in reports:
            whole.written += report.written
            whole.standing += report.standing
            whole.skipped |= report.skipped
            whole.doubtful |= report.doubtful
            whole.left_out |= report.left_out
            whole.stale += report.stale
            whole.failed |= report.failed
            whole.frames += report.frames
            for reason, count in report.dropped.items():
                whole.dropped[reason] = whole.dropped.get(reason, 0) + count
            whole.seconds += report.seconds
        return whole

    def __str__(self) -> str:
        """A few lines for people."""
        rate = f", {self.frames / self.seconds:.1f} crops/s" if self.frames and self.seconds else ""
        lines = [
            f"{len(self.written)} sequences written, {len(self.standing)} already there "
            f"({self.frames} crops in {self.seconds:.1f} s{rate})",
            f"dropped frames: {self.dropped['score']} below the score, {self.dropped['outside']} outside the frame",
        ]
        lines += [f"not the longest track: {track}, {boxes} boxes" for track, boxes in self.left_out.items()]
        lines += [f"not written: {leaf}: {why}" for leaf, why in self.skipped.items()]
        lines += [f"doubtful: {leaf}: {why}; are these the boxes of this video?" for leaf, why in self.doubtful.items()]
        lines += [f"left from other settings: {leaf}" for leaf in self.stale]
        lines += [f"FAILED: {source}: {why}" for source, why in self.failed.items()]
        return "\n".join(lines)


class Records(SequenceRecords):
    """:class:`gaitext.making.Records`, which knows what an extraction's report lacks."""

    def conclude(self, report: ExtractReport) -> None:
        """Write ``manifest.json``, and add to ``report`` what is left of other settings."""
        entries = self.write_manifest(report.failed)
        mine = {*report.written, *report.standing, *report.skipped}
        videos = {_origin(entries[leaf]) for leaf in mine if leaf in entries}
        report.stale = [
            leaf
            for leaf, entry in entries.items()
            if leaf not in mine and not entry["skipped"] and _origin(entry) in videos
        ]


def _origin(entry: Entry) -> tuple[str, int]:
    return video_digest(entry), entry["made_with"]["track"]
