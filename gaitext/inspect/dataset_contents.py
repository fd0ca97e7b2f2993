"""What a dataset holds, for people and for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaitext.inspect.contents import amount

__all__ = ["DatasetContents", "FileGroup", "TypeRow"]

#: As many of a kind of trouble are named.
_NAMED = 10
_BARS = " ▁▂▃▄▅▆▇█"
#: As many types have a row of their own.
_ROWS = 40


@dataclass
class FileGroup:
    """All files of one name: how many, their bytes, and what some of them are."""

    name: str
    files: int
    bytes: int
    kind: str = "unreadable"
    forms: dict[str, int] = field(default_factory=dict)
    frame: str = ""
    opened: int = 0


@dataclass
class TypeRow:
    """All sequences of one type; ``score`` is None where no poses were read."""

    type: str
    sequences: int
    frames: int
    median: float
    bytes: int
    score: float | None = None


@dataclass
class DatasetContents:
    """What a dataset holds.

    Attributes:
        root: the folder of ``<id>/<type>/<view>``, or what was looked at of it.
        frames, lengths: of all sequences; lengths are the least, the median and the greatest.
        estimated: sequences whose length was not read and is not told by sizes: taken to be usual.
        groups: by file name.
        types: a row for each type.
        odd: leaf -> what is wrong with it, as far as names and sizes show.
        histogram: of the frames' mean scores, ten bins from 0 to 1, of ``scored`` leaves.
        records: leaves that have a record of their extraction.
        skipped: leaf -> why it was not written; failed: source or leaf -> why.
        partition: identities for training, for testing, and in neither.
    """

    root: Path
    identities: int
    views: int
    sequences: int
    bytes: int
    frames: int = 0
    lengths: tuple[int, float, int] = (0, 0.0, 0)
    estimated: int = 0
    groups: list[FileGroup] = field(default_factory=list)
    types: list[TypeRow] = field(default_factory=list)
    odd: dict[str, str] = field(default_factory=dict)
    histogram: list[int] = field(default_factory=list)
    scored: int = 0
    mean_score: float | None = None
    records: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    partition: dict[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Numbers and text only; what is unknown is None."""
        values = {name: value for name, value in vars(self).items() if name not in ("groups", "types")}
        return values | {
            "root": str(self.root),
            "lengths": dict(zip(("min", "median", "max"), self.lengths)),
            "files": [vars(group) for group in self.groups],
            "types": [vars(row) for row in self.types],
        }

    def __str__(self) -> str:
        """Some lines for people."""
        least, median, most = self.lengths
        about = f" (of {self.estimated} sequences the length is estimated)" if self.estimated else ""
        lines = [
            f"{self.root}: {self.sequences} sequences of {self.identities} identities, "
            f"{len(self.types)} types, {self.views} views",
            f"{self.frames} frames{about}, {least} to {most} a sequence, median {median:g}",
            f"{amount(self.bytes)}, {amount(self.bytes / max(self.frames, 1))} a frame",
        ]
        if self.partition:
            lines.append("partition: " + ", ".join(f"{count} {name}" for name, count in self.partition.items()))
        lines += _table(
            ("file", "kind", "form", "frame", "files", "bytes"),
            [
                (group.name, group.kind, ", ".join(group.forms), group.frame, str(group.files), amount(group.bytes))
                for group in self.groups
            ],
        )
        opened = min((group.opened for group in self.groups), default=0)
        if opened < self.sequences:
            lines.append(f"(kind, form and frame: of {opened} files of each name that were opened)")
        rows = [
            (
                row.type,
                str(row.sequences),
                str(row.frames),
                f"{row.median:g}",
                amount(row.bytes),
                "–" if row.score is None else f"{row.score:.2f}",
            )
            for row in self.types
        ]
        lines += _table(("type", "sequences", "frames", "median", "bytes", "score"), rows[:_ROWS])
        if len(rows) > _ROWS:
            lines.append(f"… and {len(rows) - _ROWS} types more")
        if self.mean_score is not None:
            top = max(self.histogram)
            bars = "".join(_BARS[-(-count * (len(_BARS) - 1) // top)] for count in self.histogram)
            lines.append(f"scores of frames 0 |{bars}| 1, mean {self.mean_score:.2f} (of {self.scored} sequences)")
        if self.records:
            lines.append(f"{self.records} sequences have a record of their extraction")
        for said, listed in (("inconsistent", self.odd), ("skipped", self.skipped), ("failed", self.failed)):
            if listed:
                lines.append(f"{said}: {len(listed)}")
                lines += [f"  {name}: {why}" for name, why in list(listed.items())[:_NAMED]]
                lines += [f"  … and {len(listed) - _NAMED} more"] if len(listed) > _NAMED else []
        return "\n".join(lines)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Rows under a head, in columns; numbers to the right."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(head, *rows)]
    right = [all(row[i][:1].isdigit() or row[i] == "–" for row in rows) for i in range(len(head))]
    right[0] = False
    lines = []
    for row in (head, *rows):
        cells = (cell.rjust(w) if r else cell.ljust(w) for cell, w, r in zip(row, widths, right))
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
