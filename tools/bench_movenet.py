"""MoveNet's heatmaps by gaitext and by onnxruntime, on one thread, in one run: processor time of a crop.

Run: OMP_NUM_THREADS=1 python tools/bench_movenet.py [lightning thunder] [--batches 1 4 16]

onnxruntime gets the same graph with the same weights, written as its optimiser likes it best: paddings and ReLU6 as
attributes of ONNX's own operators. The two are measured in turns, so that what else the machine does weighs on both;
the least of all turns counts. The largest difference of their heatmaps is printed, too.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from gaitext.pose.movenet import TAPS, MoveNet, load_movenet
from gaitext.pose.movenet_estimator import MoveNetEstimator

log = logging.getLogger("bench_movenet")
TURNS = 7


class Written:
    """The graph of a MoveNet's heatmaps as ONNX."""

    def __init__(self, network: MoveNet, size: tuple[int, int]) -> None:
        self.nodes: list[Any] = []
        self.values: dict[str, npt.NDArray[Any]] = {}
        x, taps = self.conv(network.stem, "images"), {}
        for index, block in enumerate(network.blocks):
            inner = self.conv(block.expand, x) if isinstance(block.expand, nn.Conv2d) else x
            narrow = self.conv(block.project, self.conv(block.depthwise, inner))
            x = taps[index] = self.node("Add", narrow, x) if block.residual else narrow
        x = self.conv(network.top, self.conv(network.last, x))
        scales = self.value(np.array([1, 1, 2, 2], np.float32))
        for tap, lateral, merge in zip(TAPS, network.laterals, network.merges):
            x = self.node("Resize", x, "", scales, mode="linear", coordinate_transformation_mode="half_pixel")
            x = self.convs(merge, self.node("Add", x, self.conv(lateral, taps[tap])))
        maps = self.node("Sigmoid", self.convs(network.heads["heatmaps"], x))
        sides = {"images": ("n", 3, *size), maps: ("n", 17, size[0] // 4, size[1] // 4)}
        given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in sides.items())
        weights = [numpy_helper.from_array(value, name) for name, value in self.values.items()]
        graph = helper.make_graph(self.nodes, "movenet", [given], [made], weights)
        self.model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"map{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def value(self, array: npt.NDArray[Any]) -> str:
        name = f"value{len(self.values)}"
        self.values[name] = array
        return name

    def conv(self, layer: Any, x: str) -> str:
        after = layer.kernel_size[0] // 2
        before = 0 if layer.stride == (2, 2) else after
        weights = [layer.weight] if layer.bias is None else [layer.weight, layer.bias]
        inputs = [self.value(weight.detach().numpy()) for weight in weights]
        x = self.node("Conv", x, *inputs, strides=layer.stride, pads=[before, before, after, after], group=layer.groups)
        if layer.activation is nn.functional.relu6:
            return self.node("Clip", x, *(self.value(np.array(bound, np.float32)) for bound in (0, 6)))
        return x if layer.activation is None else self.node("Relu", x)

    def convs(self, layers: Any, x: str) -> str:
        for layer in (module for module in layers.modules() if isinstance(module, nn.Conv2d)):
            x = self.conv(layer, x)
        return x


def seconds(function: Callable[[], object], least: float = 0.25) -> float:
    """Processor time of a call: the mean of as many as take ``least`` seconds."""
    calls, begin = 0, time.process_time()
    while time.process_time() - begin < least:
        function()
        calls += 1
    return (time.process_time() - begin) / calls


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("variants", nargs="*", default=["lightning", "thunder"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 4, 16])
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    log.info("variant    batch  gaitext ms  onnxruntime ms  ratio  difference")
    for variant in arguments.variants:
        estimator = MoveNetEstimator(variant, person="all", device="cpu", precision="float32")
        written = Written(load_movenet(variant), estimator.input_size).model.SerializeToString()
        session = onnxruntime.InferenceSession(written, options, providers=["CPUExecutionProvider"])
        for batch in arguments.batches:
            compare(variant, estimator, session, batch)


def compare(variant: str, estimator: MoveNetEstimator, session: onnxruntime.InferenceSession, batch: int) -> None:
    images = torch.rand(batch, 3, *estimator.input_size, generator=torch.Generator().manual_seed(0))

    def ours() -> npt.NDArray[np.float32]:
        return estimator.heatmaps(images).numpy()

    def theirs() -> npt.NDArray[np.float32]:
        maps: npt.NDArray[np.float32] = session.run(
            None, {"images": estimator.normalised(images).contiguous().numpy()}
        )[0]
        return maps

    apart = np.abs(ours() - theirs()).max()
    turns = [(seconds(ours), seconds(theirs)) for _ in range(TURNS)]
    mine, other = 1000 * np.array(turns).min(0) / batch
    log.info(f"{variant:10} {batch:5} {mine:11.2f} {other:15.2f} {mine / other:6.2f} {apart:11.1e}")


if __name__ == "__main__":
    main()
