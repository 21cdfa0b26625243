// View for files of unknown tasks: lists their tensors, and runs them with zeros or random numbers.

import { elements } from "../files.js";
import { normal, uniform } from "../numbers.js";
import { element, say } from "../parts.js";

const SHOWN = 8; // values shown of an output

/** Build the view, with one section for each signature of the first file. */
export async function show(place, pair, facts) {
  place.classList.add("wide");
  const draw = () =>
    place.replaceChildren(
      element("p", { class: "note" }, "The page has no view for the task of this file, so it shows the tensors."),
      ...Object.entries(pair.files[0].signatures).map(([key, ends]) => part(key, ends, pair, facts)),
    );
  pair.changed = draw;
  draw();
}

function part(key, { inputs, outputs }, pair, facts) {
  const found = element("div", { class: "found", role: "status" });
  let seed = 0;

  async function run(random) {
    const make = (tensor) => (random ? randomOf(tensor, ++seed) : new Float32Array(elements(tensor)));
    const values = Object.fromEntries(inputs.map((tensor) => [tensor.name, make(tensor)]));
    const parts = [];
    for (const file of pair.files.filter(({ signatures }) => key in signatures)) {
      try {
        const made = await file.call(key, values);
        parts.push(element("h3", {}, file.name), ...outputs.map(({ name }) => summary(name, made[name])));
      } catch (error) {
        parts.push(element("p", { class: "problem" }, `${file.name}: ${error?.message ?? error}`));
      }
    }
    found.replaceChildren(...parts);
    await facts.time(key).catch((error) => say(String(error?.message ?? error)));
  }

  const buttons = element(
    "div",
    { class: "buttons" },
    element("button", { type: "button", click: () => run(false) }, "Run with zeros"),
    element("button", { type: "button", click: () => run(true) }, "Run with random numbers"),
  );
  return element("section", {}, element("h2", {}, key), listing({ input: inputs, output: outputs }), buttons, found);
}

/** Return normal random numbers, or zeros and ones for integer tensors, which may be indices of a small table. */
function randomOf(tensor, seed) {
  const draw = uniform(seed);
  const whole = !tensor.scale && tensor.type !== "float32";
  return whole ? Float32Array.from({ length: elements(tensor) }, () => Math.round(draw())) : normal(elements(tensor), seed);
}

function listing(ends) {
  const scaled = Object.values(ends).flat().some(({ scale }) => scale);
  const columns = ["Tensor", "", "Shape", "Type", ...(scaled ? ["Quantization"] : [])];
  const head = columns.map((text) => element("th", { scope: "col" }, text));
  const rows = Object.entries(ends).flatMap(([end, tensors]) =>
    tensors.map((tensor) => {
      const step = tensor.scale ? `scale ${tensor.scale.toPrecision(4)}, zero point ${tensor.zero_point}` : "";
      const cells = [end, tensor.shape.join(" × ") || "scalar", tensor.type, ...(scaled ? [step] : [])];
      return element("tr", {}, element("th", { scope: "row" }, tensor.name), ...cells.map((text) => element("td", {}, text)));
    }),
  );
  const table = element("table", {}, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows));
  return element("div", { class: "scroll" }, table);
}

function summary(name, values) {
  const [low, high] = values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  const first = Array.from(values.slice(0, SHOWN), (value) => value.toPrecision(4)).join(", ");
  return element("p", {}, `${name}: ${first}${values.length > SHOWN ? ", …" : ""} (from ${low.toPrecision(4)} to ${high.toPrecision(4)})`);
}
