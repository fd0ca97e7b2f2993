"""What BlazePose's published graph says of a drawn person, by TensorFlow.js: what gaitext's network is tested against.

    npm install @tensorflow/tfjs
    python tools/blazepose_reference.py FOLDER_OF_THE_NPM_PACKAGE/models

Writes tests/segmentation/blazepose-full.npy: every fourth row and column of the mask.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = """
const fs = require('fs');
const tf = require('module').createRequire(process.cwd() + '/')('@tensorflow/tfjs');
(async () => {
  const [graphFile, imageFile, out] = process.argv.slice(1);
  const graph = JSON.parse(fs.readFileSync(graphFile, 'utf8'));
  const data = fs.readFileSync(graphFile.replace(/json$/, 'bin'));
  const model = await tf.loadGraphModel(tf.io.fromMemory({
    modelTopology: graph.modelTopology,
    weightSpecs: graph.weightsManifest.flatMap((group) => group.weights),
    weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
    signature: graph.signature,
  }));
  const image = tf.tensor4d(Array.from(fs.readFileSync(imageFile), (value) => value / 255), [1, 256, 256, 3]);
  fs.writeFileSync(out, Buffer.from(model.execute(image, 'activation_segmentation').dataSync().buffer));
})();
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path)
    parser.add_argument("--node", type=Path, default=Path(), help="folder whose node_modules holds TensorFlow.js")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from tests.segmentation.people import draw_person

    with tempfile.TemporaryDirectory() as folder:
        image, out = Path(folder) / "image.raw", Path(folder) / "mask.raw"
        image.write_bytes(draw_person()[0].tobytes())
        graph = arguments.models.resolve() / "blazepose-full.json"
        subprocess.run(["node", "-e", SCRIPT, graph, image, out], cwd=arguments.node, check=True)
        mask = np.fromfile(out, np.float32).reshape(256, 256)
    np.save(ROOT / "tests" / "segmentation" / "blazepose-full.npy", mask[::4, ::4])


if __name__ == "__main__":
    main()
