"""Transforms of the order and number of frames. They need to see one sequence at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gaitext.errors import ConfigError, suggest
from gaitext.transforms.base import Array, RandomTransform, SeededTransform, checked
from gaitext.transforms.pose import RandomPose, found_joints


def reverse(sequence: Array) -> Array:
    """Run a sequence [T, …] backwards."""
    return np.ascontiguousarray(np.asarray(sequence)[::-1])


class _Reverse(RandomTransform):
    """Runs the sequence backwards. With several inputs: ``model_cfg.augmentation.reverse``."""

    def change(self, sequence: Array) -> Array:
        return reverse(sequence)


class HeatmapReverse(_Reverse):
    """Runs heatmaps [T, 17, H, W] backwards with a probability."""


class PoseReverse(_Reverse):
    """Runs poses [T, 17, 3] backwards with a probability: GaitPT's "flip"."""


class PosePace(RandomPose):
    """Walks at another pace: [T, 17, 2 or 3] -> [T', 17, 2 or 3], T' = ⌊(T − 1)/pace⌋ + 1.

    GaitPT names the augmentation, "random pace", but no values; the default's are ours. Batches
    need sequences of one length: put a :class:`PoseWindow` behind it.

    Args:
        paces: one of them is drawn per call, all alike; 2 walks twice as fast.
        probability: chance of being applied, drawn once per call.
        generator: see :class:`~gaitext.transforms.base.SeededTransform`.

    Raises:
        ConfigError: no pace, or one that is not positive.
    """

    def __init__(
        self,
        paces: Sequence[float] = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0),
        probability: float = 1.0,
        generator: np.random.Generator | None = None,
    ) -> None:
        super().__init__(probability, generator)
        given = list(paces) if isinstance(paces, (list, tuple)) else []
        if not given or not all(isinstance(pace, (int, float)) and 0 < pace < math.inf for pace in given):
            raise ConfigError(f"paces is {paces!r}", where="PosePace.paces", how="give positive numbers: [0.5, 1, 2]")
        self.paces = tuple(map(float, given))

    def change(self, sequence: Array) -> Array:
        return change_pace(sequence, self.paces[int(self.draws().integers(len(self.paces)))])


def change_pace(poses: Array, pace: float) -> Array:
    """Resample poses [T, V, 2 or 3] at frames 0, pace, 2·pace, … ≤ T − 1.

    Between two frames x and y are interpolated linearly, and the score is the smaller one's. A
    joint that is missing in one of the two cannot be interpolated and is taken from the nearer
    frame, be it found or missing there; half-way, from the frame where it was found.

    >>> change_pace(np.float32([[[1, 2, 0.9]], [[3, 6, 0.5]]]), 0.5)[:, 0].tolist()[1]
    [2.0, 4.0, 0.5]
    """
    frames = len(poses)
    # The rounding keeps a pace such as 0.1 on the frames that its multiples mean.
    count = math.floor(round((frames - 1) / pace, 9)) + 1
    at = np.minimum(np.round(np.arange(count) * pace, 9), frames - 1)
    before = at.astype(np.int64)
    share = at - before
    first, second = poses[before], poses[np.where(share > 0, before + 1, before)]
    share = share[:, None]
    mixed = np.minimum(first, second)
    mixed[..., :2] = (1 - share[..., None]) * first[..., :2] + share[..., None] * second[..., :2]
    found_first, found_second = found_joints(first), found_joints(second)
    take_first = (share < 0.5) | ((share == 0.5) & found_first)
    nearer = np.where(take_first[..., None], first, second)
    resampled: Array = np.where((found_first & found_second)[..., None], mixed, nearer)
    return resampled


_POSITIONS = ("random", "center", "start")


class PoseWindow(SeededTransform):
    """Cuts a window out of a sequence: [T, V, C] -> [frames, V, C], float32.

    A sequence shorter than the window is repeated whole until it is long enough, as the
    toolboxes' samplers do, and the window is cut from the repeated one.

    Args:
        frames: the window's length; GaitPT's is 60, on GREW and Gait3D 30.
        position: ``random``, anywhere; ``center``, the earlier one where two are as central;
            ``start``. The last two draw nothing and so may be used in a test.
        generator: see :class:`~gaitext.transforms.base.SeededTransform`.

    Raises:
        ConfigError: another position, or less than one frame.
    """

    def __init__(
        self, frames: int = 60, position: str = "random", generator: np.random.Generator | None = None
    ) -> None:
        super().__init__(generator)
        if not isinstance(frames, int) or frames < 1:
            raise ConfigError(f"frames is {frames!r}", where="PoseWindow.frames", how="give a number of at least 1")
        if position not in _POSITIONS:
            raise ConfigError(
                f"position is {position!r}", where="PoseWindow.position", how=suggest(str(position), _POSITIONS)
            )
        self.frames = frames
        self.position = position

    @classmethod
    def is_random(cls, arguments: Mapping[str, Any]) -> bool:
        return arguments.get("position", "random") == "random"

    def __call__(self, sequence: Array) -> Array:
        poses = checked(sequence, (None, None), where="PoseWindow", what="poses")
        generator = self.draws() if self.position == "random" else None
        return poses[window_frames(len(poses), self.frames, self.position, generator)].astype(np.float32)


def window_frames(length: int, frames: int, position: str, generator: np.random.Generator | None = None) -> Array:
    """Which frames a window takes: ``frames`` consecutive positions in 0..length − 1, modulo length.

    Args:
        length: of the sequence.
        frames: of the window.
        position: ``random`` (which needs a generator), ``center`` or ``start``.
        generator: where the draw comes from.

    >>> window_frames(5, 3, "center").tolist(), window_frames(2, 3, "start").tolist()
    ([1, 2, 3], [0, 1, 0])
    """
    spare = length * max(1, math.ceil(frames / length)) - frames
    if position == "random":
        assert generator is not None
        start = int(generator.integers(0, spare, endpoint=True))
    else:
        start = spare // 2 if position == "center" else 0
    return (start + np.arange(frames)) % length
