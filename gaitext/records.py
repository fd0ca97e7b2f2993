"""Where every sequence comes from, and what need not be done again: one small file each.

``OUT/records/<id>/<type>/<view>.json`` is written when a sequence's outcome is known. Each is
replaced as a whole, so that any number of processes and machines may write to one folder, and
100,000 sequences cost no more each than ten. When a command ends they are collected in
``OUT/manifest.json``, for people and other programs; gaitext itself reads the records.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.store import clear_temporaries, locked, write_json

__all__ = ["Entry", "Records", "claim", "frame_numbers", "frame_ranges", "made_with", "video_digest"]

Entry = dict[str, Any]


class Records:
    """The records of an output folder. An entry says under ``made_with`` what decided the result.

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
                f"is no record of a sequence ({type(error).__name__}: {error})",
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
        files = (path for path in self.folder.rglob("*.json") if not path.name.startswith("."))
        return sorted(path.relative_to(self.folder).as_posix().removesuffix(".json") for path in files)

    def write_manifest(self, failed: dict[str, str]) -> dict[str, Entry]:
        """Write ``manifest.json``, ``{"leaves": {leaf: entry}, "failed": {source: why}}``, and return the entries.

        Args:
            failed: what failed in the command at hand; records that cannot be read are added to it.
        """
        entries = {}
        for leaf in self.names():
            try:
                entry = self.get(leaf)
            except DataError as error:
                failed.setdefault(leaf, str(error))
                continue
            if entry is not None:
                entries[leaf] = entry
        manifest = self.out / "manifest.json"
        with locked(self.out / ".lock"):  # of several commands that end at once
            clear_temporaries(manifest)
            write_json(manifest, {"leaves": entries, "failed": failed})
        return entries

    def _path(self, leaf: str) -> Path:
        return self.folder / f"{leaf}.json"


def video_digest(entry: Entry) -> str:
    """The SHA-256 of the video that a record is of.

    Older records name it apart, and hold a digest of the video's ends alone under ``made_with``.
    """
    return str(entry.get("sha256") or entry["made_with"]["video_digest"])


def made_with(entry: Entry) -> dict[str, Any]:
    """What decided a record's result, the whole video's digest in it."""
    return {**entry["made_with"], "video_digest": video_digest(entry)}


def claim(out: Path, option: str = "--out") -> None:
    """Make an output folder, or raise DataError where it cannot be written to; ``option`` is what names it."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise DataError(
            f"cannot be written to ({error.strerror})", where=out, how=f"give {option} another folder"
        ) from error


def frame_ranges(frames: Iterable[int]) -> str:
    """Write ascending frame numbers compactly.

    >>> frame_ranges([1, 2, 3, 7, 9, 10])
    '1-3,7,9-10'
    """
    runs: list[list[int]] = []
    for frame in frames:
        if runs and frame == runs[-1][1] + 1:
            runs[-1][1] = int(frame)
        else:
            runs.append([int(frame), int(frame)])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def frame_numbers(ranges: str) -> npt.NDArray[np.int64]:
    """Read frame numbers written as ranges.

    Raises:
        ValueError: not such ranges.

    >>> frame_numbers("1-3,7").tolist()
    [1, 2, 3, 7]
    """
    numbers: list[int] = []
    for run in filter(None, ranges.split(",")):
        first, _, last = run.partition("-")
        numbers += range(int(first), int(last or first) + 1)
    return np.array(numbers, np.int64)
