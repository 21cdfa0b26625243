// Opens the .tflite files of the page, and quantizes their inputs and outputs.

import { dequantized, quantize } from "./numbers.js";
import { arrayOf, latency, open } from "./runtime.js";

/**
 * Read models.json and open every file that it lists.
 *
 * @returns {Promise<{title: string, files: Object[]}>} Title and files; each file as listed, with `signatures`, `call`,
 *     `timed` and `vocabulary`, or with `refused`, the reason why it cannot be run.
 */
export async function opened() {
  const listed = await (await fetched("models.json")).json();
  for (const file of listed.files) {
    try {
      Object.assign(file, await openedFile(file));
    } catch (error) {
      file.refused = refusal(file, error);
    }
  }
  return listed;
}

async function fetched(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url} could not be read (${response.status})`);
  return response;
}

async function openedFile(file) {
  if (file.keeps_state) throw new Error("it keeps state from one call to the next");
  const content = new Uint8Array(await (await fetched(file.url)).arrayBuffer());
  const { signatures, run } = await open(content);
  for (const [key, ends] of Object.entries(signatures)) {
    for (const end of ["inputs", "outputs"]) ends[end] = ends[end].map((t) => ({ ...noted(file, key, end, t.name), ...t }));
  }

  /** Run a signature on values by input name, and return values by output name. */
  async function call(key, values) {
    const { inputs, outputs } = signatures[key];
    const given = Object.fromEntries(inputs.map((tensor) => [tensor.name, held(tensor, values[tensor.name])]));
    const made = await run(key, given);
    file.last = { given, made };
    return Object.fromEntries(outputs.map((tensor) => [tensor.name, dequantized(made[tensor.name], tensor)]));
  }

  /** Return the median latency in milliseconds of repeating the last call. */
  const timed = (key) => {
    const { given } = file.last;
    return latency(() => run(key, given));
  };
  const vocabulary = file.vocabulary_url && (await (await fetched(file.vocabulary_url)).json());
  return { signatures, call, timed, vocabulary };
}

/** Return a tensor as described in models.json, because LiteRT.js does not expose its scale. */
function noted(file, key, end, name) {
  const ends = file.signatures[key] ?? Object.values(file.signatures)[0];
  return ends?.[end].find((tensor) => tensor.name === name);
}

function held(tensor, values) {
  const array = arrayOf(tensor.type, elements(tensor));
  quantize(values, array, tensor);
  return array;
}

/** Return the number of elements of a tensor. */
export function elements({ shape }) {
  return shape.reduce((product, n) => product * n, 1);
}

function refusal(file, error) {
  return `LiteRT.js cannot run ${file.file}: ${String(error?.message ?? error).replace(/\.$/, "")}.`;
}
