// View that classifies a picture: drawn by pointer, finger or keyboard, uploaded, or seen by the camera.

import { answers } from "../answer.js";
import { element } from "../parts.js";
import { fitted, known } from "../pictures/fit.js";
import { given, inverted, pixels, show as paint } from "../pictures/image.js";
import { pictureButtons } from "../pictures/source.js";

const SIDE = 280; // larger side of the drawing, in canvas pixels
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HELP = "By keyboard: arrow keys move the pen, the space bar puts it down and lifts it, Delete clears.";

/** Build the view, and classify what is drawn, uploaded or seen. */
export async function show(place, pair, facts) {
  const { about, data } = pair.files[0];
  const { shape } = about.input;
  const square = shape[0] === shape[1] && shape[2] === 1;
  const { panel, ask } = answers(pair, facts);
  const seen = element("canvas", { class: "seen", role: "img", "aria-label": "The model's input" });
  const invert = element("input", { type: "checkbox", change: () => answer() });
  const inverts = element("label", { hidden: true }, invert, " Invert (dark on light)");
  const fit = element("input", { type: "checkbox", checked: square && known(data), change: () => answer() });
  const fits = element("label", { hidden: !fit.checked }, fit, ` Centre and scale drawings as in ${data}`);
  let picture = null; // ImageData of an upload or of the camera; null while drawing

  const { buttons, stop } = pictureButtons(look, async () => {});
  const sheet = drawing(shape, () => {
    stop();
    picture = null;
    inverts.hidden = true;
    return answer();
  });

  /** Return the current picture in the shape of an input, as bytes. */
  function made({ shape, fit: placed }) {
    if (picture) {
      const bytes = pixels(picture, shape, placed);
      return invert.checked ? inverted(bytes) : bytes;
    }
    const drawn = sheet.picture();
    if (!fit.checked) return pixels(drawn, shape);
    return fitted(pixels(drawn, [drawn.height, drawn.width, 1]), drawn.width, shape, data);
  }

  async function answer() {
    if (!picture && sheet.empty()) {
      paint(seen, new Uint8Array(shape.reduce((product, n) => product * n, 1)), shape);
      await ask(null);
      return;
    }
    const start = performance.now();
    const bytes = made(about.input);
    paint(seen, bytes, shape);
    await ask(({ about: { input } }) => given(String(input.shape) === String(shape) ? bytes : made(input), input));
    performance.measure("answer", { start });
  }

  async function look(found) {
    picture = found;
    sheet.put(picture);
    inverts.hidden = false;
    await answer();
  }

  const clear = element("button", { type: "button", click: () => sheet.clear() }, "Clear");
  buttons.prepend(clear);
  buttons.append(fits, inverts);
  const [height, width] = shape;
  const sees = element("p", { class: "sees" }, seen, element("span", {}, `Model input: ${width} × ${height} pixels`));
  const help = element("p", { id: "help", class: "note" }, HELP);
  const title = element("h2", { id: "draw-title" }, "Draw here");
  place.append(element("section", { "aria-labelledby": "draw-title" }, title, sheet.frame, buttons, sees, help), panel);
  pair.changed = answer;
  await answer();
}

/**
 * Return a sheet to draw on, white on black.
 *
 * @param {number[]} shape Model input shape (height, width, channels); the keyboard moves the pen by its pixels.
 * @param {function} changed Function called after every change.
 */
function drawing([height, width], changed) {
  const cell = Math.max(1, Math.round(SIDE / Math.max(height, width)));
  const size = { width: width * cell, height: height * cell };
  const canvas = element("canvas", { ...size, tabindex: "0", role: "application", "aria-describedby": "help" });
  canvas.setAttribute("aria-label", "Drawing area");
  const pen = element("span", { class: "pen", hidden: true });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  let at = [size.width / 2, size.height / 2];
  let down = false;
  let marked = false;
  let upload = false; // whether an upload is shown, which the next drawing replaces

  function wipe() {
    context.fillStyle = "black";
    context.fillRect(0, 0, size.width, size.height);
    Object.assign(context, { strokeStyle: "white", lineCap: "round", lineJoin: "round" });
    context.lineWidth = Math.max(Math.max(size.width, size.height) / 12, 1.2 * cell);
    marked = false;
  }

  function line(from, to) {
    context.beginPath();
    context.moveTo(...from);
    context.lineTo(...to);
    context.stroke();
    marked = true;
  }

  function begin() {
    if (upload) wipe();
    upload = false;
  }

  const point = (event) => {
    const box = canvas.getBoundingClientRect();
    return [((event.clientX - box.left) / box.width) * size.width, ((event.clientY - box.top) / box.height) * size.height];
  };
  const placePen = () => {
    pen.style.left = `${(100 * at[0]) / size.width}%`;
    pen.style.top = `${(100 * at[1]) / size.height}%`;
    pen.classList.toggle("down", down);
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    begin();
    pen.hidden = true;
    down = true;
    at = point(event);
    line(at, at);
    changed();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!down || !canvas.hasPointerCapture(event.pointerId)) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) {
      line(at, point(each));
      at = point(each);
    }
    changed();
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (down = false));

  canvas.addEventListener("keydown", (event) => {
    const arrow = ARROWS[event.key];
    if (!arrow && ![" ", "Delete", "Backspace"].includes(event.key)) return;
    event.preventDefault();
    pen.hidden = false;
    if (event.key === "Delete" || event.key === "Backspace") return clear();
    const before = at;
    if (arrow) {
      const limits = [size.width, size.height];
      at = at.map((value, i) => Math.min(limits[i], Math.max(0, value + arrow[i] * cell)));
    } else {
      down = !down;
      begin();
    }
    placePen();
    if (!down) return;
    line(before, at);
    changed();
  });
  canvas.addEventListener("blur", () => {
    pen.hidden = true;
    down = false;
  });

  function clear() {
    wipe();
    upload = false;
    down = false;
    placePen();
    changed();
  }

  function put(picture) {
    wipe();
    const stored = new OffscreenCanvas(picture.width, picture.height);
    stored.getContext("2d").putImageData(picture, 0, 0);
    const scale = Math.min(size.width / picture.width, size.height / picture.height);
    const [wide, high] = [picture.width * scale, picture.height * scale];
    context.drawImage(stored, (size.width - wide) / 2, (size.height - high) / 2, wide, high);
    upload = true;
  }

  wipe();
  return {
    frame: element("div", { class: "sheet" }, canvas, pen),
    empty: () => !marked,
    picture: () => context.getImageData(0, 0, size.width, size.height),
    clear,
    put,
  };
}
