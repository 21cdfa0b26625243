// View that generates images with each file from the same latent codes.

import { show as paint } from "../pictures/image.js";
import { normal } from "../numbers.js";
import { element, later } from "../parts.js";

const COUNT = 10; // images per file
const TIMED_MS = 700; // delay after the last change before a call is timed
const WHITE = 255;

/** Build the view, and generate images for the values of its fields. */
export async function show(place, pair, facts) {
  const { labels, input } = pair.files[0].about;
  const classes = labels.length;
  const latent = input.shape[0] - classes;
  const seed = element("input", { type: "number", min: "0", max: "4294967295", value: "1", id: "seed" });
  const walk = element("input", { type: "range", min: "0", max: "100", value: "0", id: "walk" });
  const names = ["all classes", ...labels].map((name, i) => element("option", { value: String(i - 1) }, name));
  const kind = element("select", { id: "class" }, ...names);
  const panels = element("div", { class: "samples" });
  const note = element("p", { class: "note", role: "status" });
  const time = later(() => facts.time(Object.keys(pair.files[0].signatures)[0]), TIMED_MS);

  /** Return the code of image i, interpolated on a circle between two samples so that its norm stays typical. */
  function code(i) {
    const angle = (Math.PI / 2) * (Number(walk.value) / 100);
    const [from, to] = [0, 1].map((next) => normal(latent, (Number(seed.value) + next) * COUNT + i));
    const label = Number(kind.value) < 0 ? i % Math.max(classes, 1) : Number(kind.value);
    const hot = Array.from({ length: classes }, (_, k) => Number(k === label));
    return [...from.map((z, k) => Math.cos(angle) * z + Math.sin(angle) * to[k]), ...hot];
  }

  async function draw() {
    const codes = Array.from({ length: COUNT }, (_, i) => code(i));
    const drawn = [];
    for (const file of pair.files) drawn.push(await images(file, codes));
    panels.replaceChildren(...pair.files.map((file, i) => panel(file, drawn[i])));
    note.textContent = drawn.length > 1 ? apart(pair.files, drawn) : "";
    time();
  }

  function panel(file, drawn) {
    const [, ...shape] = Object.values(file.signatures)[0].outputs[0].shape;
    const canvases = drawn.map((values, i) => {
      const canvas = element("canvas", { role: "img", "aria-label": `Image ${i + 1} by ${file.name}` });
      paint(canvas, values.map((value) => value * WHITE), shape);
      return canvas;
    });
    return element("section", {}, element("h2", {}, file.name), element("div", { class: "grid" }, ...canvases));
  }

  const again = () => {
    seed.value = String(Number(seed.value) + 1);
    return draw();
  };
  for (const field of [seed, walk, kind]) field.addEventListener("input", draw);
  place.classList.add("wide");
  place.append(
    element(
      "div",
      { class: "fields" },
      element("button", { type: "button", click: again }, "Sample"),
      element("label", { for: "seed" }, "Seed ", seed),
      ...(classes ? [element("label", { for: "class" }, "Class ", kind)] : []),
      element("label", { for: "walk" }, "Interpolate to the next sample ", walk),
    ),
    panels,
    note,
  );
  pair.changed = draw;
  await draw();
}

async function images(file, codes) {
  const [[key, { inputs, outputs }]] = Object.entries(file.signatures);
  const size = outputs[0].shape.slice(1).reduce((product, n) => product * n, 1);
  const made = [];
  for (const code of codes) made.push((await file.call(key, { [inputs[0].name]: code }))[outputs[0].name].slice(0, size));
  return made;
}

function apart([first, second], [a, b]) {
  const squares = a.flatMap((image, i) => Array.from(image, (value, k) => (value - b[i][k]) ** 2));
  const mean = squares.reduce((sum, square) => sum + square, 0) / squares.length;
  if (!mean) return `The images of ${second.name} and ${first.name} are identical.`;
  return `PSNR of ${second.name} to ${first.name}: ${(-10 * Math.log10(mean)).toFixed(1)} dB (higher is closer).`;
}
