"""Random changes of poses in training: noise, and GaitPT's mirror."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gaitext.errors import ConfigError
from gaitext.skeleton import joint_mirror
from gaitext.transforms.base import Array, RandomTransform
from gaitext.transforms.pose import as_poses, found_joints

__all__ = ["PoseJointNoise", "PoseMirror", "PosePointNoise", "RandomPose", "mirror_about_mean", "moved"]


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
