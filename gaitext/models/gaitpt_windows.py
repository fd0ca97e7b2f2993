"""Which frames GaitPT sees: windows of long sequences, short ones repeated or as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = ["random_start", "starts", "window_frames"]


def starts(length: int, frames: int, windows: Literal["two", "center"]) -> list[int]:
    """First frames of a sequence's windows in evaluation.

    Two windows are the middles of [0, max(L/2, T)) and [min(L/2, L − T − 1), L − 1) (published
    for T = 60). A sequence that is no longer than a window has one.

    >>> starts(120, 60, "two"), starts(61, 60, "two"), starts(60, 60, "two")
    ([0, 59], [0, 0], [0])
    >>> starts(120, 60, "center")
    [30]
    """
    if length <= frames:
        return [0]
    if windows == "center":
        return [(length - frames) // 2]
    halves = ((0, max(length // 2, frames)), (min(length // 2, length - frames - 1), length - 1))
    return [first + (stop - first - frames) // 2 for first, stop in halves]


def random_start(length: int, frames: int) -> int:
    """First frame of a sequence's window in training, from torch's random numbers."""
    return int(torch.randint(length - frames + 1, ())) if length > frames else 0


def window_frames(
    first: Sequence[int], start: Sequence[int], length: Sequence[int], size: int, device: torch.device
) -> Tensor:
    """Frame numbers [W, size] of windows.

    Args:
        first: where the windows' sequences begin in the run of all frames.
        start: where in its sequence each window begins.
        length: of the windows' sequences; a window that goes past the end goes on at the start.
        size: frames of a window.
    """
    offset, begin, count = (torch.tensor(list(values))[:, None] for values in (first, start, length))
    return (offset + (begin + torch.arange(size)) % count).to(device)
