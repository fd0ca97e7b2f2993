"""Where every sequence comes from, and what need not be done again: one small file each.

``OUT/records/<id>/<type>/<view>.json`` is written when a sequence's outcome is known. Each is
replaced as a whole, so that any number of processes and machines may write to one folder, and
100,000 sequences cost no more each than ten. When a command ends they are collected in
``OUT/manifest.json``, for people and other programs; gaitext itself reads the records.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gaitext.errors import DataError
from gaitext.extraction.report import ExtractReport
from gaitext.store import clear_temporaries, write_json

__all__ = ["Entry", "Records"]

Entry = dict[str, Any]


class Records:
    """The records of an output folder.

    Args:
        out: the output folder; it need not exist yet.
    """

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        self.folder = self.out / "records"

    def __contains__(self, leaf: str) -> bool:
        return self._path(leaf).is_file()

    def get(self, leaf: str) -> Entry | None:
        """The record of ``id/type/view``, or None.

        Raises:
            DataError: the file is there but is no record.
        """
        path = self._path(leaf)
        try:
            entry = json.loads(path.read_text(encoding="utf-8"))
            entry["made_with"]["video_digest"]
        except FileNotFoundError:
            return None
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise DataError(
                f"is no record of an extracted sequence ({type(error).__name__}: {error})",
                where=path,
                how="restore it, or remove it and its sequence to make that one again",
            ) from error
        return dict(entry)

    def put(self, leaf: str, entry: Entry) -> None:
        """Write or replace the record of ``id/type/view``."""
        write_json(self._path(leaf), entry)

    def remove(self, leaf: str) -> None:
        """Remove the record of ``id/type/view``, whose sequence is about to change: a kill in between
        then leaves a sequence without a record, which is made again."""
        self._path(leaf).unlink(missing_ok=True)

    def clear(self, leaf: str) -> None:
        """Remove records of ``id/type/view`` that killed writers left half written."""
        clear_temporaries(self._path(leaf))

    def all(self) -> Iterator[tuple[str, Entry]]:
        """Every record as (``id/type/view``, entry), in order of names."""
        for leaf in self.names():
            entry = self.get(leaf)
            if entry is not None:
                yield leaf, entry

    def names(self) -> list[str]:
        """``id/type/view`` of every record, sorted."""
        files = (path for path in self.folder.glob("*/*/*.json") if not path.name.startswith("."))
        return sorted(path.relative_to(self.folder).as_posix().removesuffix(".json") for path in files)

    def conclude(self, report: ExtractReport) -> None:
        """Write ``manifest.json``, and add to ``report`` what is left of other settings.

        ``manifest.json`` is ``{"leaves": {leaf: entry}, "failed": {source: why}}``, the latter of
        the command at hand.
        """
        entries = {}
        for leaf in self.names():
            try:
                entry = self.get(leaf)
            except DataError as error:
                report.failed.setdefault(leaf, str(error))
                continue
            if entry is not None:
                entries[leaf] = entry
        mine = {*report.written, *report.standing, *report.skipped}
        videos = {_origin(entries[leaf]) for leaf in mine if leaf in entries}
        report.stale = [
            leaf
            for leaf, entry in entries.items()
            if leaf not in mine and not entry["skipped"] and _origin(entry) in videos
        ]
        write_json(self.out / "manifest.json", {"leaves": entries, "failed": report.failed})

    def _path(self, leaf: str) -> Path:
        return self.folder / f"{leaf}.json"


def _origin(entry: Entry) -> tuple[str, int]:
    return entry["made_with"]["video_digest"], entry["made_with"]["track"]
