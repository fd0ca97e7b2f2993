"""Fixed and packed sequences, seen as one run of frames and the lengths of its sequences.

Hosts hand sequences over fixed, [n, T, …] with ``seqL`` None, or packed, [1, ΣT, …] with
``seqL`` [1, n] (docs/toolbox-contract.md). A network works on frames [N, …] and lengths, so that a sequence's
result cannot depend on what it is packed with.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from gaitext.errors import ShapeError

__all__ = [
    "flatten_frames",
    "max_over_time",
    "mean_over_time",
    "per_frame",
    "segments",
    "sequence_extremes",
    "sequence_lengths",
]


def sequence_lengths(sequences: Tensor, seqL: Tensor | Sequence[int] | None, *, where: str) -> list[int]:
    """Lengths of the sequences in ``sequences`` [n, T, …] (fixed) or [1, ΣT, …] (packed).

    Raises:
        ShapeError: a length is not positive, they do not add up to ΣT, or there are no frames.
    """
    batch, frames = sequences.shape[:2]
    if seqL is None:
        if batch == 0 or frames == 0:
            raise ShapeError(f"no frames in input of shape {tuple(sequences.shape)}", where=where)
        return [frames] * batch
    lengths = torch.as_tensor(seqL).reshape(-1).tolist()
    if batch != 1:
        raise ShapeError(
            f"packed input has batch size {batch}, not 1", where=where, how="give [1, ΣT, …] with seqL, or no seqL"
        )
    if not lengths or min(lengths) < 1 or sum(lengths) != frames:
        raise ShapeError(
            f"seqL {lengths} does not describe {frames} frames",
            where=where,
            how="every length must be at least 1 and their sum the number of frames",
        )
    return lengths


def flatten_frames(sequences: Tensor) -> Tensor:
    """[n, T, …] or [1, ΣT, …] -> [N, …]."""
    return sequences.flatten(0, 1)


def per_frame(values: Tensor, lengths: Sequence[int]) -> Tensor:
    """Repeat a value per sequence [n, …] for each of its frames: [N, …]."""
    if len(set(lengths)) == 1:
        return values.repeat_interleave(lengths[0], 0)
    return values.repeat_interleave(torch.tensor(list(lengths), device=values.device), 0)


def max_over_time(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Temporal max pooling (set pooling): [N, …] -> [n, …]."""
    if len(set(lengths)) == 1:
        return frames.unflatten(0, (len(lengths), lengths[0])).amax(1)
    return torch.stack([sequence.amax(0) for sequence in frames.split(list(lengths))])


def mean_over_time(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Mean over each sequence's frames: [N, …] -> [n, …]."""
    if len(set(lengths)) == 1:
        return frames.unflatten(0, (len(lengths), lengths[0])).mean(1)
    return torch.stack([sequence.mean(0) for sequence in frames.split(list(lengths))])


def sequence_extremes(frames: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each sequence: two tensors [n]."""
    low, high = torch.aminmax(frames.flatten(1), dim=1)
    return -max_over_time(-low, lengths), max_over_time(high, lengths)


def segments(lengths: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Cut the frames ``start … stop`` at sequence borders.

    Yields:
        (sequence, first, last + 1), frames counted from ``start``.
    """
    begin = 0
    for index, length in enumerate(lengths):
        first, last = max(begin, start), min(begin + length, stop)
        if first < last:
            yield index, first - start, last - start
        begin += length
