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


class BundledDetectorSettings(Settings):
    """Options of ``bundled?…``.

    Attributes:
        size: pixels of the picture's longer side as the network sees it, a multiple of 32: the larger, the smaller
            the people that are found, and the slower. People of less than a tenth of it are found badly.
        score: boxes with a lower score are left out.
        iou: of two boxes that overlap by more, the one with the lower score is left out.
        device: ``cpu``, ``cuda``, ``cuda:1``; ``auto`` takes CUDA where there is one.
    """

    size: int = Field(default=512, ge=128, le=4096)
    score: float = Field(default=0.2, ge=0, le=1)
    iou: float = Field(default=0.65, gt=0, le=1)
    device: str = "auto"

    @field_validator("size")
    @classmethod
    def _fits(cls, size: int) -> int:
        if size % MULTIPLE:
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
            "size": options.size,
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
            found += self._detect(list(alike))
        return found

    def _detect(self, frames: list[Frame]) -> Iterator[Detections]:
        """Of frames of one size."""
        height, width = frames[0].shape[:2]
        ratio = self._options.size / max(height, width)
        high, wide = max(round(height * ratio), 1), max(round(width * ratio), 1)
        images = torch.stack([self._shrunk(frame, high, wide) for frame in frames])
        # Black below and on the right, up to what the network takes.
        images = F.pad((images - MEAN) / STD, (0, -wide % MULTIPLE, 0, -high % MULTIPLE), value=-MEAN / STD)
        maps = self._network(images.contiguous(memory_format=torch.channels_last), _HEADS)
        scale = np.array([width / wide, height / high] * 2)
        for centres, sizes, offsets in zip(*(maps[head].float().cpu() for head in _HEADS)):
            boxes = _decode(centres[0], sizes, offsets, self._options.score)
            corners = (boxes[:, :4] * scale).clip(0, (width, height, width, height))
            placed = np.column_stack((corners[:, :2], corners[:, 2:] - corners[:, :2], boxes[:, 4]))
            yield suppress(placed[(placed[:, 2:4] > 0).all(1)], self._options.iou)

    def _shrunk(self, frame: Frame, height: int, width: int) -> Tensor:
        """The frame [3, height, width] in 0..1."""
        pixels = torch.from_numpy(np.ascontiguousarray(frame)).to(self._device).permute(2, 0, 1)[None]
        if self._device.type != "cpu":  # there bytes are shrunk ten times as fast, and equal to a unit
            pixels = pixels.float()
        return F.interpolate(pixels, (height, width), mode="bilinear", antialias=True)[0].float() / 255


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
