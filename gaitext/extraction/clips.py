"""Which sequences a video's tracks become, what they are called, and what is said of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from gaitext.config import Settings
from gaitext.errors import ConfigError
from gaitext.extraction.tracker import Track
from gaitext.making import Report
from gaitext.skeleton import PartitionLike, resolve_partition
from gaitext.store import Form
from gaitext.store.contract import check_template, folder_name

#: What extraction can write into a leaf, in the order of the files; and what it writes if nothing is asked for, and
#: boxes or a detector are given.
Content = Literal["heatmaps", "poses", "poses_frame", "boxes", "silhouettes"]
CONTENT: tuple[Content, ...] = ("heatmaps", "poses", "poses_frame", "boxes")

_FIELDS = ("track", "clip", "video", "id", "type", "view")
#: Names of sequences from a lone video, and from one in a tree <id>/<type>/<view>.
_LONE = {"identity": "{track}", "type": "nm-{clip:02d}", "view": "000"}
_IN_TREE = {"identity": "{id}", "type": "{type}", "view": "{view}"}


class ExtractSettings(Settings):
    """How tracks become sequences. Templates are Python format strings.

    Attributes:
        identity, type, view: names of the three folders. They may hold ``{track}`` (the track's
            number), ``{clip}`` (the clip's number within the track, from 1), ``{video}`` (the
            video's file name without its suffix) and, for a video in a tree, ``{id}``, ``{type}``
            and ``{view}`` (its place there), formatted as Python does (``{clip:02d}``). None
            keeps the place in a tree; a lone video's are ``{track}``, ``nm-{clip:02d}``, ``000``.
        tracks: ``all``, or the ``longest`` only; None: all of a lone video, the longest in a tree,
            where each video shows one person.
        clip_frames: cut every track into clips of this many boxes, each a sequence of its own;
            None keeps a track whole.
        min_frames: sequences left with fewer frames are not written, but reported.
        min_score: frames with a mean keypoint score below this are dropped (GaitHeat: 0.4).
        crop_scale: by how much boxes grow (GaitHeat: 1.25); None: 1.25, and 1 where the box is
            the whole frame.
        batch_size: crops given to the estimator at a time; None leaves it to the estimator.
        form: of the heatmaps on disk: ``plain`` float16 as the toolboxes' own tools write them,
            ``compact`` (8 bits), or ``lossless`` (float16 without the zeros); see
            :mod:`gaitext.store`.
        content: which of a leaf's files are written, of ``heatmaps``, ``poses``, ``poses_frame``, ``boxes`` and
            ``silhouettes``; a text of names with commas between will do. None: all of them, but no silhouettes
            where boxes or a detector are given. Which frames are kept depends on
            ``silhouettes`` alone: those are dropped that have no mask of the person.
        merge: a partition (a name, or lists of joints) whose parts the 17 heatmaps are merged to
            before they are stored (``alignment.merge: offline``); None stores all 17.
    """

    identity: str | None = None
    type: str | None = None
    view: str | None = None
    tracks: Literal["all", "longest"] | None = None
    clip_frames: int | None = Field(default=None, ge=1)
    min_frames: int = Field(default=10, ge=1)
    min_score: float = 0.4
    crop_scale: float | None = Field(default=None, gt=0)
    batch_size: int | None = Field(default=None, ge=1)
    form: Form = "plain"
    content: tuple[Content, ...] | None = None
    merge: PartitionLike | None = None

    @field_validator("content", mode="before")
    @classmethod
    def _listed(cls, content: Any) -> Any:
        return tuple(part.strip() for part in content.split(",")) if isinstance(content, str) else content

    @field_validator("content")
    @classmethod
    def _once(cls, content: tuple[Content, ...] | None) -> tuple[Content, ...] | None:
        if content is None:
            return None
        if not content:
            raise ValueError(f"names nothing: give some of {', '.join(get_args(Content))}")
        return tuple(name for name in get_args(Content) if name in content)

    @field_validator("identity", "type", "view")
    @classmethod
    def _known_fields(cls, template: str | None) -> str | None:
        if template is None:
            return None
        return check_template(template, _FIELDS)

    @field_validator("merge")
    @classmethod
    def _known_partition(cls, merge: PartitionLike | None) -> PartitionLike | None:
        if merge is not None:
            resolve_partition(merge, where="merge")
        return merge


@dataclass
class ExtractReport(Report):
    """What an extraction did.

    Attributes:
        written: leaves (``id/type/view``) written now.
        standing: leaves finished by an earlier run with the same settings.
        skipped: leaf -> why it was not written (now or by an earlier run).
        doubtful: leaf written now -> why its boxes may be another video's: most of its frames score badly.
        left_out: tracks that were not asked for (all but the longest) -> their number of boxes.
        stale: leaves of these videos in the output folder that these settings do not make; they
            are left alone.
        failed: source -> the error that stopped it. What was finished before it is written.
        frames: crops estimated now.
        dropped: reason -> how many of them were dropped.
        seconds: wall time.
    """

    written: list[str] = field(default_factory=list)
    standing: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    doubtful: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    stale: list[str] = field(default_factory=list)
    frames: int = 0
    dropped: Counter[str] = field(default_factory=lambda: Counter({"score": 0, "outside": 0}))

    def __str__(self) -> str:
        """A few lines for people."""
        rate = f", {self.frames / self.seconds:.1f} crops/s" if self.frames and self.seconds else ""
        lines = [
            f"{len(self.written)} sequences written, {len(self.standing)} already there "
            f"({self.frames} crops in {self.seconds:.1f} s{rate})",
            f"dropped frames: {self.dropped['score']} below the score, {self.dropped['outside']} outside the frame"
            + (f", {self.dropped['mask']} without a mask of the person" if self.dropped["mask"] else ""),
        ]
        boxes = {track: f"{count} boxes" for track, count in self.left_out.items()}
        lines += self.several("not the longest track", boxes, all_in=self.listed)
        lines += self.several("not written", self.skipped, all_in=self.listed)
        if self.skipped:
            lines.append("To mend it: longer clips, or lower --min-frames or --min-score")
        lines += self.several("doubtful", self.doubtful)
        if self.doubtful:
            lines.append("To mend it: look at the crops: are these the boxes of this video?")
        lines += self.several("left from other settings", dict.fromkeys(self.stale, ""))
        return "\n".join(lines + self.failures())


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


def plan_clips(
    tracks: Iterable[Track],
    video: Path,
    settings: ExtractSettings,
    place: tuple[str, str, str] | None = None,
) -> list[Clip]:
    """Cut tracks into clips and name them.

    Clips are cut by boxes, before frames are dropped, so that which sequences there are does not
    depend on the estimator and a rerun can tell what is finished without running it.

    Args:
        place: identity, type and view of a video in a tree.

    Raises:
        ConfigError: a name that is no folder name, or two clips with the same name.
    """
    clips: list[Clip] = []
    owners: dict[str, Clip] = {}
    for track in tracks:
        step = settings.clip_frames or len(track.frames)
        for number, start in enumerate(range(0, len(track.frames), step), 1):
            leaf = leaf_name(settings, video, place, track=track.id, clip=number)
            part = slice(start, start + step)
            clip = Clip(track.id, number, leaf, track.frames[part], track.boxes[part])
            if leaf in owners:
                other = owners[leaf]
                field = "track" if other.track != track.id else "clip"
                raise ConfigError(
                    f"track {other.track} clip {other.number} and track {track.id} clip {number} "
                    f"of {video} would both be written to {leaf}",
                    where="extract",
                    how=f"put {{{field}}} into --id, --type or --view",
                )
            owners[leaf] = clip
            clips.append(clip)
    return clips


def leaf_name(
    settings: ExtractSettings, video: Path, place: tuple[str, str, str] | None, *, track: int, clip: int
) -> str:
    """``id/type/view`` of a clip; arguments as for :func:`plan_clips`."""
    fields = {"track": track, "clip": clip, "video": video.stem}
    fields |= {} if place is None else dict(zip(("id", "type", "view"), place))
    names = []
    for part, default in (_LONE if place is None else _IN_TREE).items():
        given = getattr(settings, part)
        names.append(_name(part, default if given is None else given, fields))
    return "/".join(names)


def _name(part: str, template: str, fields: dict[str, Any]) -> str:
    try:
        name = template.format(**fields)
    except KeyError as error:
        raise ConfigError(
            f"'{template}' holds {{{error.args[0]}}}, which only videos in a tree <id>/<type>/<view> have",
            where=f"extract.{part}",
            how="use {track}, {clip} or {video}",
        ) from error
    except (ValueError, AttributeError, IndexError) as error:
        raise ConfigError(f"'{template}' cannot be filled in ({error})", where=f"extract.{part}") from error
    try:
        return folder_name(name)
    except ValueError as error:
        raise ConfigError(f"'{template}' gives a wrong name: {error}", where=f"extract.{part}") from error
