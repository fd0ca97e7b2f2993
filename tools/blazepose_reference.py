"""What BlazePose's published graph says of a drawn person, by TensorFlow.js: what gaitext's network is tested against.

    npm install @tensorflow/tfjs
    python tools/blazepose_reference.py FOLDER_OF_THE_NPM_PACKAGE/models

Writes tests/segmentation/blazepose-full.npy: every fourth row and column of the mask.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SCRIPT, NODE = ROOT / "tools" / "graph_reference.mjs", "activation_segmentation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--node", type=Path, default=Path(), help="folder whose node_modules holds TensorFlow.js")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.segmentation.people import draw_person

    with tempfile.TemporaryDirectory() as folder:
        image, out = Path(folder) / "image.raw", Path(folder) / "mask.json"
        image.write_bytes(draw_person()[0].tobytes())
        graph = arguments.models.resolve() / "blazepose-full.json"
        subprocess.run(
            ["node", SCRIPT, graph, image, "256", "256", "float32", out, NODE], cwd=arguments.node, check=True
        )
        mask = np.array(json.loads(out.read_text())[NODE]["values"], np.float32).reshape(256, 256)
    np.save(ROOT / "tests" / "segmentation" / "blazepose-full.npy", mask[::4, ::4])


if __name__ == "__main__":
    main()
