// Panel of a classifier's answers: predicted class and probabilities of each file, and the difference between files.

import { largestDifference, ranked } from "./numbers.js";
import { element, later, percent } from "./parts.js";

const MOST_CLASSES = 10; // rows of the table
const MOST_LETTERS = 14; // letters of a class name in one line
const SPEAK_MS = 700; // delay after the last change before the answer is read out and timed

/**
 * Return the panel of answers.
 *
 * @param {Object} pair Files to compare.
 * @param {Object} facts Table of their sizes and latencies.
 * @returns {{panel: Element, ask: function}} Panel, and a function ask(valuesOf) that runs each file on its valuesOf(file),
 *     shows the answers and returns the probabilities of each file; without a function it shows an empty panel.
 */
export function answers(pair, facts) {
  const heads = element("div", { class: "heads" });
  const body = element("tbody");
  const columns = element("tr");
  const note = element("p", { class: "note" });
  const spoken = element("p", { class: "spoken", role: "status" });
  const caption = element("caption", { class: "spoken" }, "Probability of each class");
  const { labels } = pair.files[0].about;
  const names = element("col");
  names.style.width = `${Math.min(MOST_LETTERS, Math.max(...labels.map((label) => label.length))) + 2}ch`;
  const table = element("table", { class: "bars" }, caption, names, element("thead", {}, columns), body);
  const title = element("h2", { id: "answer-title" }, "The answer");
  const panel = element("section", { "aria-labelledby": "answer-title" }, title, heads, table, note, spoken);
  const settle = later(async (text) => {
    spoken.textContent = text;
    await facts.time(keyOf(pair.files[0]));
  }, SPEAK_MS);

  async function ask(valuesOf) {
    const { files } = pair;
    const found = [];
    for (const file of valuesOf ? files : []) found.push(await probabilities(file, valuesOf(file)));
    const best = found.map((p) => ranked(p)[0]);
    heads.replaceChildren(...files.map((file, i) => headline(file, labels[best[i]], found[i]?.[best[i]])));
    columns.replaceChildren(element("td"), ...files.map(({ name }) => element("th", { scope: "col" }, name)));
    const shown = found.length ? ranked(found[0]).slice(0, MOST_CLASSES) : [...labels.keys()].slice(0, MOST_CLASSES);
    const order = labels.length > MOST_CLASSES ? shown : shown.sort((a, b) => a - b);
    const row = (i) => [element("th", { scope: "row" }, labels[i]), ...files.map((_, k) => bar(found[k]?.[i], i === best[k]))];
    body.replaceChildren(...order.map((i) => element("tr", {}, ...row(i))));
    note.textContent = valuesOf ? apart(files, found) : "";
    if (valuesOf) settle(files.map((file, i) => `${file.name}: ${labels[best[i]]}, ${percent(found[i][best[i]])}.`).join(" "));
    return found;
  }

  return { panel, ask };
}

function keyOf(file) {
  return Object.keys(file.signatures)[0];
}

/** Return the probability of each label that a file gives for one input. */
export async function probabilities(file, values) {
  const [[key, { inputs, outputs }]] = Object.entries(file.signatures);
  const made = await file.call(key, { [inputs[0].name]: values });
  return made[outputs[0].name].slice(0, file.about.labels.length); // first example of the batch
}

function headline({ name }, label, probability) {
  const value = element("strong", {}, label ?? "–");
  const share = element("span", {}, probability === undefined ? "" : percent(probability));
  return element("p", { class: "head" }, element("span", { class: "name" }, name), value, share);
}

function bar(probability, best) {
  const fill = element("span", { class: "fill", "aria-hidden": "true" });
  fill.style.width = `${100 * (probability ?? 0)}%`;
  const text = element("span", { class: "share" }, probability === undefined ? "" : percent(probability));
  const cell = element("div", { class: best ? "cell best" : "cell" }, element("span", { class: "track" }, fill), text);
  return element("td", {}, cell);
}

/** Return a sentence with the largest difference between two files, and the quantization step of the coarser one. */
function apart(files, found) {
  if (files.length < 2) return "";
  const points = (share) => (100 * share).toFixed(share < 0.0005 ? 3 : 1);
  const steps = files.map((file) => Object.values(file.signatures)[0].outputs[0].scale ?? 0);
  const coarser = steps[1] > steps[0] ? 1 : 0;
  const step = steps[coarser] ? ` One quantization step of ${files[coarser].name} is ${points(steps[coarser])} points.` : "";
  return `Largest difference between the two: ${points(largestDifference(...found))} percentage points.${step}`;
}
