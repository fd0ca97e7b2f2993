"""Transforms of pose sequences [T, 17, 3] (x, y, score)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaitext import geometry
from gaitext.errors import ConfigError, DataError, suggest
from gaitext.skeleton import coco_rows, joint_mirror, resolve_order
from gaitext.transforms.base import Array, RandomTransform, Transform, checked


def as_poses(sequence: Array, *, where: str) -> Array:
    """A float32 copy of poses [T, 17, 3] (x, y, score) or [T, 17, 2] (x, y).

    Raises:
        DataError: another shape, no frame, NaN.
    """
    poses = checked(sequence, (17, None), where=where, what="poses")
    if poses.shape[2] not in (2, 3):
        raise DataError(
            f"poses of shape {poses.shape}", where=where, how="[T, 17, 3] (x, y, score) or [T, 17, 2] was expected"
        )
    return poses.astype(np.float32)


def found_joints(poses: Array) -> Array:
    """Which joints of poses [T, V, ≥2] were found: [T, V]; a missing one is (0, 0, 0) or (0, 0)."""
    return np.asarray(poses.any(-1))


class PoseInput(Transform):
    """Checks poses and makes them float32: put it first in every list.

    Args:
        joints: how many there must be.

    Raises (at call):
        DataError: wrong shape, no frame, NaN.
    """

    def __init__(self, joints: int = 17) -> None:
        self.joints = joints

    def __call__(self, sequence: Array) -> Array:
        return checked(sequence, (self.joints, 3), where="PoseInput", what="poses").astype(np.float32)


class PoseBoxInput(Transform):
    """Checks the crop boxes of poses in frame pixels, [T, 4] (x, y, w, h), and makes them float32.

    Raises (at call):
        DataError: wrong shape, no frame, NaN, or a box without width or height.
    """

    def __call__(self, sequence: Array) -> Array:
        boxes = checked(sequence, (4,), where="PoseBoxInput", what="crop boxes").astype(np.float32)
        flat = (boxes[:, 2:] <= 0).any(1)
        if flat.any():
            raise DataError(f"crop box {boxes[flat][0].tolist()} has no area", where="PoseBoxInput")
        return boxes


class PoseToAlignment(Transform):
    """Alignment matrices of poses (Eqs. 1–3): [T, 17, 3] -> [T, 2, 3], float32.

    For ``alignment.keypoints: matrices``. A frame whose shoulders or hips cannot be trusted gets
    the identity, which the network leaves as it is. γ and the coin belong to the network.

    Args:
        anchor: P_align as (x, y), the same as ``model_cfg.alignment.anchor``.
        min_score: joints must score more than this.
    """

    def __init__(self, anchor: tuple[float, float] = (24.0, 16.0), min_score: float = 0.0) -> None:
        self.anchor = (float(anchor[0]), float(anchor[1]))
        self.min_score = min_score

    def __call__(self, sequence: Array) -> Array:
        poses = checked(sequence, (17, 3), where="PoseToAlignment", what="poses").astype(np.float64)
        neck, hip, valid = geometry.spine(poses, self.min_score)
        matrices = geometry.alignment_matrices(neck, hip, self.anchor)
        matrices[~valid] = geometry.identity(np.ones(1))[0]
        return matrices.astype(np.float32)


class PoseFlip(RandomTransform):
    """Mirrors the walk: x becomes width − 1 − x, left and right joints swap.

    Only where poses are the one input; otherwise ``model_cfg.augmentation.mirror``.

    Args:
        probability: chance of a flip, drawn once per call.
        width: of the image whose pixels x counts; 48 for heatmap pixels.
        generator: see :class:`~gaitext.transforms.base.RandomTransform`.
    """

    def __init__(
        self, probability: float = 0.5, width: float = 48, generator: np.random.Generator | None = None
    ) -> None:
        super().__init__(probability, generator)
        self.width = width

    def change(self, sequence: Array) -> Array:
        return mirror_poses(checked(sequence, (17, None), where="PoseFlip", what="poses"), self.width)


def mirror_poses(poses: Array, width: float) -> Array:
    """Mirror poses [T, 17, ≥2] in an image ``width`` pixels wide, swapping left and right joints.

    A joint that was not found, (0, 0, 0), stays (0, 0, 0).
    """
    poses = np.asarray(poses)
    mirrored = poses[:, list(joint_mirror())].copy()
    mirrored[..., 0] = np.where(found_joints(mirrored), width - 1 - mirrored[..., 0], mirrored[..., 0])
    return mirrored


class RandomPose(RandomTransform):
    """A random transform of poses [T, 17, 2 or 3] that gives float32, applied or not."""

    def __call__(self, sequence: Array) -> Array:
        return super().__call__(as_poses(sequence, where=type(self).__name__))


class _Noise(RandomPose):
    """Gaussian noise on x and y."""

    def __init__(self, std: float, probability: float, generator: np.random.Generator | None) -> None:
        super().__init__(probability, generator)
        if not 0 <= std < np.inf:
            raise ConfigError(f"std is {std}", where=f"{type(self).__name__}.std", how="give a number of at least 0")
        self.std = std


class PosePointNoise(_Noise):
    """Moves every found joint of every frame by noise of its own: [T, 17, 2 or 3] -> the same.

    GaitPT's, with its σ: in frame pixels, so before the division by the width, and before the
    nose is copied. Missing joints stay missing, scores as they are.

    Args:
        std: σ, in the input's units.
        probability: chance of being applied, drawn once per call.
        generator: see :class:`~gaitext.transforms.base.SeededTransform`.

    Raises:
        ConfigError: a negative ``std``.
    """

    def __init__(
        self, std: float = 0.05, probability: float = 1.0, generator: np.random.Generator | None = None
    ) -> None:
        super().__init__(std, probability, generator)

    @classmethod
    def needs_one_sequence(cls, arguments: Mapping[str, Any]) -> bool:
        """Not where it is always applied: each point has noise of its own, whatever it is packed with."""
        return float(arguments.get("probability", 1.0)) < 1

    def change(self, sequence: Array) -> Array:
        return moved(sequence, self.draws().normal(0, self.std, (*sequence.shape[:2], 2)))


class PoseJointNoise(_Noise):
    """Moves every joint by one offset for the whole sequence: [T, 17, 2 or 3] -> the same.

    Another body rather than another measurement; the default σ is OpenGait's ``JointNoise``'s.
    Missing joints stay missing, scores as they are.

    Args:
        std: σ, in the input's units.
        probability: chance of being applied, drawn once per call.
        generator: see :class:`~gaitext.transforms.base.SeededTransform`.

    Raises:
        ConfigError: a negative ``std``.
    """

    def __init__(
        self, std: float = 0.25, probability: float = 1.0, generator: np.random.Generator | None = None
    ) -> None:
        super().__init__(std, probability, generator)

    def change(self, sequence: Array) -> Array:
        return moved(sequence, self.draws().normal(0, self.std, (1, sequence.shape[1], 2)))


def moved(poses: Array, offsets: Array) -> Array:
    """Poses [T, V, ≥2] whose found joints are moved by ``offsets`` (broadcast to [T, V, 2])."""
    result = poses.copy()
    result[..., :2] = np.where(found_joints(poses)[..., None], poses[..., :2] + offsets, poses[..., :2])
    return result


class PoseMirror(RandomPose):
    """Mirrors each frame about the mean x of its found joints: [T, 17, 2 or 3] -> the same.

    GaitPT's mirror, which leaves left and right joints where they are in the list (docs/gaitpt.md) and
    needs no image's width. :class:`~gaitext.transforms.PoseFlip` mirrors in the image and swaps.

    Args:
        probability: chance of being applied, drawn once per call.
        swap: whether left and right joints change places, as they do when a body is mirrored.
        generator: see :class:`~gaitext.transforms.base.SeededTransform`.
    """

    def __init__(
        self, probability: float = 0.5, swap: bool = False, generator: np.random.Generator | None = None
    ) -> None:
        super().__init__(probability, generator)
        self.swap = swap

    def change(self, sequence: Array) -> Array:
        return mirror_about_mean(sequence, swap=self.swap)


def mirror_about_mean(poses: Array, *, swap: bool = False) -> Array:
    """Mirror poses [T, 17, ≥2] about each frame's mean x; missing joints stay (0, 0, 0).

    >>> mirrored = mirror_about_mean(np.float32([[[4, 1], [0, 0], [8, 2], [9, 3]] + 13 * [[0, 0]]]))
    >>> mirrored[0, :4].tolist()
    [[10.0, 1.0], [0.0, 0.0], [6.0, 2.0], [5.0, 3.0]]
    """
    mirrored = np.take(poses, joint_mirror(), 1) if swap else poses.copy()
    found = found_joints(mirrored)
    x = mirrored[..., 0]
    mean = x.sum(1, keepdims=True) / np.maximum(found.sum(1, keepdims=True), 1)
    mirrored[..., 0] = np.where(found, 2 * mean - x, 0)
    return mirrored


#: CASIA-B's frames, in pixels.
_SIZES: dict[str, float | None] = {"width": 320.0, "height": 240.0, "box": None}


class PoseNormalize(Transform):
    """Divides coordinates by the frame's size: [T, 17, 2 or 3] -> the same, float32.

    The published recipe divides x and y alike: by the frame's width on CASIA-B, by its height on
    GREW and Gait3D. Scores stay, and so do missing joints, (0, 0, 0).

    Args:
        by: ``width`` or ``height``: divide by ``size``. ``box`` (ours): see :func:`normalize_by_box`.
        size: the frame's width or height in pixels; None: CASIA-B's, 320 or 240. ``box`` takes none.

    Raises:
        ConfigError: another ``by``, or a size that is not positive.

    Example:
        >>> PoseNormalize()(np.full((1, 17, 2), 160))[0, 0].tolist()
        [0.5, 0.5]
    """

    def __init__(self, by: str = "width", size: float | None = None) -> None:
        if by not in _SIZES:
            raise ConfigError(f"by is {by!r}", where="PoseNormalize.by", how=suggest(str(by), _SIZES))
        if by == "box" and size is not None:
            raise ConfigError("by: box takes no size", where="PoseNormalize.size", how="leave it out")
        if size is not None and not size > 0:
            raise ConfigError(f"size is {size}", where="PoseNormalize.size", how="give the frame's size in pixels")
        self.by = by
        self.size = _SIZES[by] if size is None else float(size)

    def __call__(self, sequence: Array) -> Array:
        poses = as_poses(sequence, where="PoseNormalize")
        if self.size is None:
            return normalize_by_box(poses)
        poses[..., :2] /= np.float32(self.size)
        return poses


def normalize_by_box(poses: Array) -> Array:
    """Put every frame's person into a box of height 1 around (0, 0): [T, V, ≥2] -> the same.

    The box is that of the frame's found joints; its centre is subtracted from them, and its height
    divides both coordinates. So neither where the person stands nor how far off is left. A frame
    whose joints have no height (one joint, say) has no scale: its coordinates become 0.
    """
    points, found = poses[..., :2], found_joints(poses)
    low = np.where(found[..., None], points, np.inf).min(1)
    high = np.where(found[..., None], points, -np.inf).max(1)
    usable = high[:, 1] > low[:, 1]  # not where nothing was found: -inf and inf
    low, high = (np.where(usable[:, None], corner, 0) for corner in (low, high))
    centre = ((low + high) / 2)[:, None]
    height = np.where(usable, (high - low)[:, 1], 1)[:, None, None]
    placed = poses.copy()
    placed[..., :2] = np.where(found[..., None] & usable[:, None, None], (points - centre) / height, 0)
    return placed


class PoseOrder(Transform):
    """GaitPT's input: [T, 17, 2 or 3] -> [T, 18, 2], float32. The last of a list.

    A copy of the nose becomes joint 17, scores are dropped, and the joints are ordered so that
    neighbours make a limb and limbs a part of the body (GaitPT, section 3.2).

    Args:
        partition: a key of :data:`gaitext.skeleton.POSE_ORDERS`, or 18 joint indices of your own; the
            same as the model's.

    Raises:
        ConfigError: no such order.
    """

    def __init__(self, partition: str | Sequence[int] = "head_upper_lower") -> None:
        self.order = resolve_order(partition, where="PoseOrder.partition")

    def __call__(self, sequence: Array) -> Array:
        return order_joints(as_poses(sequence, where="PoseOrder"), self.order)


def order_joints(poses: Array, order: Sequence[int]) -> Array:
    """Poses [T, 17, ≥2] with the nose again as joint 17, ordered, without scores: [T, 18, 2]."""
    return np.ascontiguousarray(poses[:, list(coco_rows(order)), :2])
