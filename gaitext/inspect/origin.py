"""Where an extracted sequence comes from: its record, and the video named there."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError, DataError
from gaitext.making import Records, frame_numbers, video_digest
from gaitext.skeleton import resolve_partition
from gaitext.video.reading import VIDEO_SUFFIXES, digest

__all__ = ["Origin", "find_origin", "find_video"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Origin:
    """An extraction's record of one sequence.

    Attributes:
        path: of the record.
        entry: what stands in it.
    """

    path: Path
    entry: dict[str, Any]

    @property
    def made_with(self) -> dict[str, Any]:
        made: dict[str, Any] = self.entry["made_with"]
        return made

    @property
    def frames(self) -> npt.NDArray[np.int64]:
        """Numbers of the frames that were kept, counted from 1."""
        return frame_numbers(self.entry["frames"])

    @property
    def parts(self) -> list[str] | None:
        """Names of the parts that the heatmaps were merged to, if they were."""
        merge = self.made_with.get("merge")
        try:
            return None if merge is None else list(resolve_partition(merge))
        except ConfigError:
            return None

    def __str__(self) -> str:
        """A few lines for people."""
        made = self.made_with
        dropped = ", ".join(f"{why} {frames}" for why, frames in self.entry.get("dropped", {}).items() if frames)
        estimator = made.get("estimator")
        if isinstance(estimator, dict):
            estimator = ", ".join(f"{key} {value}" for key, value in estimator.items() if value is not None)
        lines = [
            f"from {self.entry['video']}, track {made.get('track')}, clip {self.entry.get('clip')}",
            f"  frames kept: {self.entry.get('kept')} ({self.entry['frames']})",
            f"  frames dropped: {dropped or 'none'}",
            f"  estimator: {estimator}",
        ]
        settings = ("detector", "crop_scale", "min_score", "min_frames", "form", "merge")
        said = ", ".join(f"{key} {made[key]}" for key in settings if made.get(key) is not None)
        lines.append(f"  {said}{', ' if said else ''}gaitext {self.entry.get('gaitext')}")
        return "\n".join(lines)


def find_origin(leaf: Path) -> Origin | None:
    """Read a leaf's record; None where there is none, as with walkers. Raises DataError where it is damaged."""
    view, kind, identity, out = _places(leaf)
    records = Records(out)
    name = f"{identity}/{kind}/{view}"
    entry = records.get(name) if name in records else None
    if entry is None:
        return None
    path = records.folder / f"{name}.json"
    try:
        frame_numbers(entry["frames"])
        str(entry["video"])
    except (ValueError, KeyError, AttributeError) as error:
        raise DataError(
            f"is no record of an extracted sequence ({type(error).__name__}: {error})",
            where=path,
            how="remove it and its sequence, and extract that one again",
        ) from error
    return Origin(path, entry)


def _places(leaf: Path) -> tuple[str, str, str, Path]:
    """View, type and identity of ``OUT/sequences/<id>/<type>/<view>``, and OUT."""
    parents = leaf.absolute().parents
    # A lone folder near the root of the file system has neither; what is not there holds no record.
    return (
        leaf.absolute().name,
        parents[0].name,
        parents[min(1, len(parents) - 1)].name,
        parents[min(3, len(parents) - 1)],
    )


def find_video(leaf: Path, origin: Origin | None, given: Path | None, *, check: bool = True) -> Path | None:
    """The video that a sequence was made from, if it can be found.

    Args:
        leaf: folder of the sequence.
        origin: its record. Without one, ``OUT/videos/<id>/<type>/<view>`` is taken, where
            ``gaitext walkers --video`` writes.
        given: where the video has moved.
        check: compare its digest with the record's; otherwise only warn.

    Returns:
        None where it is gone and none was given.

    Raises:
        DataError: there is a video, but another one than the sequence was made from.
        VideoError: the given one is not there.
    """
    view, kind, identity, out = _places(leaf)
    if given is not None:
        places = [given]
    elif origin is not None:
        # A relative path was relative to where the extraction was started, which nobody knows now.
        named = Path(origin.entry["video"])
        places = [place for place in (named, out / named) if place.exists()]
    else:
        stem = out / "videos" / identity / kind
        places = [stem / f"{view}{suffix}" for suffix in sorted(VIDEO_SUFFIXES)]
        places = [place for place in places if place.is_file()]
    if origin is None or not places:
        return places[0] if places else None
    for place in places:
        if digest(place) == video_digest(origin.entry):
            return place
    what = f"is not the video that {leaf} was made from: its contents differ"
    if check:
        raise DataError(
            what,
            where=places[0],
            how="give the right one with --video; if this one has the same frames (re-encoded, another "
            "container), --unchecked takes it",
        )
    logger.warning("%s: %s", places[0], what)
    return places[0]
