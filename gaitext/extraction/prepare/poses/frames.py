"""What every released pose sequence is put through: numbers to joints, missing joints, empty frames."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import DataError
from gaitext.skeleton import COCO_JOINTS

Array = npt.NDArray[np.float32]

JOINTS = len(COCO_JOINTS)
_NUMBERS = 3 * JOINTS
#: A pose file of more bytes is none: an hour of frames takes about as much.
LARGEST = 1 << 26


class Unusable(DataError):
    """A sequence that is there and is malformed: it is left out, counted and listed."""


class FrameError(ValueError):
    """One frame is malformed: it is left out and counted, and the others are kept."""


@dataclass
class Poses:
    """A sequence as it was released.

    Attributes:
        frames: float32 [T, 17, 3]: x, y in pixels, score; NaN where there was no number.
        counts: what was noticed on the way -> how often.
        remarks: where, for the first of each kind.
    """

    frames: Array = field(default_factory=lambda: np.zeros((0, JOINTS, 3), np.float32))
    counts: Counter[str] = field(default_factory=Counter)
    remarks: list[str] = field(default_factory=list)

    def note(self, kind: str, where: object) -> None:
        """Count one more of a kind, and say where the first was."""
        self.counts[kind] += 1
        if self.counts[kind] == 1:
            self.remarks.append(f"{kind}, the first: {where}")


def joints(numbers: Sequence[Any]) -> Array:
    """One person's joints [17, 3], x, y, score.

    Args:
        numbers: 51 of them, or 17 triples; None counts as NaN.

    Raises:
        FrameError: other lengths, other nesting, or what is no number.
    """
    if len(numbers) == JOINTS and all(isinstance(triple, (list, tuple)) for triple in numbers):
        if any(len(triple) != 3 for triple in numbers):
            raise FrameError("its joints are not all x, y, score")
        numbers = [number for triple in numbers for number in triple]
    if len(numbers) != _NUMBERS:
        raise FrameError(f"has {len(numbers)} numbers, not {_NUMBERS}")
    for number in numbers:
        # bool is an int to isinstance, and no coordinate.
        if type(number) not in (int, float) and number is not None:
            raise FrameError(f"holds {str(number)[:20]!r} for a number")
    try:
        values = np.array([np.nan if number is None else number for number in numbers], np.float64)
    except OverflowError:  # an integer of more than 308 digits
        values = np.array([_float(number) for number in numbers], np.float64)
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(JOINTS, 3)


def _float(number: Any) -> float:
    try:
        return np.nan if number is None else float(number)
    except OverflowError:
        return np.inf


def seen(frames: Array) -> npt.NDArray[np.bool_]:
    """Which joints [..., 17, 3] are there: finite, with a score above 0."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(frames).all(-1) & (frames[..., 2] > 0))


def clean(poses: Poses) -> Array:
    """The frames that show somebody, [T, 17, 3], a missing joint being (0, 0, 0); counts the rest."""
    there = seen(poses.frames)
    shown = there.any(-1)
    poses.counts["empty frames"] += int((~shown).sum())
    poses.counts["missing joints"] += int((~there[shown]).sum())
    return np.where(there[shown][..., None], poses.frames[shown], np.float32(0)).astype(np.float32)


def read_source(path: Path, limit: int = LARGEST) -> bytes:
    """A file's bytes.

    Raises:
        DataError: it cannot be read: gone, a link to nowhere, no permission, a broken disk.
        Unusable: no file, or larger than ``limit``.
    """
    try:
        if path.exists() and not path.is_file():
            raise Unusable("is no file", where=path)
        with path.open("rb") as stream:
            content = stream.read(limit + 1)
    except FileNotFoundError as error:
        raise DataError("is gone, or a link to nowhere", where=path) from error
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})", where=path) from error
    if len(content) > limit:
        raise Unusable(f"is larger than {limit >> 20} MiB, which no sequence's poses are", where=path)
    return content
