"""Occluding sequences where their lengths are known: fixed and packed alike, one occlusion a sequence.

In training occlusions are drawn from torch's random numbers, which the hosts seed per process; in
evaluation from (seed, what names the sequence), so that they depend neither on the order of
sequences, nor on what they are packed with, nor on workers or processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gaitext.errors import ShapeError
from gaitext.models.packing import flatten_frames, sequence_lengths
from gaitext.occlusion import (
    Occlusions,
    OcclusionSettings,
    content_key,
    draw_occlusion,
    draw_occlusions,
    labels,
    occlude_batch,
    occlude_pose_batch,
    sequence_generator,
)


@dataclass(frozen=True)
class OccludedSequences:
    """Occluded frames and what was done to them, on the frames' device.

    Attributes:
        frames: as they were given, occluded: [n, T, …] or [1, ΣT, …].
        occlusions: what was drawn, one per sequence or per frame.
        types: int64 [n], positions in ``OCCLUSION_TYPES``; ``none`` if no frame hides anything.
        amounts: float32 [n], occluded share of the frames' area, mean over the sequence's frames.
        frame_types, frame_amounts: the same of each frame, int64 [N] and float32 [N]; a frame that
            the patch has left is of type ``none``.
    """

    frames: Tensor
    occlusions: Occlusions
    types: Tensor
    amounts: Tensor
    frame_types: Tensor
    frame_amounts: Tensor


def draw_in_training(settings: OcclusionSettings, count: int) -> Occlusions:
    """``count`` random occlusions, one per sequence or per frame, from torch's random numbers."""
    words = torch.randint(2**31 - 1, (4,)).tolist()
    return draw_occlusions(settings, count, np.random.default_rng(words))


def draw_by_key(settings: OcclusionSettings, keys: Sequence[Any]) -> Occlusions:
    """One occlusion per sequence, each a function of (``settings.seed``, its key) alone.

    Args:
        settings: what to draw.
        keys: what names each sequence: ``bytes`` (:func:`content_keys`), text, or a tuple such as
            (label, type, view).
    """
    generators = (sequence_generator(settings.seed, *(k if isinstance(k, tuple) else (k,))) for k in keys)
    return Occlusions.of([draw_occlusion(settings, generator) for generator in generators])


def content_keys(sequences: Tensor, seqL: Tensor | Sequence[int] | None = None) -> list[bytes]:
    """A key of each sequence's content; use it where nothing else names them."""
    lengths = sequence_lengths(sequences, seqL, where="content_keys")
    return [content_key(sequence) for sequence in flatten_frames(sequences).split(lengths)]


def occlude_sequences(
    sequences: Tensor,
    seqL: Tensor | Sequence[int] | None,
    occlusions: Occlusions,
    *,
    binary: bool,
    nearest: bool = False,
) -> OccludedSequences:
    """Occlude silhouettes or heatmaps.

    Args:
        sequences: [n, T, H, W] or [n, T, C, H, W], or packed [1, ΣT, …]; never changed.
        seqL: lengths of packed sequences.
        occlusions: n, one per sequence, or N = ΣT, one per frame (training of the occlusion
            evaluator, which sees single frames).
        binary: see :func:`~gaitext.occlusion.occlude`.
        nearest: see :func:`~gaitext.occlusion.occlude_batch`.
    """
    lengths = sequence_lengths(sequences, seqL, where="occlude_sequences")
    frames = flatten_frames(sequences)
    each, index = _per_frame(occlusions, lengths)
    height, width = int(frames.shape[-2]), int(frames.shape[-1])
    types, amounts = labels(each, index, height, width)
    begins = np.cumsum([0, *lengths[:-1]])
    means = np.add.reduceat(amounts.astype(np.float64), begins) / lengths
    kinds = np.maximum.reduceat(types, begins) * (means > 0)
    return OccludedSequences(
        frames=occlude_batch(frames, each, index, binary=binary, nearest=nearest).unflatten(0, sequences.shape[:2]),
        occlusions=occlusions,
        types=torch.from_numpy(kinds).to(frames.device),
        amounts=torch.from_numpy(means.astype(np.float32)).to(frames.device),
        frame_types=torch.from_numpy(types).to(frames.device),
        frame_amounts=torch.from_numpy(amounts).to(frames.device),
    )


def occlude_pose_sequences(
    poses: Tensor,
    seqL: Tensor | Sequence[int] | None,
    occlusions: Occlusions,
    width: float = 48,
    height: float = 64,
    *,
    boxes: Tensor | None = None,
    grid: tuple[int, int] = (64, 48),
) -> Tensor:
    """Occlude poses [n, T, V, ≥2] or [1, ΣT, V, ≥2] by occlusions drawn for them or for their heatmaps.

    Args:
        poses, seqL, occlusions: as for :func:`occlude_sequences`.
        width, height, boxes [n, T, 4], grid: as for :func:`~gaitext.occlusion.occlude_poses`.
    """
    lengths = sequence_lengths(poses, seqL, where="occlude_pose_sequences")
    each, index = _per_frame(occlusions, lengths)
    flat = None if boxes is None else flatten_frames(boxes)
    occluded = occlude_pose_batch(flatten_frames(poses), each, index, width, height, boxes=flat, grid=grid)
    return occluded.unflatten(0, poses.shape[:2])


def _per_frame(occlusions: Occlusions, lengths: Sequence[int]) -> tuple[Occlusions, np.ndarray]:
    """Each frame's occlusion, and its place in its sequence."""
    index = np.concatenate([np.arange(length) for length in lengths])
    if len(occlusions) == len(lengths):
        return occlusions.repeat(lengths), index
    if len(occlusions) == len(index):
        return occlusions, index
    raise ShapeError(
        f"{len(occlusions)} occlusions for {len(lengths)} sequences of {len(index)} frames",
        where="occlude_sequences",
        how="draw one per sequence, or one per frame",
    )
