"""What every person detector looks like to the rest of gaitext."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch

from gaitext.config import name_and_model
from gaitext.execution.stages import ahead
from gaitext.video import probe, read_frames

Frame = npt.NDArray[np.uint8]
#: float64 [N, 5]: x, y, w, h in frame pixels and the score in 0..1, by descending score.
Detections = npt.NDArray[np.float64]


@runtime_checkable
class Detector(Protocol):
    """Finds persons.

    Attributes:
        settings: what decides the result (library, a digest of the weights, thresholds), as plain
            JSON values; recorded with everything extracted.
    """

    settings: dict[str, Any]

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each of ``frames`` (RGB uint8 [H, W, 3], sizes may differ).

        Returns:
            For each frame float64 [N, 5]: x, y, w, h, score, by descending score. x, y, w, h are in
            frame pixels, x and y being the box's left and top edge, within the frame.
        """
        ...


#: Prefix of a detector's specification -> (module, function of the text after the prefix and options).
DETECTORS: dict[str, tuple[str, str]] = {
    "bundled": ("gaitext.extraction.detect.bundled", "load"),
    "detr": ("gaitext.extraction.detect.detr", "load"),
    "mmdet": ("gaitext.extraction.detect.mmdet", "load"),
    "onnx": ("gaitext.extraction.detect.onnx", "load"),
}
#: Those whose specification is the prefix alone.
_WITHOUT_MODEL = ("bundled",)


def load_detector(specification: str) -> Detector:
    """Load a detector from ``bundled``, ``detr:MODEL``, ``mmdet:CONFIG[:CHECKPOINT]`` or ``onnx:FILE``.

    Options follow a question mark: ``detr:PekingU/rtdetr_r18vd?score=0.4``. They are the fields of
    :class:`~gaitext.extraction.detect.bundled.BundledDetectorSettings`,
    :class:`~gaitext.extraction.detect.detr.DetrDetectorSettings`,
    :class:`~gaitext.extraction.detect.mmdet.MmdetDetectorSettings` and
    :class:`~gaitext.extraction.detect.onnx.OnnxDetectorSettings`.

    Raises:
        ConfigError: unknown prefix or option, nothing after the prefix, or a model that cannot be
            loaded.
        MissingDependencyError: the library behind it is not installed.
    """
    name, model, options = name_and_model(specification, DETECTORS, where="detector", alone=_WITHOUT_MODEL)
    module, function = DETECTORS[name]
    loaded: Detector = getattr(importlib.import_module(module), function)(model, options)
    return loaded


def detect_video(
    path: str | Path,
    detector: Detector,
    *,
    batch_size: int = 8,
    progress: Callable[[int], None] | None = None,
) -> Iterator[Detections]:
    """Persons in every frame of a video or frame folder, a batch of frames in memory at a time.

    Where pixels are not square, the detector sees frames as they are shown; its boxes are in stored pixels.

    Args:
        progress: called with the number of frames done after every batch.

    Yields:
        Of each frame in turn, float64 [N, 5] as :meth:`Detector.detect` returns it.

    Raises:
        VideoError: the video cannot be read; what was yielded before is good.
    """
    batch: list[Frame] = []
    done, aspect = 0, float(probe(path).pixel_aspect)

    def detect() -> Iterator[Detections]:
        if aspect == 1:
            yield from detector.detect(batch)
            return
        shown = [_as_shown(frame, aspect) for frame in batch]
        for found, frame, seen in zip(detector.detect(shown), batch, shown):
            scale = np.array([a / b for a, b in zip(frame.shape[1::-1], seen.shape[1::-1])] * 2 + [1.0])
            yield np.asarray(found, np.float64).reshape(-1, 5) * scale

    with closing(ahead(read_frames(path), batch_size)) as frames:
        for _, frame in frames:
            batch.append(frame)
            if len(batch) == batch_size:
                yield from detect()
                done, batch = done + len(batch), []
                if progress is not None:
                    progress(done)
    if batch:
        yield from detect()
        if progress is not None:
            progress(done + len(batch))


def _as_shown(frame: Frame, aspect: float) -> Frame:
    """A frame with square pixels: the side that is too short is stretched, so that nothing is lost."""
    height, width = frame.shape[:2]
    size = (height, max(1, round(width * aspect))) if aspect > 1 else (max(1, round(height / aspect)), width)
    pixels = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None].float()
    stretched = torch.nn.functional.interpolate(pixels, size, mode="bilinear").round()[0].to(torch.uint8)
    shown: Frame = np.ascontiguousarray(stretched.permute(1, 2, 0).numpy())
    return shown


def overlap(one: Detections, two: Detections) -> Detections:
    """Intersection over union of boxes x, y, w, h: [N, 4] and [M, 4] -> [N, M]."""
    one, two = one[:, None, :4], two[None, :, :4]
    corner = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    sides = np.clip(corner - np.maximum(one[..., :2], two[..., :2]), 0, None)
    shared = sides.prod(-1)
    union = one[..., 2:].prod(-1) + two[..., 2:].prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(boxes: Detections, iou: float) -> Detections:
    """Keep, from the highest score down, every box that overlaps no kept one by more than ``iou``.

    Args:
        boxes: float64 [N, 5]: x, y, w, h, score.

    Returns:
        [K, 5], by descending score; the order of the input does not matter.
    """
    left = boxes[np.lexsort((*boxes.T[:4], -boxes[:, 4]))]
    kept = []
    while len(left):
        kept.append(left[0])
        left = left[1:][overlap(left[:1], left[1:])[0] <= iou]
    return np.array(kept, dtype=np.float64).reshape(-1, 5)
