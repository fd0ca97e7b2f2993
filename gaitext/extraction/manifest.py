"""``manifest.json``: where every extracted sequence comes from, and what need not be done again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gaitext.errors import DataError
from gaitext.store import write_json

__all__ = ["Manifest", "video_digest"]

Entry = dict[str, Any]


class Manifest:
    """The manifest of an output folder, on disk at all times.

    It is ``{"leaves": {"<id>/<type>/<view>": entry}}``. Every :meth:`record` reads the file again,
    adds one entry and replaces it under a lock, so that a kill loses nothing and several
    processes may write to one folder.

    Raises:
        DataError: the file is there but is not a manifest.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.leaves: dict[str, Entry] = self._read()

    def record(self, leaf: str, entry: Entry) -> None:
        """Add or replace the entry of one leaf."""
        with self._lock():
            self.leaves = self._read()
            self.leaves[leaf] = entry
            self._write()

    def create(self) -> None:
        """Write an empty manifest where there is none."""
        with self._lock():
            if not self.path.exists():
                self._write()

    def _write(self) -> None:
        write_json(self.path, {"leaves": dict(sorted(self.leaves.items()))})

    def _read(self) -> dict[str, Entry]:
        try:
            loaded = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DataError(
                f"is not readable ({error})", where=self.path, how="restore it, or give --out another folder"
            ) from error
        leaves = loaded.get("leaves") if isinstance(loaded, dict) else None
        if not isinstance(leaves, dict):
            raise DataError(
                "is not a manifest of extracted sequences", where=self.path, how="give --out another folder"
            )
        return leaves

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with (self.path.parent / ".manifest.lock").open("w") as handle:
            try:
                import fcntl
            except ImportError:  # Windows: one process at a time there
                yield
                return
            fcntl.flock(handle, fcntl.LOCK_EX)
            # Nobody else is writing now: what lies there was left by a kill.
            for rest in self.path.parent.glob(f".{self.path.stem}.*.tmp{self.path.suffix}"):
                rest.unlink(missing_ok=True)
            yield


def video_digest(path: Path) -> str:
    """Recognise a video wherever it is moved: a digest of its size, first and last mebibyte.

    Reading all of it would take as long as decoding on a slow disk.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        digest.update(stream.read(1 << 20))
        stream.seek(max(size - (1 << 20), 0))
        digest.update(stream.read())
    return digest.hexdigest()
