"""The detector that needs nothing: MoveNet MultiPose's centres and boxes on whole frames."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from gaitext.config import Settings
from gaitext.extraction.detect.detector import Detections, Frame, suppress
from gaitext.pose.movenet import MEAN, MULTIPLE, STD, STRIDE, load_movenet
from gaitext.pose.torch_estimator import chosen_device, state_digest

_HEADS = ("centres", "box_sizes", "box_offsets")
#: The sizes at which a frame is looked at, and once more from nearer.
_SIZE, _NEARER = 512, 1024
#: Boxes whose longer side is a smaller share of the picture's are of people who are better seen from nearer; those
#: down to this score say that somebody may be there.
_SMALL, _FAINT = 0.15, 0.1
#: A box that lies by a larger share in one that is so many times as large is a part of that person.
_PART, _LARGER = 0.6, 1.5


class BundledDetectorSettings(Settings):
    """Options of ``bundled?…``.

    Attributes:
        size: pixels of the picture's longer side as the network sees it, a multiple of 32: the larger, the smaller
            the people that are found, and the slower. People of less than a tenth of it are found badly. None: 512,
            and 1024 as well where that finds nobody, or somebody small.
        score: boxes with a lower score are left out.
        iou: of two boxes that overlap by more, the one with the lower score is left out.
        device: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes CUDA where there is one.
    """

    size: int | None = Field(default=None, ge=128, le=4096)
    score: float = Field(default=0.2, ge=0, le=1)
    iou: float = Field(default=0.65, gt=0, le=1)
    device: str = "auto"

    @field_validator("size")
    @classmethod
    def _fits(cls, size: int | None) -> int | None:
        if size is not None and size % MULTIPLE:
            raise ValueError(f"must be a multiple of {MULTIPLE}: {size // MULTIPLE * MULTIPLE}, say")
        return size


def load(rest: str, options: Mapping[str, Any]) -> BundledDetector:
    """The detector of a specification (:func:`~gaitext.extraction.detect.load_detector`)."""
    return BundledDetector(BundledDetectorSettings.parse(options, where="bundled"))


class BundledDetector:
    """A :class:`~gaitext.extraction.detect.Detector` whose weights lie in the package.

    MoveNet MultiPose (Google, Apache-2.0) says of each cell of a map, a quarter of the picture's size, whether it is
    the middle of a person, how large the person's box is and where exactly its middle lies. Here every peak of the
    centres' map is a person, however many there are, and its height is the score; the published graph takes six, and
    its scores are lower (docs/datasets.md).

    Raises:
        CheckpointError: the package's weights are missing or damaged.
    """

    def __init__(self, settings: BundledDetectorSettings | None = None) -> None:
        options = settings or BundledDetectorSettings()
        network = load_movenet("multipose")
        self._device = chosen_device(options.device)
        self.settings: dict[str, Any] = {
            "detector": "bundled",
            "sha256": state_digest(network),
            "size": options.size or [_SIZE, _NEARER],
            "score": options.score,
            "iou": options.iou,
        }
        self._network = network.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._options = options

    @torch.inference_mode()
    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each frame; see :class:`~gaitext.extraction.detect.Detector`."""
        found: list[Detections] = []
        for _, alike in groupby(frames, key=lambda frame: frame.shape):
            found += self._look(list(alike))
        return found

    def _look(self, frames: list[Frame]) -> list[Detections]:
        """Of frames of one size; once more from nearer where somebody may be small in them."""
        score, size = self._options.score, self._options.size
        if size is not None:
            return list(self._detect(frames, size, score))
        found = list(self._detect(frames, _SIZE, min(score, _FAINT)))
        small = _SMALL * max(frames[0].shape[:2])
        again = [i for i, boxes in enumerate(found) if not (_sides(boxes) >= small).all() or not _sure(boxes, score)]
        found = [boxes[boxes[:, 4] >= score] for boxes in found]
        nearer = self._detect([frames[i] for i in again], _NEARER, score) if again else ()
        for i, boxes in zip(again, nearer):
            found[i] = _joined(found[i], boxes[_sides(boxes) < 2 * small], self._options.iou)
        return found

    def _detect(self, frames: list[Frame], size: int, score: float) -> Iterator[Detections]:
        """Of frames of one size, as the network sees them where the longer side has ``size`` pixels."""
        height, width = frames[0].shape[:2]
        ratio = size / max(height, width)
        high, wide = max(round(height * ratio), 1), max(round(width * ratio), 1)
        images = torch.stack([self._shrunk(frame, high, wide) for frame in frames])
        # Black below and on the right, up to what the network takes.
        images = F.pad((images - MEAN) / STD, (0, -wide % MULTIPLE, 0, -high % MULTIPLE), value=-MEAN / STD)
        maps = self._network(images.contiguous(memory_format=torch.channels_last), _HEADS)
        scale = np.array([width / wide, height / high] * 2)
        for centres, sizes, offsets in zip(*(maps[head].float().cpu() for head in _HEADS)):
            boxes = _decode(centres[0], sizes, offsets, score)
            corners = (boxes[:, :4] * scale).clip(0, (width, height, width, height))
            placed = np.column_stack((corners[:, :2], corners[:, 2:] - corners[:, :2], boxes[:, 4]))
            yield suppress(placed[(placed[:, 2:4] > 0).all(1)], self._options.iou)

    def _shrunk(self, frame: Frame, height: int, width: int) -> Tensor:
        """The frame [3, height, width] in 0..1."""
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device).permute(2, 0, 1)[None]
        if self._device.type != "cpu":  # there bytes are shrunk ten times as fast, and equal to a unit
            pixels = pixels.float()
        return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)[0].float() / 255


def _sides(boxes: Detections) -> Detections:
    """Each box's longer side."""
    sides: Detections = boxes[:, 2:4].max(1, initial=0)
    return sides


def _sure(boxes: Detections, score: float) -> bool:
    return bool((boxes[:, 4] >= score).any())


def _joined(boxes: Detections, nearer: Detections, iou: float) -> Detections:
    """Boxes [N, 5] and those of a look from nearer [M, 5], but for what is a part of somebody who is there already."""
    ours, theirs = boxes[None], nearer[:, None]
    corner = np.minimum(theirs[..., :2] + theirs[..., 2:4], ours[..., :2] + ours[..., 2:4])
    shared = np.clip(corner - np.maximum(theirs[..., :2], ours[..., :2]), 0, None).prod(-1)
    area = theirs[..., 2:4].prod(-1)
    part = (shared > _PART * area) & (ours[..., 2:4].prod(-1) > _LARGER * area)
    return suppress(np.concatenate((boxes, nearer[~part.any(1)])), iou)


def _decode(centres: Tensor, sizes: Tensor, offsets: Tensor, score: float) -> Detections:
    """Every peak of the centres as a box.

    Args:
        centres: [h, w] in 0..1; sizes: [2, h, w], the box's height and width; offsets: [2, h, w], the way (y, x)
            from the cell to the box's middle; both in cells.

    Returns:
        [N, 5]: x1, y1, x2, y2 in pixels of the network's input, and the score.
    """
    highest = F.max_pool2d(centres[None, None], 3, 1, 1)[0, 0]
    y, x = torch.nonzero((centres == highest) & (centres >= score) & (centres > 0), as_tuple=True)
    middle = torch.stack((x, y)) + offsets[:, y, x].flip(0)
    half = sizes[:, y, x].flip(0) / 2
    corners = torch.cat((middle - half, middle + half)) * STRIDE
    boxes: Detections = torch.cat((corners, centres[y, x][None])).T.double().numpy()
    return boxes
