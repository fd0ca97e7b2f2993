"""Patches of compressed pictures beside the good ones: every draw a function of the seed, the iteration and the row."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from gaitext.errors import DataError, import_extra
from gaitext.restoration.footage import LARGEST_CRF, Clip
from gaitext.restoration.restorer_settings import RestorerTrainerSettings
from gaitext.store import map_sequence

log = logging.getLogger(__name__)

Array = npt.NDArray[Any]

#: Pixels of a side of JPEG's blocks, and of the largest that H.264 predicts and transforms at once.
BLOCK, MACROBLOCK = 8, 16
#: Open files a process holds.
_OPEN = 4096


class Patches(NamedTuple):
    """``images`` and ``originals``: uint8 [N, 3, P, P], RGB; ``quality``: float32 [N, 1], the predictor's labels."""

    images: Tensor
    originals: Tensor
    quality: Tensor

    def to(self, device: torch.device | str) -> Patches:
        """On another device."""
        return Patches(*(value.to(device) for value in self))


def jpeg_quality(factor: float) -> float:
    """The predictor's label of a JPEG: 1 − QF/100, as published."""
    return 1 - factor / 100


def h264_quality(crf: float) -> float:
    """The predictor's label of H.264: crf / 51 (ours), which grows with the damage as JPEG's does."""
    return crf / LARGEST_CRF


def jpeg(image: Array, factor: int) -> Array:
    """What a JPEG gives back of uint8 [3, H, W], RGB, by Pillow in memory (4:2:0, as its defaults are)."""
    pillow: Any = import_extra("PIL.Image", "video", "compressing pictures")
    memory = io.BytesIO()
    pillow.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0))).save(memory, "JPEG", quality=int(factor))
    with pillow.open(memory) as read:
        return np.ascontiguousarray(np.asarray(read).transpose(2, 0, 1))


class PatchData:
    """Frames of clips, and patches of them.

    Args:
        clips: of :func:`~gaitext.restoration.footage.prepare_footage`; their order decides every draw.
        least: frames with a shorter side are left out, which a warning says.

    Raises:
        DataError: no frame is large enough.
    """

    def __init__(self, clips: Sequence[Clip], least: int) -> None:
        self._files = lru_cache(_OPEN)(map_sequence)
        small = [clip for clip in clips if min(self._files(clip.original).shape[2:]) < least]
        if small:
            log.warning(
                "%d clips and pictures are left out: a side has fewer than %d pixels, such as of %s",
                len(small),
                least,
                small[0].original,
            )
        self.clips = [clip for clip in clips if clip not in small]
        if not self.clips:
            raise DataError(f"no picture has {least} pixels a side", where="data", how="lower trainer.patch")
        #: (clip, frame) of all, and of those that there is H.264 of.
        self.frames = [(clip, row) for clip in self.clips for row in range(clip.frames)]
        self.pairs = [(clip, row) for clip, row in self.frames if clip.degraded]

    def original(self, clip: Clip, row: int) -> Array:
        """uint8 [3, H, W], still on disk."""
        frame: Array = self._files(clip.original)[row]
        return frame

    def degraded(self, clip: Clip, row: int, version: int) -> tuple[float, Array]:
        """Crf, and uint8 [3, H, W], still on disk."""
        crf, path = clip.degraded[version]
        return crf, self._files(path)[row]

    def draw(
        self, settings: RestorerTrainerSettings, seed: int, iteration: int, *, rank: int = 0, world: int = 1
    ) -> Patches:
        """This process's part of the batch of one iteration."""
        rows = [self.row(settings, seed, iteration, row) for row in range(rank, settings.batch_size, world)]
        images, originals, quality = zip(*rows)
        return Patches(
            torch.from_numpy(np.stack(images)),
            torch.from_numpy(np.stack(originals)),
            torch.tensor(quality, dtype=torch.float32)[:, None],
        )

    def row(self, settings: RestorerTrainerSettings, seed: int, iteration: int, row: int) -> tuple[Array, Array, float]:
        """A compressed patch, the original's, and the quality's label.

        Half of the patches begin where a block of the codec does, as whole pictures do, the others anywhere (the
        published code's rule). JPEG's patches are mirrored and turned in one of eight ways before they are
        compressed; H.264's stay as they are, because what it does has a direction.
        """
        rng = np.random.default_rng((seed, iteration, row))
        size = settings.patch
        if rng.random() < settings.h264:
            clip, number = self.pairs[rng.integers(len(self.pairs))]
            crf, degraded = self.degraded(clip, number, int(rng.integers(len(clip.degraded))))
            place = self._place(rng, degraded.shape[1:], size, MACROBLOCK)
            original = self.original(clip, number)
            return np.array(degraded[place]), np.array(original[place]), h264_quality(crf)
        clip, number = self.frames[rng.integers(len(self.frames))]
        original = self.original(clip, number)
        # Compressed with a margin, within which the patch may begin between blocks.
        height, width = (min(size + BLOCK, side) for side in original.shape[1:])
        top, left = (int(rng.integers(side - cut + 1)) for side, cut in zip(original.shape[1:], (height, width)))
        cut = np.array(original[:, top : top + height, left : left + width])
        if rng.random() < 0.5:
            cut = cut[:, :, ::-1]
        cut = np.rot90(cut, int(rng.integers(4)), (1, 2))
        factor = int(rng.integers(settings.quality[0], settings.quality[1] + 1))
        compressed = jpeg(cut, factor)
        place = self._place(rng, cut.shape[1:], size, BLOCK)
        return compressed[place], np.ascontiguousarray(cut[place]), jpeg_quality(factor)

    @staticmethod
    def _place(rng: np.random.Generator, shape: tuple[int, ...], size: int, block: int) -> tuple[slice, slice, slice]:
        step = block if rng.random() < 0.5 else 1
        top, left = (step * int(rng.integers((side - size) // step + 1)) for side in shape)
        return slice(None), slice(top, top + size), slice(left, left + size)

    def spread(self, most: int) -> list[tuple[Clip, int]]:
        """At most so many frames, evenly spread over all; 0: all."""
        count = len(self.frames) if most == 0 else min(most, len(self.frames))
        return [self.frames[at] for at in np.linspace(0, len(self.frames) - 1, count).round().astype(int)]


def middle(image: Array, size: int) -> Array:
    """The middle of [3, H, W], at most ``size`` a side and beginning at a macroblock; 0: all of it."""
    place = []
    for side in image.shape[1:]:
        kept = min(size, side) if size else side
        begin = (side - kept) // 2 // MACROBLOCK * MACROBLOCK
        place.append(slice(begin, begin + kept))
    return np.array(image[:, place[0], place[1]])
