"""Tiny ONNX networks, made on the spot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

#: 17 colours that are far from each other, from grey and from black.
LEVELS = (0.0, 0.5, 1.0)
COLOURS = np.array(
    [(r, g, b) for r in LEVELS for g in LEVELS for b in LEVELS if (r, g, b) not in {(0, 0, 0), (0.5, 0.5, 0.5)}]
)[[0, 1, 2, 4, 5, 6, 7, 9, 11, 13, 15, 16, 17, 18, 20, 22, 24]]

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])


def save(path: Path, nodes: list[Any], weights: dict[str, np.ndarray], shape: list[Any], out: list[Any]) -> Path:
    """Write a network from ``crops`` to ``maps``."""
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("crops", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, out)],
        [numpy_helper.from_array(np.asarray(w, np.float32), name) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


def dot_network(path: Path, batch: int | str = "N", height: int = 256, width: int = 192, joints: int = 17) -> Path:
    """A network whose channel v peaks, at about 1, on dots of colour v.

    It undoes the ImageNet normalisation, takes 1 − (distance to the colour)²/0.12 where that is
    positive, and averages over 12×12 pixels around the centre of every 4×4 block.
    """
    colours = COLOURS[:joints]
    squared = np.ones((joints, 3, 1, 1)) / -0.12
    linear = (2 * colours / 0.12)[:, :, None, None]
    weights = {
        "std": STD[:, None, None],
        "mean": MEAN[:, None, None],
        "squared": squared,
        "linear": linear,
        "one": 1 - (colours**2).sum(1) / 0.12,
    }
    nodes = [
        helper.make_node("Mul", ["crops", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["rgb"]),
        helper.make_node("Mul", ["rgb", "rgb"], ["rgb2"]),
        helper.make_node("Conv", ["rgb2", "squared"], ["a"]),
        helper.make_node("Conv", ["rgb", "linear", "one"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node(
            "AveragePool", ["d"], ["maps"], kernel_shape=[12, 12], strides=[4, 4], pads=[4] * 4, count_include_pad=1
        ),
    ]
    return save(path, nodes, weights, [batch, 3, height, width], [batch, joints, height // 4, width // 4])
