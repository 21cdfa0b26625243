// Which view shows a file, by what the file takes and gives.

/** Modules of the views, by name. */
export const VIEWS = {
  image: "./views/draw.js",
  masks: "./views/masks.js",
  boxes: "./views/boxes.js",
  sound: "./views/listen.js",
  tokens: "./views/type.js",
  code: "./views/sample.js",
  tensors: "./views/tensors.js",
};

/** Return the name of the view for a file, which is that of its raw tensors if no other fits. */
export function viewOf({ about, signatures, vocabulary }) {
  const [ends, ...others] = Object.values(signatures);
  if (others.length || ends.inputs.length !== 1) return "tensors";
  if (givesBoxes(about, ends.outputs)) return "boxes";
  if (ends.outputs.length !== 1) return "tensors";
  const [, ...shape] = ends.outputs[0].shape;
  if (about.input?.name === "code") return shape.length === 3 ? "code" : "tensors";
  if (about.input?.kind === "image" && givesMasks(about, shape)) return "masks";
  if (!about.labels?.length || String(shape) !== String(about.labels.length)) return "tensors";
  if (about.input?.kind === "image") return about.input.values?.startsWith("numbers") ? "tensors" : "image";
  if (about.input?.kind === "sound" && about.input.rate && about.input.shape.length === 1) return "sound";
  return about.input?.kind === "tokens" && vocabulary?.model?.vocab ? "tokens" : "tensors";
}

/** Return whether a file of pictures gives raw boxes with their decoding, or the boxes that are left of them. */
function givesBoxes({ task, input, labels, decoding, size }, outputs) {
  const wanted = decoding ? ["boxes", "scores"] : ["boxes", "classes", "count", "scores"];
  const names = outputs.map(({ name }) => name).sort();
  return task === "detection" && input?.kind === "image" && labels?.length && (decoding || size) && String(names) === String(wanted);
}

/** Return whether a file of pictures gives scores of its labels for each pixel, or the class of each pixel. */
function givesMasks({ input, labels, output }, shape) {
  const pixels = String(shape.slice(0, 2)) === String(input.shape.slice(0, 2)) && labels?.length;
  return pixels && (output?.name === "classes" ? shape.length === 2 : shape.length === 3 && shape[2] === labels.length);
}
