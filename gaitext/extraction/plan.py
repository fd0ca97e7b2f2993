"""Which sequences a video's tracks become, and what they are called."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError
from gaitext.extraction.boxes import Track

__all__ = ["Clip", "ExtractSettings", "frame_ranges", "plan_clips"]

_FIELDS = ("track", "clip", "video")


class ExtractSettings(Settings):
    """How tracks become sequences. Templates are Python format strings.

    Attributes:
        identity, type, view: names of the three folders. They may hold ``{track}`` (the track's
            number), ``{clip}`` (the clip's number within the track, from 1) and ``{video}`` (the
            video's file name without its suffix), formatted as Python does (``{clip:02d}``).
        clip_frames: cut every track into clips of this many boxes, each a sequence of its own;
            None keeps a track whole. Heatmaps of a whole sequence (104 KB a frame) are in memory
            until it is written.
        min_frames: sequences left with fewer frames are not written, but reported.
        min_score: frames with a mean keypoint score below this are dropped (GaitHeat: 0.4).
        crop_scale: by how much boxes grow (GaitHeat: 1.25).
        batch_size: crops given to the estimator at a time.
    """

    identity: str = "{track}"
    type: str = "nm-{clip:02d}"
    view: str = "000"
    clip_frames: int | None = Field(default=None, ge=1)
    min_frames: int = Field(default=10, ge=1)
    min_score: float = 0.4
    crop_scale: float = Field(default=1.25, gt=0)
    batch_size: int = Field(default=16, ge=1)

    @field_validator("identity", "type", "view")
    @classmethod
    def _known_fields(cls, template: str) -> str:
        try:
            used = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
        except ValueError as error:
            raise ValueError(f"is no template ({error})") from error
        for name in used:
            if name not in _FIELDS:
                raise ValueError(f"'{{{name}}}' is unknown; there are {', '.join(f'{{{f}}}' for f in _FIELDS)}")
        return template


@dataclass(frozen=True)
class Clip:
    """A stretch of a track that becomes one sequence.

    Attributes:
        track: the track's number.
        number: of the clip within its track, from 1.
        leaf: ``id/type/view``.
        frames: int64 [T], frame numbers from 1.
        boxes: float64 [T, 4], x, y, w, h in frame pixels.
    """

    track: int
    number: int
    leaf: str
    frames: npt.NDArray[np.int64]
    boxes: npt.NDArray[np.float64]


def plan_clips(tracks: Iterable[Track], video: Path, settings: ExtractSettings) -> list[Clip]:
    """Cut tracks into clips and name them.

    Clips are cut by boxes, before frames are dropped, so that which sequences there are does not
    depend on the estimator and a rerun can tell what is finished without running it.

    Raises:
        ConfigError: a name that is no folder name, or two clips with the same name.
    """
    clips: list[Clip] = []
    owners: dict[str, Clip] = {}
    for track in tracks:
        step = settings.clip_frames or len(track.frames)
        for number, start in enumerate(range(0, len(track.frames), step), 1):
            fields = {"track": track.id, "clip": number, "video": video.stem}
            leaf = "/".join(_name(settings, part, fields) for part in ("identity", "type", "view"))
            part = slice(start, start + step)
            clip = Clip(track.id, number, leaf, track.frames[part], track.boxes[part])
            if leaf in owners:
                other = owners[leaf]
                field = "track" if other.track != track.id else "clip"
                raise ConfigError(
                    f"track {other.track} clip {other.number} and track {track.id} clip {number} "
                    f"would both be written to {leaf}",
                    where="extract",
                    how=f"put {{{field}}} into --id, --type or --view",
                )
            owners[leaf] = clip
            clips.append(clip)
    return clips


def _name(settings: ExtractSettings, part: str, fields: dict[str, Any]) -> str:
    template: str = getattr(settings, part)
    try:
        name = template.format(**fields)
    except (ValueError, AttributeError, IndexError, KeyError) as error:
        raise ConfigError(f"'{template}' cannot be filled in ({error})", where=f"extract.{part}") from error
    if not name or name != name.strip() or name.startswith(".") or any(c in name for c in "/\\\0"):
        raise ConfigError(
            f"'{template}' gives '{name}', which cannot name a folder",
            where=f"extract.{part}",
            how="use a name without slashes that does not begin with a dot",
        )
    return name


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
