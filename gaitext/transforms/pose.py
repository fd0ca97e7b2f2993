"""Transforms of pose sequences [T, 17, 3] (x, y, score)."""

from __future__ import annotations

import numpy as np

from gaitext import geometry
from gaitext.errors import DataError
from gaitext.skeleton import joint_mirror
from gaitext.transforms.base import Array, RandomTransform, Transform, checked

__all__ = ["PoseBoxInput", "PoseFlip", "PoseInput", "PoseToAlignment", "as_poses", "found_joints", "mirror_poses"]


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
