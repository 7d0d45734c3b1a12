// Runs the exported derainer on one image at a time: see try.js.
import * as ort from "./ort.js";

ort.env.wasm.wasmPaths = { wasm: new URL("ort.wasm", import.meta.url).href };
ort.env.wasm.numThreads = 1;  // more would need a server that sends headers for isolation
let session = null;

// RGBA as float32 (1, 3, H, W) in [0, 1]
function toTensor({ data, width, height }) {
  const size = width * height;
  const values = new Float32Array(3 * size);
  for (let i = 0; i < size; i++) {
    for (let channel = 0; channel < 3; channel++) {
      values[channel * size + i] = data[4 * i + channel] / 255;
    }
  }
  return new ort.Tensor("float32", values, [1, 3, height, width]);
}

self.addEventListener("message", async ({ data: image }) => {
  try {
    session ??= ort.InferenceSession.create(new URL("derainer.onnx", import.meta.url).href);
    const outputs = ["background", "region_mask", "rain_probability"];
    const found = await (await session).run({ rainy: toTensor(image) }, outputs);
    const size = image.width * image.height;
    const derained = new ImageData(image.width, image.height);
    const mask = new ImageData(image.width, image.height);
    for (let i = 0; i < size; i++) {
      for (let channel = 0; channel < 3; channel++) {
        derained.data[4 * i + channel] =
          Math.round(255 * found.background.data[channel * size + i]);
      }
      derained.data[4 * i + 3] = image.data[4 * i + 3];
      if (found.region_mask.data[i] > 0.5) mask.data.set([235, 0, 200, 130], 4 * i);
    }
    self.postMessage({ derained, mask, probability: Number(found.rain_probability.data[0]) });
  } catch (error) {
    session = null;  // it may have failed to load
    self.postMessage({ error: String(error.message ?? error) });
  }
});
