// LiteRT files in a browser, on one thread, timed and read.
import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "@litertjs/core";

// A time is of as many runs as take so many milliseconds: some clocks are coarse.
const AT_LEAST = 4;

// Loads LiteRT.js; says whether this browser has relaxed SIMD.
export async function start() {
  await loadLiteRt("litert/core/wasm/", { threads: false });
  return supportsFeature("relaxedSimd");
}

export const image = (values, shape) => new Tensor(values, [1, ...shape]);

export class Network {
  #compiled;
  #output;
  #repeats;

  // Loads a file; `example` tells how long a run takes, and warms up.
  static async load(address, example) {
    const network = new Network();
    const options = { accelerator: "wasm" };
    network.#compiled = await loadAndCompile(await bytes(address), options);
    const names = network.#compiled.getOutputDetails().map(({ name }) => name);
    network.#output = Math.max(0, names.indexOf("logits"));
    network.#repeats = 3;
    await network.run(example);
    const { milliseconds } = await network.run(example);
    network.#repeats = Math.max(1, Math.round(AT_LEAST / milliseconds));
    return network;
  }

  // Milliseconds of a run, and what the last of some runs computed.
  async run(input) {
    let outputs = [];
    const began = performance.now();
    for (let n = 0; n < this.#repeats; n++) {
      outputs.forEach((output) => output.delete());
      outputs = await this.#compiled.run([input]);
    }
    const milliseconds = (performance.now() - began) / this.#repeats;
    const values = Float32Array.from(outputs[this.#output].toTypedArray());
    outputs.forEach((output) => output.delete());
    return { milliseconds, values };
  }
}

export async function bytes(address) {
  const response = await fetch(address);
  if (!response.ok) throw new Error(`${address}: ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// The largest difference, as a part of the largest value expected; NaN if one is NaN.
export function difference(found, expected) {
  let most = 0, largest = Number.MIN_VALUE;
  expected.forEach((value, place) => {
    most = Math.max(most, Math.abs(found[place] - value));
    largest = Math.max(largest, Math.abs(value));
  });
  return most / largest;
}

// Quartiles and median.
export function quartiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return [0.25, 0.5, 0.75].map((part) => {
    const place = part * (sorted.length - 1), below = Math.floor(place);
    const above = Math.min(below + 1, sorted.length - 1);
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
  });
}
