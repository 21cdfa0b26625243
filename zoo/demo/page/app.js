// Entry point of the page: loads LiteRT.js and the files, and shows the view for what they take and give.

import { opened } from "./files.js";
import { chooser, factsTable, problem, say } from "./parts.js";
import { start } from "./runtime.js";

const VIEWS = { image: "./draw.js", masks: "./masks.js", tokens: "./type.js", code: "./sample.js", tensors: "./tensors.js" };

/** Return the view for a file by what it takes and gives, or that of its raw tensors. */
function viewOf({ about, signatures, vocabulary }) {
  const [ends, ...others] = Object.values(signatures);
  if (others.length || ends.inputs.length !== 1 || ends.outputs.length !== 1) return "tensors";
  const [, ...shape] = ends.outputs[0].shape;
  if (about.input?.name === "code") return shape.length === 3 ? "code" : "tensors";
  if (about.input?.kind === "image" && givesMasks(about, shape)) return "masks";
  if (!about.labels?.length || String(shape) !== String(about.labels.length)) return "tensors";
  if (about.input?.kind === "image") return "image";
  return about.input?.kind === "tokens" && vocabulary?.model?.vocab ? "tokens" : "tensors";
}

/** Return whether a file of pictures gives scores of its labels for each pixel, or the class of each pixel. */
function givesMasks({ input, labels, output }, shape) {
  const pixels = String(shape.slice(0, 2)) === String(input.shape.slice(0, 2)) && labels?.length;
  return pixels && (output?.name === "classes" ? shape.length === 2 : shape.length === 3 && shape[2] === labels.length);
}

async function main() {
  try {
    await start("./litert/");
  } catch (error) {
    throw new Error(`This browser cannot run the model: ${error?.message ?? error}. Use a current browser.`);
  }
  const { title, files } = await opened();
  document.title = title;
  document.querySelector("h1").textContent = title;
  for (const { refused } of files) if (refused) problem(refused);
  const usable = files.filter(({ refused }) => !refused);
  if (!usable.length) throw new Error("This page can run none of the files.");
  const name = viewOf(usable[0]);
  const alike = usable.filter((file) => viewOf(file) === name);
  const pair = { files: alike.slice(0, 2), changed() {} };
  const view = document.getElementById("view");
  const facts = factsTable(document.getElementById("files"), pair);
  const { show } = await import(VIEWS[name]);
  await show(view, pair, facts);
  if (alike.length > 2) view.before(chooser(alike, pair, facts));
  view.hidden = false;
  say("");
  globalThis.demo = { files, view: name }; // for the console and for tests
  document.body.dataset.state = "ready";
}

main().catch((error) => {
  say("");
  problem(error?.message ?? String(error));
  document.body.dataset.state = "failed";
});
