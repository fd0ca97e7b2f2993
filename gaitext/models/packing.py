"""Fixed and packed sequences, seen as one run of frames and the lengths of its sequences.

Hosts hand sequences over fixed, [n, T, …] with ``seqL`` None, or packed, [1, ΣT, …] with
``seqL`` [1, n] (docs/toolbox-contract.md). A network works on frames [N, …] and lengths, so that a sequence's
result cannot depend on what it is packed with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from gaitext.errors import ShapeError


def exporting() -> bool:
    """Whether ``torch.export`` follows the computation, in which sizes stand for many and no value is known."""
    known = getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)  # torch has the former since 2.7
    return bool(known())


class FixedLengths(Sequence[int]):
    """So many sequences of so many frames each, where ``torch.export`` knows neither number yet."""

    def __init__(self, sequences: int, frames: int) -> None:
        self.sequences, self.frames = sequences, frames

    def __len__(self) -> int:
        return self.sequences

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        if isinstance(index, slice):
            return [self.frames] * len(range(*index.indices(self.sequences)))
        if not -self.sequences <= index < self.sequences:
            raise IndexError(index)
        return self.frames


def _alike(lengths: Sequence[int]) -> tuple[int, int] | None:
    """How many sequences, of how many frames each; None where their lengths differ."""
    if isinstance(lengths, FixedLengths):
        return lengths.sequences, lengths.frames
    return (len(lengths), lengths[0]) if len(set(lengths)) == 1 else None


def sequence_lengths(sequences: Tensor, seqL: Tensor | Sequence[int] | None, *, where: str) -> Sequence[int]:
    """Lengths of the sequences in ``sequences`` [n, T, …] (fixed) or [1, ΣT, …] (packed).

    A list; of fixed sequences :class:`FixedLengths` where ``torch.export`` follows.

    Raises:
        ShapeError: a length is not positive, they do not add up to ΣT, or there are no frames.
    """
    batch, frames = sequences.shape[:2]
    if seqL is None:
        if batch == 0 or frames == 0:
            raise ShapeError(f"no frames in input of shape {tuple(sequences.shape)}", where=where)
        return FixedLengths(batch, frames) if exporting() else [frames] * batch
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
    alike = _alike(lengths)
    if alike is not None:
        return values[:, None].expand(-1, alike[1], *values.shape[1:]).flatten(0, 1)
    return values.repeat_interleave(torch.tensor(list(lengths), device=values.device), 0)


def max_over_time(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Temporal max pooling (set pooling): [N, …] -> [n, …]."""
    alike = _alike(lengths)
    if alike is not None:
        return frames.unflatten(0, alike).amax(1)
    return torch.stack([sequence.amax(0) for sequence in frames.split(list(lengths))])


def mean_over_time(frames: Tensor, lengths: Sequence[int]) -> Tensor:
    """Mean over each sequence's frames: [N, …] -> [n, …]."""
    alike = _alike(lengths)
    if alike is not None:
        return frames.unflatten(0, alike).mean(1)
    return torch.stack([sequence.mean(0) for sequence in frames.split(list(lengths))])


def sequence_extremes(frames: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Smallest and largest value of each sequence: two tensors [n]."""
    low, high = torch.aminmax(frames.flatten(1), dim=1)
    return -max_over_time(-low, lengths), max_over_time(high, lengths)


def chunks(chosen: int | None, frames: Tensor, modules: Iterable[nn.Module]) -> list[slice]:
    """Which of frames [N, …] go through at once: as many as the setting says, a CPU's caches hold, or keep a GPU busy.

    It is all of them where a gradient may be wanted, a BatchNorm in ``modules`` takes statistics, or ``torch.export``
    follows.
    """
    statistics = any(isinstance(m, _BatchNorm) and m.training for n in modules for m in n.modules())
    if torch.is_grad_enabled() or statistics or exporting():
        return [slice(None)]
    size = chosen or (16 if frames.device.type == "cpu" else 256)
    return [slice(start, start + size) for start in range(0, len(frames), size)]


class MaxOverTime:
    """Temporal max pooling of frames that come in chunks, so that memory does not grow with a sequence's length.

    Args:
        lengths: frames of each sequence.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = lengths
        self.seen = 0
        self.strongest: list[Tensor | None] = [] if isinstance(lengths, FixedLengths) else [None] * len(lengths)
        self.whole: Tensor | None = None

    def add(self, frames: Tensor) -> None:
        """Take the next frames [k, …]; all of them where ``torch.export`` follows."""
        if isinstance(self.lengths, FixedLengths):
            self.whole = max_over_time(frames, self.lengths)
            return
        for index, first, last in _segments(self.lengths, self.seen, self.seen + len(frames)):
            top, before = frames[first:last].amax(0), self.strongest[index]
            self.strongest[index] = top if before is None else torch.maximum(before, top)
        self.seen += len(frames)

    def result(self) -> Tensor:
        """[n, …]."""
        return torch.stack(self.strongest) if self.whole is None else self.whole  # type: ignore[arg-type]


def _segments(lengths: Sequence[int], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(sequence, first, last + 1) of the pieces that sequence borders cut ``start … stop`` into, from ``start``."""
    begin = 0
    for index, length in enumerate(lengths):
        first, last = max(begin, start), min(begin + length, stop)
        if first < last:
            yield index, first - start, last - start
        begin += length
