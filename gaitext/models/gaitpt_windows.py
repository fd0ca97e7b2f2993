"""Which frames GaitPT sees: windows of long sequences, short ones repeated or as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

__all__ = ["draw_pace", "paced_windows", "played_length", "random_start", "starts", "window_frames"]


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


def played_length(length: int, pace: float) -> int:
    """Frames of a sequence that is played ``pace`` times as fast: ⌊(T − 1)/pace⌋ + 1.

    >>> played_length(61, 2.0), played_length(61, 1.0), played_length(3, 0.5)
    (31, 61, 5)
    """
    return int((length - 1) / pace) + 1


def draw_pace(length: int, frames: int, paces: Sequence[float]) -> float:
    """One of ``paces``, of those that leave at least ``frames`` frames, if any does; 1 where there are none."""
    fitting = [pace for pace in paces if played_length(length, pace) >= frames] or list(paces)
    return fitting[int(torch.randint(len(fitting), ()))] if fitting else 1.0


def random_start(length: int, frames: int) -> int:
    """First frame of a sequence's window in training, from torch's random numbers."""
    return int(torch.randint(length - frames + 1, ())) if length > frames else 0


def paced_windows(
    frames: Tensor,
    first: Sequence[int],
    start: Sequence[int],
    length: Sequence[int],
    pace: Sequence[float],
    size: int,
) -> Tensor:
    """Windows [W, size, V, c] of sequences that are played faster or slower, frames in between interpolated.

    A joint that is missing, (0, 0), in one of the two frames follows the nearer one, half-way the
    one where it was found.

    Args:
        frames: [N, V, c], all sequences one after another.
        first: where the windows' sequences begin in ``frames``.
        start: where in its played sequence each window begins.
        length: of the windows' sequences, as filmed; a window that goes past the end goes on at the start.
        pace: of each window.
        size: frames of a window.
    """
    played = torch.tensor([played_length(n, p) for n, p in zip(length, pace)])[:, None]
    begin, offset, count = (torch.tensor(list(values))[:, None] for values in (start, first, length))
    at = ((begin + torch.arange(size)) % played) * torch.tensor(list(pace), dtype=torch.float64)[:, None]
    before = at.long()
    share = (at - before).to(frames)[..., None, None]
    after = torch.minimum(before + 1, count - 1)
    one, two = (frames[(offset + index).to(frames.device)] for index in (before, after))
    found, both = (one != 0).any(-1, keepdim=True), ((one != 0) & (two != 0)).any(-1, keepdim=True)
    nearer = torch.where((share < 0.5) | ((share == 0.5) & found), one, two)
    return torch.where(both, torch.lerp(one, two, share), nearer)


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
