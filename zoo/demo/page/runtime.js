// Runs .tflite files with LiteRT.js on the CPU.
//
// Tensors are passed through the bindings of its WebAssembly module, because the Tensor class of LiteRT.js 2.5 supports
// only float32, int32 and uint8, and our int8 files have int8 inputs and outputs.

import { Environment, loadLiteRt } from "./litert/index.js";

// Values of litert::ElementType, with name and typed array.
const TYPES = {
  1: ["float32", Float32Array],
  2: ["int32", Int32Array],
  3: ["uint8", Uint8Array],
  4: ["int64", BigInt64Array],
  6: ["bool", Uint8Array],
  7: ["int16", Int16Array],
  9: ["int8", Int8Array],
};
const LEAST_MS = 2; // minimum duration of a measurement; timers of pages without isolation have a resolution of 0.1 ms
const MEASURES = 9; // odd, so that the median is one of them
const MEASURES_OF_SLOW = 3; // for calls slower than SLOW_MS, because measuring blocks the page
const SLOW_MS = 50;

let bindings, environment;

/**
 * Load LiteRT.js from a folder.
 *
 * @throws {Error} If the browser lacks WebAssembly, or features of it that LiteRT.js needs.
 */
export async function start(folder) {
  if (typeof WebAssembly !== "object") throw new Error("it has no WebAssembly, or it is turned off");
  const litert = await loadLiteRt(folder);
  bindings = litert.liteRtWasm;
  environment = await Environment.create({ webGpuDevice: null });
}

/**
 * Open a .tflite file for the lifetime of the page.
 *
 * @param {Uint8Array} content Content of the file.
 * @returns {Promise<{signatures: Object, run: function}>} Inputs and outputs of each signature by key, with name, type and
 *     shape; and run(key, typed arrays by name), which returns typed arrays by name.
 */
export async function open(content) {
  const pointer = bindings._malloc(content.byteLength);
  bindings.HEAPU8.set(content, pointer);
  const native = environment.liteRtEnvironment;
  const model = bindings.loadModel(native, pointer, content.byteLength);
  const options = { environment, accelerator: "wasm", cpuOptions: { numThreads: 1 }, gpuOptions: {}, webNNOptions: {} };
  const compiled = await bindings.compileModel(native, model, options);
  const signatures = {};
  for (let index = 0; index < model.getNumSignatures(); index++) {
    const found = model.getSignature(index);
    signatures[found.key()] = {
      index,
      inputs: described(found.inputNames(), (i) => model.getInputTensorType(index, i)),
      outputs: described(found.outputNames(), (i) => model.getOutputTensorType(index, i)),
    };
    found.delete();
  }

  async function run(key, values) {
    const { index, inputs, outputs } = signatures[key];
    const given = inputs.map((tensor) => buffer(model.getInputTensorType(index, tensor.index), values[tensor.name]));
    try {
      const made = await compiled.run(index, given);
      return Object.fromEntries(outputs.map((tensor) => [tensor.name, taken(made[tensor.index], tensor)]));
    } finally {
      for (const each of given) each.delete();
    }
  }

  return { signatures, run };
}

/** Return name, type and shape of the inputs or outputs of a signature. */
function described(names, typeOf) {
  return listed(names).map((name, index) => {
    const type = typeOf(index);
    const layout = type.layout();
    const value = type.elementType().value;
    const tensor = { name, index, type: TYPES[value]?.[0] ?? `type ${value}`, shape: listed(layout.dimensions()) };
    layout.delete();
    type.delete();
    return tensor;
  });
}

function listed(vector) {
  const values = Array.from({ length: vector.size() }, (_, i) => vector.get(i));
  vector.delete();
  return values;
}

/** Return a typed array for a number of values of a type. */
export function arrayOf(type, size) {
  const found = Object.values(TYPES).find(([name]) => name === type);
  if (!found) throw new Error(`the page does not support ${type} tensors`);
  return new found[1](size);
}

function buffer(type, array) {
  const host = bindings.LiteRtTensorBufferType.HOST_MEMORY;
  const made = bindings.LiteRtTensorBuffer.createManaged(environment.liteRtEnvironment, host, type, array.byteLength);
  type.delete();
  const place = made.lock(bindings.LiteRtTensorBufferLockMode.WRITE);
  bindings.HEAPU8.set(new Uint8Array(array.buffer, array.byteOffset, array.byteLength), place);
  made.unlock();
  return made;
}

function taken(made, { type, shape }) {
  const array = arrayOf(type, shape.reduce((product, n) => product * n, 1));
  const place = made.lock(bindings.LiteRtTensorBufferLockMode.READ);
  new Uint8Array(array.buffer).set(bindings.HEAPU8.subarray(place, place + array.byteLength));
  made.unlock();
  made.delete();
  return array;
}

/** Return the median latency of a call in milliseconds, measured over as many calls as the timer resolution requires. */
export async function latency(call) {
  const measure = async (calls) => {
    const began = performance.now();
    for (let i = 0; i < calls; i++) await call();
    return performance.now() - began;
  };
  let calls = 1;
  let took = await measure(calls);
  while (calls < 1024 && took < LEAST_MS) {
    calls *= 2;
    took = await measure(calls);
  }
  const times = [];
  const count = took > SLOW_MS ? MEASURES_OF_SLOW : MEASURES;
  while (times.length < count) times.push((await measure(calls)) / calls);
  return times.sort((a, b) => a - b)[(count - 1) / 2];
}
