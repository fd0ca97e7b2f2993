"""Person detectors as ONNX files: the YOLO family and mmdeploy's exports.

How the output of a network is to be read:

======== ============================================ ========================================
layout   output                                       exported from
======== ============================================ ========================================
yolov5   [B, N, 5 + C]: cx, cy, w, h, object, classes YOLOv5, v6, v7; YOLOX with its decoding
yolov8   [B, 4 + C, N]: cx, cy, w, h, classes         YOLOv8, v9, 11, 12
yolox    [B, N, 5 + C] on grids of 8, 16, 32          YOLOX (and the pose community's copies)
end2end  [B, N, 6]: x1, y1, x2, y2, score, class      YOLOv10, YOLO26, ``nms=True`` exports
mmdeploy [B, N, 5]: x1, y1, x2, y2, score; [B, N]     mmdet's detectors through mmdeploy
======== ============================================ ========================================

All in pixels of the network's input. A score is the person's class's, times the object's if there
is one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field

from gaitext.config import Settings
from gaitext.errors import ConfigError, ShapeError
from gaitext.extraction.detect.detector import Detections, Frame, suppress
from gaitext.pose.onnx import INPUT_TYPES, onnx_sha256, open_session

Array = npt.NDArray[Any]
_GREY = 114  # what YOLO networks are trained to find around letterboxed pictures

#: Input -> (channels reversed to BGR, mean, standard deviation) of 0..255 pixels.
_INPUTS: dict[str, tuple[bool, tuple[float, ...], tuple[float, ...]]] = {
    "rgb": (False, (0.0, 0.0, 0.0), (255.0, 255.0, 255.0)),
    "bgr": (True, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "bgr-imagenet": (True, (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
}


#: (outputs, person's class, input height, input width) -> for each image [N, 5]: x1, y1, x2, y2, score.
Decode = Callable[[Sequence[Array], int, int, int], "list[npt.NDArray[np.float64]]"]

_STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Layout:
    """One way of writing detections down.

    Attributes:
        input: what networks of this layout usually take.
        corner: whether their letterboxed picture lies in the top left corner, not in the middle.
    """

    name: str
    decode: Decode
    input: str = "rgb"
    corner: bool = False


def _only(outputs: Sequence[Array], last: int | None = None) -> npt.NDArray[np.float64]:
    """The first output of three axes, the last of length ``last``."""
    for output in outputs:
        if output.ndim == 3 and (last is None or output.shape[2] == last):
            return output.astype(np.float64)
    raise ValueError("none has three axes" + ("" if last is None else f", the last of {last}"))


def _from_centres(centres: Array, scores: Array) -> list[npt.NDArray[np.float64]]:
    """[B, N, 4] as cx, cy, w, h and [B, N] -> for each image [N, 5]."""
    half = centres[..., 2:] / 2
    return list(np.concatenate((centres[..., :2] - half, centres[..., :2] + half, scores[..., None]), axis=-1))


def _yolov5(outputs: Sequence[Array], person: int, height: int, width: int) -> list[npt.NDArray[np.float64]]:
    output = _only(outputs)
    return _from_centres(output[..., :4], output[..., 4] * output[..., 5:][..., person])


def _yolov8(outputs: Sequence[Array], person: int, height: int, width: int) -> list[npt.NDArray[np.float64]]:
    output = _only(outputs).transpose(0, 2, 1)
    return _from_centres(output[..., :4], output[..., 4:][..., person])


def _yolox(outputs: Sequence[Array], person: int, height: int, width: int) -> list[npt.NDArray[np.float64]]:
    output = _only(outputs)
    cells, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height // stride, : width // stride]
        cells.append(np.stack((columns, rows), axis=-1).reshape(-1, 2))
        strides.append(np.full((len(cells[-1]), 1), stride))
    grid, step = np.concatenate(cells), np.concatenate(strides)
    if len(grid) != output.shape[1]:
        raise ValueError(f"the grids have {len(grid)} cells")
    centres = np.concatenate(((output[..., :2] + grid) * step, np.exp(output[..., 2:4]) * step), axis=-1)
    return _from_centres(centres, output[..., 4] * output[..., 5:][..., person])


def _end2end(outputs: Sequence[Array], person: int, height: int, width: int) -> list[npt.NDArray[np.float64]]:
    # Unused places have the score 0 and whatever class.
    return [rows[np.rint(rows[:, 5]) == person, :5] for rows in _only(outputs, 6)]


def _mmdeploy(outputs: Sequence[Array], person: int, height: int, width: int) -> list[npt.NDArray[np.float64]]:
    boxes = _only(outputs, 5)
    labels = next((output for output in outputs if output.shape == boxes.shape[:2]), None)
    if labels is None:
        raise ValueError("none holds the labels [B, N]")
    return [rows[numbers == person] for rows, numbers in zip(boxes, labels)]


LAYOUTS: dict[str, Layout] = {
    layout.name: layout
    for layout in (
        Layout("yolov5", _yolov5),
        Layout("yolov8", _yolov8),
        Layout("yolox", _yolox, input="bgr", corner=True),
        Layout("end2end", _end2end),
        Layout("mmdeploy", _mmdeploy, input="bgr", corner=True),
    )
}


def find_layout(shapes: Sequence[Sequence[int]], height: int, width: int, where: object) -> str:
    """The layout that outputs of these shapes have, for an input of H×W.

    Raises:
        ConfigError: they fit none, or more than one.
    """
    sizes = [(height // stride) * (width // stride) for stride in (*_STRIDES, 64)]
    cells = (sum(sizes[:3]), sum(sizes))  # large models (P6) have a fourth grid
    listed = ", ".join(str(list(shape)) for shape in shapes)
    how = f"say which with layout=… ({', '.join(LAYOUTS)})"
    triples = [shape for shape in shapes if len(shape) == 3]
    if not triples:
        raise ConfigError(f"its outputs are {listed}, which is no layout gaitext knows", where=where, how=how)
    _, rows, columns = triples[0]
    if columns == 5 and any(list(shape) == list(triples[0][:2]) for shape in shapes):
        return "mmdeploy"
    if columns in cells and rows >= 5:
        return "yolov8"
    if rows in (3 * cells[0], 3 * cells[1]) and columns >= 6:  # three anchors in each cell
        return "yolov5"
    if rows in cells and columns >= 6:
        raise ConfigError(
            f"its output {listed} may be YOLOX's or another's",
            where=where,
            how="say layout=yolox (raw), layout=yolov5&input=bgr (YOLOX that decodes itself) or layout=yolov5 (YOLOv6)",
        )
    if columns == 6:
        return "end2end"
    raise ConfigError(f"its outputs are {listed}, which is no layout gaitext knows", where=where, how=how)


class OnnxDetectorSettings(Settings):
    """Options of ``onnx:FILE?…``.

    Attributes:
        layout: how the output is to be read (:data:`LAYOUTS`); ``auto``
            tells by its shape where that is possible.
        input: ``rgb`` in 0..1 (YOLOv5 and later), ``bgr`` in 0..255 (YOLOX), ``bgr-imagenet``
            normalised (RTMDet); None takes the layout's.
        score: boxes with a lower score are left out.
        iou: of two boxes that overlap by more, the one with the lower score is left out.
        person: the class that is the person.
        size: height and width of the network's input where the file leaves them open; a multiple
            of 32.
        threads: of onnxruntime, see :func:`gaitext.pose.onnx.open_session`.
    """

    layout: Literal["auto", "yolov5", "yolov8", "yolox", "end2end", "mmdeploy"] = "auto"
    input: Literal["rgb", "bgr", "bgr-imagenet"] | None = None
    score: float = Field(default=0.3, ge=0, le=1)
    iou: float = Field(default=0.6, gt=0, le=1)
    person: int = Field(default=0, ge=0)
    size: int = Field(default=640, ge=32, multiple_of=32)
    threads: int = Field(default=0, ge=0)


def load(file: str, options: Mapping[str, Any]) -> OnnxDetector:
    """The detector of a specification (:func:`~gaitext.extraction.detect.load_detector`)."""
    return OnnxDetector(file, OnnxDetectorSettings.parse(options, where=f"onnx:{file}"))


class OnnxDetector:
    """A :class:`~gaitext.extraction.detect.Detector` from an ONNX file.

    Frames are letterboxed: scaled to fit the network's input (bilinear, as cv2.INTER_LINEAR does,
    which these networks are trained with) and padded with grey. With a fixed batch size the frames
    are fed that many at a time, the last group filled up.

    Raises:
        ConfigError: the file is missing or is not ONNX; the layout cannot be told.
        ShapeError: the network's input or output has another shape.
        MissingDependencyError: onnxruntime is not installed.
    """

    def __init__(self, path: str | Path, settings: OnnxDetectorSettings | None = None) -> None:
        self.path, options = Path(path), settings or OnnxDetectorSettings()
        self._session = open_session(self.path, "the detector 'onnx:'", threads=options.threads)
        self._name, self._dtype, self.batch, self.height, self.width = self._find_input(options.size)
        # Some files leave the output's shape open: one run tells it.
        outputs = self._session.run(None, {self._name: self._blank()})
        name: str = options.layout
        if name == "auto":
            name = find_layout([output.shape for output in outputs], self.height, self.width, self.path)
        self.layout = LAYOUTS[name]
        self._options = options
        self._decode(outputs)  # raises where the layout is not the network's
        kind = options.input or self.layout.input
        self._reverse, mean, deviation = _INPUTS[kind]
        self._mean = np.array(mean, np.float32)[:, None, None]
        self._deviation = np.array(deviation, np.float32)[:, None, None]
        self.settings: dict[str, Any] = {
            "detector": "onnx",
            "file": self.path.name,
            "sha256": onnx_sha256(self.path),
            "layout": name,
            "input": kind,
            "size": [self.height, self.width],
            "score": options.score,
            "iou": options.iou,
            "person": options.person,
        }

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        """Persons in each frame; see :class:`~gaitext.extraction.detect.Detector`."""
        found: list[Detections] = []
        step = self.batch or max(len(frames), 1)
        for start in range(0, len(frames), step):
            group = frames[start : start + step]
            images, scales = zip(*(self._letterbox(frame) for frame in group))
            fed = np.stack(images + images[-1:] * (self.batch - len(group) if self.batch else 0))
            outputs = self._session.run(None, {self._name: fed})
            for boxes, scale, frame in zip(self._decode(outputs), scales, group):
                found.append(self._finish(boxes, scale, frame))
        return found

    def _letterbox(self, frame: Frame) -> tuple[npt.NDArray[Any], tuple[float, float, float, float]]:
        """The network's input [3, H, W], and (x scale, y scale, left, top) of the frame within it."""
        height, width = frame.shape[:2]
        ratio = min(self.height / height, self.width / width)
        high, wide = max(round(height * ratio), 1), max(round(width * ratio), 1)
        pixels = torch.from_numpy(np.ascontiguousarray(frame.transpose(2, 0, 1)))[None].float()
        if (high, wide) != (height, width):
            pixels = torch.nn.functional.interpolate(pixels, (high, wide), mode="bilinear")
        left, top = (0, 0) if self.layout.corner else ((self.width - wide) // 2, (self.height - high) // 2)
        image = np.full((3, self.height, self.width), _GREY, np.float32)
        image[:, top : top + high, left : left + wide] = pixels[0].numpy()
        if self._reverse:
            image = image[::-1]
        ready = ((image - self._mean) / self._deviation).astype(self._dtype)
        return ready, (wide / width, high / height, left, top)

    def _decode(self, outputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[np.float64]]:
        """For each image [N, 5]: x1, y1, x2, y2 in the network's input, and the score."""
        arrays = [np.asarray(output) for output in outputs]
        try:
            return self.layout.decode(arrays, self._options.person, self.height, self.width)
        except (ValueError, IndexError) as error:
            shapes = ", ".join(str(list(array.shape)) for array in arrays)
            raise ShapeError(
                f"its outputs ({shapes}) are not of the layout {self.layout.name} ({error})",
                where=self.path,
                how="choose another layout=… or person=…",
            ) from error

    def _finish(self, boxes: npt.NDArray[np.float64], scale: tuple[float, ...], frame: Frame) -> Detections:
        boxes = boxes[boxes[:, 4] >= self._options.score]
        x_scale, y_scale, left, top = scale
        height, width = frame.shape[:2]
        x1, x2 = (((boxes[:, side] - left) / x_scale).clip(0, width) for side in (0, 2))
        y1, y2 = (((boxes[:, side] - top) / y_scale).clip(0, height) for side in (1, 3))
        placed = np.stack((x1, y1, x2 - x1, y2 - y1, boxes[:, 4]), axis=1)
        return suppress(placed[(placed[:, 2:4] > 0).all(1)], self._options.iou)

    def _blank(self) -> npt.NDArray[Any]:
        return np.zeros((self.batch or 1, 3, self.height, self.width), self._dtype)

    def _find_input(self, size: int) -> tuple[str, str, int, int, int]:
        """Name, dtype, fixed batch size (0: dynamic), height and width of the only input."""
        inputs = self._session.get_inputs()
        listed = ", ".join(f"{i.name} {i.shape}" for i in inputs)
        shape = inputs[0].shape if len(inputs) == 1 else []
        if len(shape) != 4 or (isinstance(shape[1], int) and shape[1] != 3):
            raise ShapeError(
                f"the network's inputs are {listed}", where=self.path, how="gaitext feeds pictures as [N, 3, H, W]"
            )
        if inputs[0].type not in INPUT_TYPES:
            raise ShapeError(f"its input is {inputs[0].type}", where=self.path, how="it must take float32 or float16")
        batch, _, height, width = (value if isinstance(value, int) and value > 0 else 0 for value in shape)
        return inputs[0].name, INPUT_TYPES[inputs[0].type], batch, height or size, width or size
