// View that draws the classes of the pixels of a picture, uploaded or from the camera.

import { element, percent } from "../parts.js";
import { bytesOf, given } from "../pictures/image.js";
import { pictureButtons } from "../pictures/source.js";

const OPACITY = 0.55; // of a mask over its picture, as in zoo/reports/masks.py
const BEHIND = ["background", "0", "void", "none"]; // names of a first class that shows the picture alone

/** Build the view, and draw the masks of what is uploaded or seen. */
export async function show(place, pair, facts) {
  const { about } = pair.files[0];
  const { labels } = about;
  const colours = palette(labels.length);
  const sheets = pair.files.map(() => element("canvas", { role: "img" }));
  const titles = pair.files.map(() => element("figcaption"));
  const figures = element("div", { class: "figures", hidden: true }, ...sheets.map((sheet, i) => element("figure", {}, titles[i], sheet)));
  const body = element("tbody");
  const heads = element("tr");
  let picture = null; // ImageData of the last picture

  async function look(next) {
    picture = next;
    const bytes = bytesOf(picture);
    const found = [];
    for (const file of pair.files) found.push(await classes(file, given(bytes(file.about.input), file.about.input)));
    figures.hidden = false;
    for (const [i, file] of pair.files.entries()) {
      const { input } = file.about;
      paint(sheets[i], bytes(input), found[i], input.shape, colours, labels);
      sheets[i].setAttribute("aria-label", `The picture with the mask of ${file.name}`);
      titles[i].textContent = file.name;
    }
    heads.replaceChildren(element("td"), ...pair.files.map(({ name }) => element("th", { scope: "col" }, name)));
    const shares = found.map((mask) => sharesOf(mask, labels.length));
    body.replaceChildren(...labels.map((label, k) => row(label, colours[k], shares.map((each) => each[k]))));
  }

  const { buttons } = pictureButtons(look, () => facts.time(Object.keys(pair.files[0].signatures)[0]));
  const table = element("table", { class: "marks" }, element("thead", {}, heads), body);
  const [height, width] = about.input.shape;
  const note = element("p", { class: "note" }, `The model sees ${width} × ${height} pixels.`);
  const title = element("h2", { id: "masks-title" }, "Masks");
  place.classList.add("wide");
  place.append(
    element("section", { "aria-labelledby": "masks-title" }, title, buttons, figures, note),
    element("section", { "aria-labelledby": "shares-title" }, element("h2", { id: "shares-title" }, "Share of each class"), table),
  );
  pair.changed = () => picture && look(picture);
}

/** Return the class of each pixel that a file gives: the highest of its scores, or the class itself. */
async function classes(file, values) {
  const [[key, { inputs, outputs }]] = Object.entries(file.signatures);
  const made = (await file.call(key, { [inputs[0].name]: values }))[outputs[0].name];
  if (outputs[0].shape.length === 3) return Uint8Array.from(made);
  const count = outputs[0].shape.at(-1);
  return highest(made, count);
}

/** Return the place of the highest of every `count` numbers, the first of equal ones. */
export function highest(numbers, count) {
  const found = new Uint8Array(numbers.length / count);
  for (let i = 0; i < found.length; i++) {
    for (let k = 1; k < count; k++) if (numbers[i * count + k] > numbers[i * count + found[i]]) found[i] = k;
  }
  return found;
}

/** Return the share of the pixels of each class. */
export function sharesOf(mask, count) {
  const shares = new Array(count).fill(0);
  for (const index of mask) shares[index] += 1 / mask.length;
  return shares;
}

/** Return a colour for each class, those of zoo/reports/masks.py. */
export function palette(count) {
  return Array.from({ length: count }, (_, number) => {
    if (number === 0) return [40, 48, 96];
    const colour = [0, 0, 0];
    for (let bit = 0; bit < 8; bit++) for (let c = 0; c < 3; c++) colour[c] |= ((number >> (3 * bit + c)) & 1) << (7 - bit);
    return colour;
  });
}

function paint(sheet, bytes, mask, [height, width, channels], colours, labels) {
  Object.assign(sheet, { width, height });
  const made = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    const alone = mask[i] === 0 && BEHIND.includes(labels[0].toLowerCase());
    for (let c = 0; c < 3; c++) {
      const own = bytes[i * channels + (channels === 3 ? c : 0)];
      made.data[4 * i + c] = alone ? own : (1 - OPACITY) * own + OPACITY * colours[mask[i]][c];
    }
    made.data[4 * i + 3] = 255;
  }
  sheet.getContext("2d").putImageData(made, 0, 0);
}

function row(label, [red, green, blue], shares) {
  const mark = element("span", { "aria-hidden": "true" }, "■ ");
  mark.style.color = `rgb(${red}, ${green}, ${blue})`;
  const cells = shares.map((share) => element("td", {}, percent(share)));
  return element("tr", {}, element("th", { scope: "row" }, mark, label), ...cells);
}
