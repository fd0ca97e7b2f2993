"""Copies of the toolboxes' checkouts, and whether they are what they were in the end."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gaitext.store import write_json
from gaitext.toolboxes.hosts import Toolbox
from gaitext.toolboxes.link import link, unlink

__all__ = ["Checkout", "copied"]

#: Where a toolbox writes its runs.
_OUTPUT = "output"


@dataclass(frozen=True)
class Checkout:
    """A copy of a checkout.

    Args:
        toolbox: which one.
        root: the copy's.
        record: file of the original's hashes, git status and commit.
    """

    toolbox: Toolbox
    root: Path
    record: Path

    @contextmanager
    def linked(self) -> Iterator[None]:
        link(self.root)
        try:
            yield
        finally:
            linked = _status(self.root)
            unlink(self.root)
            original = json.loads(self.record.read_text(encoding="utf-8"))
            write_json(self.record, {**original, "linked": linked})

    def differences(self) -> dict[str, Any]:
        """What the unlinked copy has that the original had not, or the other way round.

        Returns:
            ``commit``; ``added``: git status lines that there were more while it was linked; ``changed``: files
            that are not what they were, and git status lines that are new.
        """
        record = json.loads(self.record.read_text(encoding="utf-8"))
        before, after = record["hashes"], _hashes(self.root)
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        changed += [line for line in _status(self.root) if line not in record["status"]]
        added = [line for line in record.get("linked", []) if line not in record["status"]]
        changed += [line for line in added if self.toolbox.plugin not in line]
        return {"commit": record["commit"], "files": len(after), "added": added, "changed": changed}


def copied(toolbox: Toolbox, original: str, work: Path) -> Checkout:
    """A copy below ``work``, made now or by an earlier call."""
    root, record = work / toolbox.name, work / f"{toolbox.name}.json"
    if not record.exists():
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(original, root, symlinks=True, ignore=shutil.ignore_patterns("__pycache__", _OUTPUT))
        commit = _git(root, "rev-parse", "--short", "HEAD").strip()
        write_json(record, {"commit": commit, "status": _status(root), "hashes": _hashes(root)})
    return Checkout(toolbox, root, record)


def _hashes(root: Path) -> dict[str, str]:
    files = [file for file in sorted(root.rglob("*")) if file.is_file()]
    names = [file.relative_to(root) for file in files]
    kept = [name for name in names if name.parts[0] != _OUTPUT]
    return {str(name): hashlib.sha256((root / name).read_bytes()).hexdigest() for name in kept}


def _status(root: Path) -> list[str]:
    lines = _git(root, "status", "--porcelain", "--ignored").splitlines()
    return [line for line in lines if line[3:].split("/")[0] != _OUTPUT]


def _git(root: Path, *arguments: str) -> str:
    # Without optional locks, or it would rewrite the index, whose hash is compared.
    command = ["git", "--no-optional-locks", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True).stdout
