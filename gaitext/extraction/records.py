"""Records of extracted sequences."""

from __future__ import annotations

from gaitext.extraction.report import ExtractReport
from gaitext.records import Entry, video_digest
from gaitext.records import Records as SequenceRecords

__all__ = ["Entry", "Records"]


class Records(SequenceRecords):
    """:class:`gaitext.records.Records`, which knows what an extraction's report lacks."""

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
