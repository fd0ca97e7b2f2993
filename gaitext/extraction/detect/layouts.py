"""How the output of a detection network is to be read.

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

Overlap of boxes, and the suppression of those that say the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from gaitext.errors import ConfigError

__all__ = ["LAYOUTS", "Layout", "find_layout", "overlap", "suppress"]


Array = npt.NDArray[Any]
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


Boxes = npt.NDArray[np.float64]


def overlap(one: Boxes, two: Boxes) -> Boxes:
    """Intersection over union of boxes x, y, w, h: [N, 4] and [M, 4] -> [N, M]."""
    one, two = one[:, None, :4], two[None, :, :4]
    corner = np.minimum(one[..., :2] + one[..., 2:], two[..., :2] + two[..., 2:])
    sides = np.clip(corner - np.maximum(one[..., :2], two[..., :2]), 0, None)
    shared = sides.prod(-1)
    union = one[..., 2:].prod(-1) + two[..., 2:].prod(-1) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def suppress(boxes: Boxes, iou: float) -> Boxes:
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
