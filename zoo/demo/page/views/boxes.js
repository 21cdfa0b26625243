// View that draws boxes around the objects of a picture, uploaded or from the camera.

import { matched, ranked } from "../numbers.js";
import { element, later, leastSlider, percent } from "../parts.js";
import { colour, detected, overlap, placed } from "../pictures/detections.js";
import { bytesOf, given } from "../pictures/image.js";
import { pictureButtons } from "../pictures/source.js";

const LEAST = 0.3; // lowest score that is shown at first, as by zoo.predict
const ALIKE = 0.5; // overlap from which boxes of two files are the same object
const LETTERS = 13; // height of letters and width of lines, in pixels of the page
const LINES = 2;
const ROOM = 220; // width of a picture in pixels of the page from which labels are written into it
const MOST_ROWS = 20; // objects in the table
const SPEAK_MS = 700; // delay after the last change before the answer is read out

/** Build the view, and find the objects of what is uploaded or seen. */
export async function show(place, pair, facts) {
  const { about } = pair.files[0];
  const { labels } = about;
  const sheets = pair.files.map(() => element("canvas", { role: "img" }));
  const heads = pair.files.map(() => element("figcaption", { class: "head" }));
  const figures = element("div", { class: "figures", hidden: true }, ...sheets.map((sheet, i) => element("figure", {}, heads[i], sheet)));
  const columns = element("tr");
  const body = element("tbody");
  const rest = element("p", { class: "note" });
  const spoken = element("p", { class: "spoken", role: "status" });
  const speak = later((text) => (spoken.textContent = text), SPEAK_MS);
  let picture = null; // ImageData of the last picture
  let outputs = []; // what each file made of it
  const { label, least } = leastSlider("Least score", LEAST, draw);

  async function look(next) {
    picture = next;
    const bytes = bytesOf(picture);
    const made = [];
    for (const file of pair.files) made.push(await called(file, given(bytes(file.about.input), file.about.input)));
    outputs = made;
    draw();
  }

  function draw() {
    if (!outputs.length) return;
    const found = pair.files.map((file, i) => (file.last.objects = placed(detected(outputs[i], file.about, least()), file.about, picture)));
    figures.hidden = objects.hidden = false;
    for (const [i, { name }] of pair.files.entries()) {
      heads[i].replaceChildren(...headline(name, found[i], labels));
      sheets[i].setAttribute("aria-label", `The picture with the boxes of ${name}`);
      paint(sheets[i], picture, found[i], labels);
    }
    columns.replaceChildren(element("td"), ...pair.files.map(({ name }) => element("th", { scope: "col" }, name)));
    const alike = (a, b) => (a.kind === b.kind ? overlap(a.box, b.box) - ALIKE : -1);
    const rows = matched(found, alike).slice(0, MOST_ROWS);
    body.replaceChildren(...rows.map((row) => objectRow(row.slice(0, pair.files.length), labels)));
    const more = Math.max(...found.map(({ length }) => length)) - MOST_ROWS;
    rest.textContent = more > 0 ? `and ${more} more` : "";
    speak(pair.files.map(({ name }, i) => `${name}: ${countsOf(found[i], labels)}.`).join(" "));
  }

  const { buttons } = pictureButtons(look, () => facts.time(Object.keys(pair.files[0].signatures)[0]));
  const [height, width] = about.input.shape;
  const note = element("p", { class: "note" }, `The model sees ${width} × ${height} pixels.`);
  const title = element("h2", { id: "boxes-title" }, "Boxes around objects");
  const table = element("table", { class: "marks" }, element("thead", {}, columns), body);
  const parts = [element("h2", { id: "found-title" }, "The objects"), label, table, rest, spoken];
  const objects = element("section", { "aria-labelledby": "found-title", hidden: true }, ...parts);
  place.classList.add("wide");
  place.append(element("section", { "aria-labelledby": "boxes-title" }, title, buttons, figures, note), objects);
  pair.changed = () => picture && look(picture);
}

/** Return the outputs of a file by name. */
function called(file, values) {
  const [[key, { inputs }]] = Object.entries(file.signatures);
  return file.call(key, { [inputs[0].name]: values });
}

function headline(name, objects, labels) {
  const many = `${objects.length} ${objects.length === 1 ? "object" : "objects"}`;
  const parts = [["span", { class: "name" }, name], ["strong", {}, many], ["span", {}, countsOf(objects, labels)]];
  return parts.map((part) => element(...part));
}

/** Return how many objects of each class there are, in words. */
function countsOf(objects, labels) {
  const counts = labels.map((_, kind) => objects.filter((one) => one.kind === kind).length);
  return ranked(counts).filter((kind) => counts[kind]).map((kind) => `${counts[kind]} ${labels[kind]}`).join(", ");
}

function objectRow(row, labels) {
  const { kind } = row.find(Boolean);
  const mark = element("span", { "aria-hidden": "true" }, "■ ");
  mark.style.color = `rgb(${colour(kind)})`;
  const cells = row.map((one) => element("td", {}, one ? percent(one.score) : "–"));
  return element("tr", {}, element("th", { scope: "row" }, mark, labels[kind]), ...cells);
}

/** Draw a picture with boxes, and with their labels where there is room. */
function paint(sheet, picture, objects, labels) {
  const shown = sheet.clientWidth || picture.width;
  const dots = globalThis.devicePixelRatio || 1;
  const size = Math.min(1, (shown * dots) / picture.width); // of the drawing to the picture
  const unit = Math.max(1, (picture.width * size) / shown); // pixels of the drawing in one of the page
  Object.assign(sheet, { width: Math.round(picture.width * size), height: Math.round(picture.height * size) });
  const stored = new OffscreenCanvas(picture.width, picture.height);
  stored.getContext("2d").putImageData(picture, 0, 0);
  const context = sheet.getContext("2d");
  context.drawImage(stored, 0, 0, sheet.width, sheet.height);
  context.font = `${LETTERS * unit}px system-ui, sans-serif`;
  context.textBaseline = "top";
  context.lineWidth = LINES * unit;
  for (const { kind, score, box } of [...objects].reverse()) {
    const [x1, y1, x2, y2] = box.map((side) => side * size);
    const paintOf = colour(kind);
    context.strokeStyle = context.fillStyle = `rgb(${paintOf})`;
    context.strokeRect(x1, y1, x2 - x1, y2 - y1);
    if (shown < ROOM) continue;
    const text = `${labels[kind]} ${score.toFixed(2)}`;
    const high = (LETTERS + 4) * unit;
    const top = y1 >= high ? y1 - high : y1;
    context.fillRect(x1, top, context.measureText(text).width + 4 * unit, high);
    context.fillStyle = ink(paintOf);
    context.fillText(text, x1 + 2 * unit, top + 2 * unit);
  }
}

/** Return black or white, whichever is read better on a colour. */
function ink([red, green, blue]) {
  return 0.299 * red + 0.587 * green + 0.114 * blue > 140 ? "black" : "white";
}
