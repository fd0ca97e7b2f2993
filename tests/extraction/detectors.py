"""ONNX networks, made on the spot, that find red rectangles for real, in every layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

SIZE = 64
STRIDES = (8, 16, 32)
#: Where a rectangle's cell lies: its centre's. All cells of the three grids, each 8, 16 or 32 wide.
CELLS = np.concatenate(
    [np.stack(np.mgrid[: SIZE // s, : SIZE // s][::-1], -1).reshape(-1, 2) * [[s, s]] + s / 2 for s in STRIDES]
)
STEPS = np.concatenate([np.full((SIZE // s) ** 2, s) for s in STRIDES])


def red_network(
    path: Path, layout: str, *, batch: int | str = "N", bgr: bool = False, half: bool = False, open_size: bool = False
) -> Path:
    """A network that answers each cell whose centre is red with the box of the red around it.

    The picture's redness (1 where R is high and G, B low) is summed along the row and the column
    through the cell's centre: with one rectangle in that row and column, these are its width and
    height, and the redness-weighted mean of the places is its centre. A red cell's score is 0.9,
    less 0.1 for each larger grid, so that suppression has something to choose from.

    Args:
        bgr: take BGR in 0..255 instead of RGB in 0..1; fed with the wrong one, it finds nothing.
        half: take float16.
        open_size: leave height and width of the input open.
    """
    x = np.arange(SIZE) + 0.5
    column, row = CELLS.astype(int).T
    weight = np.array([-1, -1, 1] if bgr else [255, -255, -255]).reshape(1, 3, 1, 1) / 255
    picks = np.zeros((len(CELLS), SIZE * SIZE), np.float32)
    picks[np.arange(len(CELLS)), row * SIZE + column] = 1
    weights: dict[str, Any] = {
        "weight": weight,
        "low_red": np.array(0.5),
        "low": np.array(0.0),
        "high": np.array(1.0),
        "sharp": np.array(1000.0),
        "picks": picks.T,
        "rows": np.eye(SIZE)[row].T,
        "columns": np.eye(SIZE)[column].T,
        "places": x[None, :, None],
        "tiny": np.array(1e-6),
        "base": 0.9 - 0.1 * (STEPS > 8) - 0.1 * (STEPS > 16),
        "one": np.array(1.0),
    }
    n = helper.make_node
    nodes = [
        n("Conv", ["frames", "weight"], ["red0"]),
        n("Sub", ["red0", "low_red"], ["red1"]),
        n("Mul", ["red1", "sharp"], ["red2"]),
        n("Clip", ["red2", "low", "high"], ["red"]),  # [B, 1, H, W]
        n("Squeeze", ["red", "axis1"], ["plane"]),  # [B, H, W]
        n("Flatten", ["red"], ["flat"], axis=1),
        n("MatMul", ["flat", "picks"], ["hit"]),  # [B, N]
        n("Transpose", ["plane"], ["turned"], perm=[0, 2, 1]),
        n("MatMul", ["turned", "rows"], ["along"]),  # [B, W, N]: redness along each cell's row
        n("MatMul", ["plane", "columns"], ["down"]),  # [B, H, N]
    ]
    for axis, line in (("x", "along"), ("y", "down")):
        nodes += [
            n("ReduceSum", [line, "axis1"], [f"size_{axis}"], keepdims=0),
            n("Mul", [line, "places"], [f"moment_{axis}0"]),
            n("ReduceSum", [f"moment_{axis}0", "axis1"], [f"moment_{axis}"], keepdims=0),
            n("Max", [f"size_{axis}", "tiny"], [f"safe_{axis}"]),
            n("Div", [f"moment_{axis}", f"safe_{axis}"], [f"centre_{axis}"]),
        ]
    nodes.append(n("Mul", ["hit", "base"], ["score"]))
    nodes += [n("Sub", ["one", "one"], ["zero"]), n("Mul", ["score", "zero"], ["nothing"])]
    add, extra, outputs = _ending(layout)
    nodes += add
    weights |= extra
    integers = {"axis1": np.array([1]), "axis2": np.array([2]), "pads": np.array([0, 0, 0, 0, 100 - len(CELLS), 0])}
    initialisers = [numpy_helper.from_array(np.asarray(w, np.float32), name) for name, w in weights.items()]
    initialisers += [numpy_helper.from_array(w.astype(np.int64), name) for name, w in integers.items()]
    kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
    source = "frames"
    if half:
        nodes.insert(0, n("Cast", ["frames16"], ["frames"], to=TensorProto.FLOAT))
        source = "frames16"
    size: Any = "S" if open_size else SIZE
    graph = helper.make_graph(
        nodes,
        "red",
        [helper.make_tensor_value_info(source, kind, [batch, 3, size, size])],
        [helper.make_tensor_value_info(name, t, None) for name, t in outputs],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def _ending(layout: str) -> tuple[list[Any], dict[str, Any], list[tuple[str, int]]]:
    """Nodes from centre_x, centre_y, size_x, size_y, score, nothing (each [B, N]) to the outputs."""
    n = helper.make_node
    parts = ["centre_x", "centre_y", "size_x", "size_y"]
    nodes: list[Any] = []
    weights: dict[str, Any] = {}

    def stack(names: list[str], axis: str, out: str) -> None:
        for name in names:
            nodes.append(n("Unsqueeze", [name, axis], [f"{name}_{out}"]))
        nodes.append(n("Concat", [f"{name}_{out}" for name in names], [out], axis=int(axis[-1])))

    if layout == "yolox":
        weights |= {"step": STEPS.astype(np.float32), "grid_x": CELLS[:, 0] / STEPS - 0.5}
        weights |= {"grid_y": CELLS[:, 1] / STEPS - 0.5}
        for axis in "xy":
            nodes += [
                n("Div", [f"centre_{axis}", "step"], [f"in_{axis}"]),
                n("Sub", [f"in_{axis}", f"grid_{axis}"], [f"raw_{axis}"]),
                n("Div", [f"safe_{axis}", "step"], [f"ratio_{axis}"]),
                n("Log", [f"ratio_{axis}"], [f"log_{axis}"]),
            ]
        parts = ["raw_x", "raw_y", "log_x", "log_y"]
    if layout in ("yolov5", "yolox"):
        # The object's score, class 0 (a car) never, class 1 (the person) where there is red.
        nodes.append(n("Max", ["hit", "hit"], ["certain"]))
        stack([*parts, "score", "nothing", "certain"], "axis2", "out" if layout == "yolox" else "anchor")
        if layout == "yolov5":  # three anchors a cell, all alike
            nodes.append(n("Concat", ["anchor"] * 3, ["out"], axis=1))
        return nodes, weights, [("out", TensorProto.FLOAT)]
    if layout == "yolov8":
        stack([*parts, "nothing", "score"], "axis1", "out")
        return nodes, weights, [("out", TensorProto.FLOAT)]
    weights["two"] = np.array(2.0)
    for axis in "xy":
        nodes += [
            n("Div", [f"size_{axis}", "two"], [f"side_{axis}"]),
            n("Sub", [f"centre_{axis}", f"side_{axis}"], [f"from_{axis}"]),
            n("Add", [f"centre_{axis}", f"side_{axis}"], [f"to_{axis}"]),
        ]
    corners = ["from_x", "from_y", "to_x", "to_y", "score"]
    nodes.append(n("Add", ["nothing", "one"], ["person"]))
    if layout == "end2end":
        stack([*corners, "person"], "axis2", "found")
        # Filled up to 100 places, as these networks do.
        nodes.append(n("Pad", ["found", "pads"], ["out"]))
        return nodes, weights, [("out", TensorProto.FLOAT)]
    stack(corners, "axis2", "dets")
    nodes.append(n("Cast", ["person"], ["labels"], to=TensorProto.INT64))
    return nodes, weights, [("dets", TensorProto.FLOAT), ("labels", TensorProto.INT64)]
