"""One walker out of several people in a frame."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from gaitext.extraction.prepare.poses.frames import Array, seen

__all__ = ["follow"]


def follow(frames: Sequence[Array]) -> Array:
    """Choose one person a frame, so that the choice moves little and is tall.

    Of all ways to choose, the one with the least sum of two terms, in heights: how far the person
    moved since the frame before (the mean over the joints seen in both, over the mean height of the
    two), and how much shorter than the tallest in the frame the person is (1 − height / tallest).
    So the walker is neither swapped for a neighbour in a single frame, nor lost to somebody who
    stands behind for the whole sequence, small and still.

    Args:
        frames: people of each frame [P, 17, 3], P > 0, each with a joint that is seen.

    Returns:
        [T, 17, 3].
    """
    if all(len(people) == 1 for people in frames):
        return np.concatenate(frames)
    costs: list[npt.NDArray[np.float64]] = []
    steps: list[npt.NDArray[np.intp]] = []
    for t, people in enumerate(frames):
        heights = _heights(people)
        short = 1 - heights / heights.max()
        if t == 0:
            costs.append(short)
            continue
        total = costs[-1][:, None] + _moves(frames[t - 1], people)  # [before, now]
        steps.append(total.argmin(0))
        costs.append(total.min(0) + short)
    chosen = [int(costs[-1].argmin())]
    for step in reversed(steps):
        chosen.append(int(step[chosen[-1]]))
    return np.stack([people[one] for people, one in zip(frames, reversed(chosen))])


def _heights(people: Array) -> npt.NDArray[np.float64]:
    """How far each person's seen joints [P, 17, 3] reach from top to bottom, at least one pixel."""
    there, y = seen(people), people[..., 1].astype(np.float64)
    top, bottom = np.where(there, y, np.inf).min(-1), np.where(there, y, -np.inf).max(-1)
    return np.maximum(bottom - top, 1.0)


def _moves(before: Array, now: Array) -> npt.NDArray[np.float64]:
    """Distances [P, Q] between people of two frames, in their heights."""
    there, too = seen(before), seen(now)
    both = there[:, None] & too[None]
    one = np.where(there[..., None], before[..., :2], 0).astype(np.float64)
    two = np.where(too[..., None], now[..., :2], 0).astype(np.float64)
    gaps = np.linalg.norm(one[:, None] - two[None], axis=-1)
    count = both.sum(-1)
    apart = np.where(both, gaps, 0).sum(-1) / np.maximum(count, 1)
    # No joint is seen in both: compare where the people are.
    middles = [xy.sum(-2) / np.maximum(here.sum(-1), 1)[..., None] for xy, here in ((one, there), (two, too))]
    apart = np.where(count > 0, apart, np.linalg.norm(middles[0][:, None] - middles[1][None], axis=-1))
    return np.asarray(apart / ((_heights(before)[:, None] + _heights(now)[None]) / 2))
