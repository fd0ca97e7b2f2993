// What the published graph says of an image, by TensorFlow.js: the arrays that gaitext's own network is tested against.
//   node tools/graph_reference.mjs GRAPH.json IMAGE.raw HEIGHT WIDTH DTYPE OUT.json NODE...
// DTYPE is what the graph takes: int32 of 0..255, or float32 of 0..1.
// Called by tools/movenet_reference.py and blazepose_reference.py; needs `npm install @tensorflow/tfjs` where Node looks for it.
import fs from 'node:fs';
import { createRequire } from 'node:module';

// Not import: that looks beside this file only, require also in the working directory's node_modules.
const tf = createRequire(`${process.cwd()}/`)('@tensorflow/tfjs');
const [graphFile, imageFile, height, width, dtype, out, ...nodes] = process.argv.slice(2);
const graph = JSON.parse(fs.readFileSync(graphFile, 'utf8'));
const data = fs.readFileSync(graphFile.replace(/json$/, 'bin'));
const model = await tf.loadGraphModel(tf.io.fromMemory({
  modelTopology: graph.modelTopology,
  weightSpecs: graph.weightsManifest.flatMap((group) => group.weights),
  weightData: data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength),
  signature: graph.signature,
}));
const pixels = Array.from(fs.readFileSync(imageFile), (value) => (dtype === 'int32' ? value : value / 255));
const image = tf.tensor4d(pixels, [1, Number(height), Number(width), 3], dtype);
const found = {};
for (const [index, tensor] of [model.execute(image, nodes)].flat().entries()) {
  found[nodes[index]] = { shape: tensor.shape, values: Array.from(tensor.dataSync()) };
}
fs.writeFileSync(out, JSON.stringify(found));
