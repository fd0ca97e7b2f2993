"""Transforms that occlude sequences, where a leaf has one input (docs/transforms.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, suggest
from gaitext.occlusion import (
    Occlusion,
    OcclusionSettings,
    content_key,
    draw_occlusion,
    occlude,
    occlude_poses,
    pose_boxes,
    sequence_generator,
)
from gaitext.transforms.base import Array, SeededTransform, checked

Range = Sequence[float]


class _Occlusion(SeededTransform):
    """Occludes a sequence; at most one type a sequence.

    Several inputs of a leaf cannot be occluded alike here; where they must be, the model does it.

    Args:
        types: probability of each type (top, bottom, middle, dynamic, pole); what is left to 1 is
            left as it is.
        rows, middle_rows, patch_width, patch_height, pole_width, speed: bounds [low, high] of what is
            drawn; see :class:`~gaitext.occlusion.OcclusionSettings`, whose defaults are the
            published ones.
        dynamic_poles: how many of the dynamic occlusions are poles; see there.
        resize_visible: stretch what top and bottom leave; see there.
        seed: None draws at random, for training. A number makes the occlusion a function of the seed
            and the sequence's content as this transform sees it, whatever the order, workers or
            processes: for a test.
        generator: of random draws; see :class:`~gaitext.transforms.base.SeededTransform`.

    Raises:
        ConfigError: an unknown type, or a number out of range.
    """

    alone = True
    resized = False

    def __init__(
        self,
        types: Mapping[str, float] | None = None,
        rows: Range | None = None,
        middle_rows: Range | None = None,
        patch_width: Range | None = None,
        patch_height: Range | None = None,
        pole_width: Range | None = None,
        dynamic_poles: float | None = None,
        speed: Range | None = None,
        resize_visible: bool | None = None,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        given = {
            "types": types,
            "rows": rows,
            "middle_rows": middle_rows,
            "patch_width": patch_width,
            "patch_height": patch_height,
            "pole_width": pole_width,
            "dynamic_poles": dynamic_poles,
            "speed": speed,
            "resize_visible": self.resized if resize_visible is None else resize_visible,
            "seed": seed,
        }
        chosen = {name: value for name, value in given.items() if value is not None}
        self.settings = OcclusionSettings.parse(chosen, where=type(self).__name__)
        self.seed = seed

    @classmethod
    def is_random(cls, arguments: Mapping[str, Any]) -> bool:
        return arguments.get("seed") is None

    def occlusion(self, sequence: Array) -> Occlusion:
        """The occlusion of this call."""
        if self.seed is None:
            return draw_occlusion(self.settings, self.draws())
        return draw_occlusion(self.settings, sequence_generator(self.seed, content_key(sequence)))


class OcclusionSilhouettes(_Occlusion):
    """Silhouettes [T, H, W] or [T, C, H, W], 8-bit or float, before or after they are scaled.

    Rows that are stretched (``resize_visible``, on by default) are made binary again, at half the
    frame's maximum.

    Args, Raises: see :class:`_Occlusion`.
    """

    resized = True

    def __call__(self, sequence: Array) -> Array:
        array = np.asarray(sequence)
        tail = (None,) * (3 if array.ndim == 4 else 2)
        frames = checked(array, tail, where="OcclusionSilhouettes", what="silhouettes")
        return occlude(frames, self.occlusion(frames), binary=True)


class OcclusionHeatmaps(_Occlusion):
    """Heatmaps [T, C, H, W], of joints or of merged parts.

    ``resize_visible`` is off by default: heatmaps are used as the estimator made them, never resized.

    Args, Raises: see :class:`_Occlusion`.
    """

    def __call__(self, sequence: Array) -> Array:
        heatmaps = checked(sequence, (None, None, None), where="OcclusionHeatmaps", what="heatmaps")
        return occlude(heatmaps, self.occlusion(heatmaps), binary=False)


class OcclusionPoses(_Occlusion):
    """Poses [T, V, 2 or 3] in pixels: joints in the hidden region become (0, 0, 0); nothing is resized.

    Put it before what divides, shifts or reorders coordinates. What is not named here is as in
    :class:`OcclusionSilhouettes`; there is no ``resize_visible``.

    Args:
        box: what is occluded: the whole ``frame``, width × height; or a box about the ``joints``
            found in each frame, for poses in pixels of a video in which the walker is small.
        width, height: of the frame whose pixels the poses count; 48 and 64 for heatmap pixels.

    Raises:
        ConfigError: an unknown type or box, or a number out of range.
    """

    def __init__(
        self,
        box: str = "frame",
        width: float = 48,
        height: float = 64,
        types: Mapping[str, float] | None = None,
        rows: Range | None = None,
        middle_rows: Range | None = None,
        patch_width: Range | None = None,
        patch_height: Range | None = None,
        pole_width: Range | None = None,
        dynamic_poles: float | None = None,
        speed: Range | None = None,
        seed: int | None = None,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(
            types,
            rows,
            middle_rows,
            patch_width,
            patch_height,
            pole_width,
            dynamic_poles,
            speed,
            seed=seed,
            generator=generator,
        )
        if box not in ("frame", "joints"):
            raise ConfigError(f"box is {box!r}", where="OcclusionPoses.box", how=suggest(str(box), ("frame", "joints")))
        if not (width > 0 and height > 0):
            raise ConfigError(f"the frame is {width} × {height}", where="OcclusionPoses", how="give its size in pixels")
        self.box = box
        self.width, self.height = float(width), float(height)

    def __call__(self, sequence: Array) -> Array:
        poses = checked(sequence, (None, None), where="OcclusionPoses", what="poses")
        boxes = pose_boxes(poses).astype(np.float32) if self.box == "joints" else None
        return occlude_poses(poses, self.occlusion(poses), self.width, self.height, boxes=boxes)
