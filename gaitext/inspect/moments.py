"""A frame of a sequence with all that is known of it, as it is, occluded, and corrected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gaitext.extraction import Correction, crop_images
from gaitext.geometry import apply, crop_matrices
from gaitext.inspect.contact_sheet import box_around, cut_picture, cut_tile, even
from gaitext.inspect.footage import Footage
from gaitext.inspect.paint import Frame, Group, groups_of
from gaitext.occlusion import Occlusion, Occlusions, occlude_batch, occlude_pose_batch, region
from gaitext.pose import PoseEstimator, decode_heatmaps
from gaitext.skeleton import COCO_JOINTS

Array = npt.NDArray[Any]

#: Heatmap rows and columns where a leaf has no heatmaps that say it.
_MAP = (64, 48)
#: Painted over what is hidden.
HIDDEN = (150, 30, 45)
#: Ground of what has no picture.
DARK = 12
#: A corrector of the video's own pixels sees so much of the frame around a crop.
_AROUND = 32
#: Of a stretched frame no place is hidden; a bar so wide says which share was.
_BAR = 4


@dataclass(frozen=True)
class Moment:
    """One frame of a sequence, in one state.

    Attributes:
        number: of the frame in the video, from 1.
        index: frames since the sequence began, by which a patch or a pole moves.
        ground: uint8 [H, W, 3], the crop; dark where there is no RGB. Heatmap pixels are squares of it.
        placed: whether heatmaps lie on the person in ``ground``; a leaf's own pictures may be cut otherwise.
        heatmaps: float32 [C, h, w].
        pose: float64 [17, 3], x and y in heatmap pixels, and score.
        silhouette: float32 [h, w] in 0..1.
        groups: how the heatmaps are coloured; ``full``: their value in full colour.
        state: what was done to it; empty for nothing.
        occlusion: what is in front; ``before``: the frame without it.
    """

    number: int
    index: int
    ground: Frame
    placed: bool = True
    heatmaps: Array | None = None
    pose: Array | None = None
    silhouette: Array | None = None
    groups: tuple[Group, ...] = ()
    full: float = 1.0
    state: str = ""
    occlusion: Occlusion = field(default_factory=Occlusion)
    before: Moment | None = None

    @property
    def map_size(self) -> tuple[int, int]:
        """Rows and columns of the heatmaps, or of the grid that occlusions count by."""
        return _MAP if self.heatmaps is None else (self.heatmaps.shape[1], self.heatmaps.shape[2])

    @property
    def scale(self) -> float:
        """Pixels of ``ground`` a heatmap pixel."""
        return self.ground.shape[0] / self.map_size[0]


def moment(footage: Footage, position: int, frame: Frame | None, *, index: int | None = None, rows: int = 4) -> Moment:
    """What a sequence holds of one frame.

    Args:
        footage: the sequence.
        position: in it, from 0.
        frame: of the video, where that is there.
        index: of the occlusion; ``position`` if not given.
        rows: pixels of the picture a heatmap pixel.
    """
    size = _MAP if footage.heatmaps is None else (footage.heatmaps.shape[2], footage.heatmaps.shape[3])
    heatmaps = None
    if footage.heatmaps is not None:
        heatmaps = np.nan_to_num(np.asarray(footage.heatmaps[position], np.float32), posinf=0, neginf=0)
    pose = _pose(footage, position, size)
    height, width = size[0] * rows, even(size[1] * rows)
    ground, placed = np.full((height, width, 3), DARK, np.uint8), True
    box = crop_of(footage, position)
    if frame is not None and box is not None:
        ground = cut_tile(frame, box, height, width)
    elif footage.pictures is not None:
        ground = cut_picture(footage, position, height, width)
        shape = footage.pictures.shape
        tall, wide = shape[2:] if shape[1] == 3 else shape[1:3]
        placed = tall * width == wide * height
    silhouette = None
    if footage.masks is not None:
        mask = np.asarray(footage.masks[position], np.float32)
        silhouette = (mask / max(float(mask.max()), 1e-6)).clip(0, 1)
    return Moment(
        number=int(footage.numbers[position]),
        index=position if index is None else index,
        ground=ground,
        placed=placed,
        heatmaps=heatmaps,
        pose=pose,
        silhouette=silhouette,
        groups=tuple(footage.groups),
        full=footage.full,
    )


def occluded(was: Moment, occlusion: Occlusion, state: str) -> Moment:
    """The same frame with an occlusion in front: heatmaps, keypoints, silhouette and picture alike.

    Rows are stretched where the occlusion says so, but of keypoints, which are never resized.
    """
    one, size = Occlusions.of([occlusion]), was.map_size

    def hide(maps: Array, binary: bool) -> Array:
        hidden: Array = occlude_batch(maps[None], one, was.index, binary=binary)[0]
        return hidden

    pose = was.pose
    if pose is not None:
        pose = occlude_pose_batch(pose[None], one, was.index, size[1], size[0], grid=size)[0]
    return replace(
        was,
        heatmaps=None if was.heatmaps is None else hide(was.heatmaps, False),
        pose=pose,
        silhouette=None if was.silhouette is None else hide(was.silhouette, True),
        ground=_hidden_ground(was, occlusion),
        state=state,
        occlusion=occlusion,
        before=was,
    )


def paint_hidden(image: Frame, was: Moment, size: tuple[int, int]) -> None:
    """Paint what is hidden of an enlarged map of ``size``, in place; where rows were stretched, a bar at the left."""
    rows, columns = image.shape[0] / size[0], image.shape[1] / size[1]
    top, bottom, left, right = region(was.occlusion, was.index, *size)
    if bottom <= top or right <= left:
        return
    place = np.s_[round(top * rows) : round(bottom * rows), round(left * columns) : round(right * columns)]
    image[np.s_[place[0], :_BAR] if was.occlusion.resize else place] = HIDDEN


def _hidden_ground(was: Moment, occlusion: Occlusion) -> Frame:
    ground, size = was.ground.copy(), was.map_size
    if occlusion.resize:
        top, bottom, *_ = region(occlusion, was.index, *size)
        whole = replace(occlusion, rows=float(bottom - top) / size[0])  # the same rows, whatever the rounding
        channels = ground.transpose(2, 0, 1)[None]
        stretched: Array = occlude_batch(channels, Occlusions.of([whole]), was.index, binary=False)[0]
        ground = np.ascontiguousarray(stretched.transpose(1, 2, 0))
    paint_hidden(ground, replace(was, occlusion=occlusion), size)
    return ground


@torch.inference_mode()
def estimated(
    was: Moment,
    frame: Frame,
    box: npt.ArrayLike,
    estimator: PoseEstimator,
    correction: Correction | None = None,
    state: str = "",
) -> Moment:
    """The same frame's heatmaps and keypoints estimated anew, from the picture as it is or corrected.

    A corrector that was trained on the video's own pixels sees those around the crop; another one the estimator's
    input. The silhouette is left out: it was made of the picture as it is.

    Args:
        frame: of the video.
        box: the crop, x, y, w, h in frame pixels.
        estimator: finds the heatmaps.
        correction: what is done before.
        state: what the moment is called.
    """
    crop = np.asarray(box, np.float64)
    native = correction is not None and correction.settings.get("correct_at") == "native"
    if correction is not None and native:
        frame = _corrected_around(frame, crop, correction)
    images = crop_images(frame, crop[None], estimator.input_size)
    ground = cut_tile(frame, crop, *was.ground.shape[:2])
    if correction is not None and not native:
        images = correction.correct(images).clamp(0, 1)
        shown = np.ascontiguousarray((images[0].permute(1, 2, 0) * 255).round().byte().numpy())
        ground = cut_tile(shown, (0, 0, shown.shape[1], shown.shape[0]), *was.ground.shape[:2])
    maps = estimator.heatmaps(images)[0].float().cpu().numpy()
    return replace(
        was,
        ground=ground,
        placed=True,
        heatmaps=maps,
        pose=decode_heatmaps(maps).astype(np.float64),
        silhouette=None,
        groups=tuple(groups_of(list(COCO_JOINTS))),
        full=float(maps.max()) or 1.0,
        state=state,
    )


def states(
    was: Moment,
    occlusions: Mapping[str, Occlusion],
    corrected: Sequence[Moment] = (),
) -> list[Moment]:
    """The rows that are drawn of a frame: corrected or not, and each of them under every occlusion."""
    seen = list(corrected) or [was]
    if not occlusions:
        return seen
    return [
        one if occlusion.type == "none" and one.state else occluded(one, occlusion, " ".join((one.state, name)).strip())
        for one in seen
        for name, occlusion in occlusions.items()
    ]


def _corrected_around(frame: Frame, crop: Array, correction: Correction) -> Frame:
    """A frame corrected where the crop lies."""
    height, width = frame.shape[:2]
    left, top = np.clip(np.floor(crop[:2]).astype(int) - _AROUND, 0, (width, height))
    right, bottom = np.clip(np.ceil(crop[:2] + crop[2:]).astype(int) + _AROUND, 0, (width, height))
    if right <= left or bottom <= top:
        return frame
    window = torch.from_numpy(np.ascontiguousarray(frame[top:bottom, left:right])).permute(2, 0, 1)[None].float() / 255
    better = (correction.correct(window)[0].clamp(0, 1) * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    corrected = frame.copy()
    corrected[top:bottom, left:right] = better
    return corrected


def crop_of(footage: Footage, position: int) -> Array | None:
    """Where in the frame a sequence's crop lies, x, y, w, h in pixels; None where nothing says so."""
    if footage.boxes is not None:
        return np.asarray(footage.boxes[position], np.float64)
    if footage.poses_frame is None:
        return None
    pose = np.asarray(footage.poses_frame[position], np.float64)
    return box_around(pose[pose[:, 2] > 0, :2] if pose.shape[1] > 2 else pose)


def _pose(footage: Footage, position: int, size: tuple[int, int]) -> Array | None:
    """Keypoints [17, 3] in heatmap pixels: those of the leaf, or the heatmaps' own."""
    if footage.heatmaps is not None:
        found = footage.skeleton_in_map(position, 1.0)
        if found is not None:
            return np.concatenate((found[0], found[1][:, None]), 1)
        if footage.heatmaps.shape[1] == len(COCO_JOINTS):
            return decode_heatmaps(np.asarray(footage.heatmaps[position], np.float32)).astype(np.float64)
        return None
    box = crop_of(footage, position)
    poses = footage.poses_frame if footage.poses_frame is not None else footage.poses
    if poses is None:
        return None
    pose = np.asarray(poses[position], np.float64)
    scores = pose[:, 2] if pose.shape[1] > 2 else np.ones(len(pose))
    points = pose[:, :2] if box is None else apply(crop_matrices(box[None], *size)[0], pose[:, :2])
    return np.concatenate((points, scores[:, None]), 1)
