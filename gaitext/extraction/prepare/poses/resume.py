"""What need not be made again: ``prepared.json``, and a line for each sequence until that is written."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from gaitext.digests import content_sha256
from gaitext.errors import ConfigError, DataError, VideoError
from gaitext.extraction.prepare.found import Clip
from gaitext.extraction.prepare.poses.casia_b import Rows
from gaitext.store import disk_errors, write_json

__all__ = ["Entry", "Journal", "signature"]

#: A sequence's record: source, signature, frames, counts and remarks.
Entry = dict[str, Any]


def signature(clip: Clip) -> str:
    """SHA-256 of what a sequence is made of: its file, its rows, or the files of its folder.

    Empty where it cannot be read.
    """
    try:
        if not isinstance(clip, Rows):
            return content_sha256(clip.source)
        hashed = hashlib.sha256()
        for file, start, end in clip.spans:
            with file.open("rb") as stream:
                stream.seek(start)
                hashed.update(stream.read(end - start) + b"\0")
        return hashed.hexdigest()
    except (OSError, VideoError):
        return ""


class Journal:
    """The record of an output folder, which it claims.

    Args:
        out: the folder.
        settings: what decides what the files are; another run's must be the same.

    Attributes:
        now: sequences that stand, or were made in this run -> their records.

    Raises:
        ConfigError: the folder was made with other settings.
        DataError: it holds sequences and no record, or the record cannot be read.
    """

    def __init__(self, out: Path, settings: dict[str, Any]) -> None:
        self.now: dict[str, Entry] = {}
        self._settings = settings
        self._record, self._lines = out / "prepared.json", out / "prepared.jsonl"
        self._before = self._read(out)
        if not self._record.exists():
            write_json(self._record, {**settings, "sequences": {}})

    def _read(self, out: Path) -> dict[str, Entry]:
        try:
            loaded = json.loads(self._record.read_text(encoding="utf-8"))
            before: dict[str, Entry] = dict(loaded["sequences"])
            found = {key: loaded.get(key) for key in self._settings}
        except FileNotFoundError:
            if (out / "sequences").is_dir() and any((out / "sequences").iterdir()):
                raise DataError(
                    "holds sequences and no prepared.json: not of this command's making",
                    where=out,
                    how="give --out another folder",
                ) from None
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise DataError(
                f"is not readable ({error})", where=self._record, how="give --out another folder"
            ) from error
        for key, value in self._settings.items():
            if found[key] != value:
                raise ConfigError(
                    f"{out} was made with {key} {found[key]}, and now it is {value}",
                    where="--out",
                    how="give the same to resume, or another folder",
                )
        return before | self._unfinished()

    def _unfinished(self) -> dict[str, Entry]:
        """What a run that was killed had made."""
        entries: dict[str, Entry] = {}
        if self._lines.exists():
            for line in self._lines.read_text(encoding="utf-8", errors="replace").splitlines():
                try:
                    name, entry = json.loads(line)
                except (ValueError, TypeError):  # the line that the kill cut short
                    continue
                entries[name] = entry
        return entries

    def knows(self, name: str, signature: str) -> bool:
        """Whether the sequence was made of this source; it is taken over then."""
        entry = self._before.get(name)
        if not signature or not isinstance(entry, dict) or entry.get("signature") != signature:
            return False
        self.now[name] = entry
        return True

    def add(self, name: str, entry: Entry) -> None:
        """Note a sequence that was made."""
        self.now[name] = entry
        with disk_errors(self._lines), self._lines.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps([name, entry]) + "\n")

    def close(self, report: dict[str, Any]) -> None:
        """Write the record of the whole folder."""
        write_json(self._record, {**self._settings, **report, "sequences": dict(sorted(self.now.items()))})
        self._lines.unlink(missing_ok=True)
