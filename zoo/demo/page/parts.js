// Shared parts of the views: elements, messages, the choice of files, and the table of their sizes and latencies.

const NO_BREAK = "\u00a0"; // the space between a number and its unit

/**
 * Return a new element.
 *
 * @param {string} tag Tag name.
 * @param {Object} given Attributes. A function is an event listener, and true an attribute without a value.
 * @param {...(Node|string)} children Child nodes.
 */
export function element(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Show the status of the page; an empty text hides it. */
export function say(text) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.hidden = !text;
}

/** Show a permanent error message, and return its element. */
export function problem(text) {
  const shown = element("p", { class: "problem", role: "alert" }, text);
  document.getElementById("view").before(shown);
  return shown;
}

/** Return a function that shows an error message in place of its last one; without a text it only removes that. */
export function mishaps() {
  let shown;
  return (text) => {
    shown?.remove();
    shown = text ? problem(text) : undefined;
  };
}

/** Return a button that looks like the others and chooses a file, which is given to a function. */
export function upload(text, accept, taken) {
  const take = () => {
    const [file] = choose.files;
    choose.value = ""; // so that the same file can be chosen again
    if (file) taken(file);
  };
  const choose = element("input", { type: "file", accept, id: "choose", change: take });
  return element("span", { class: "upload" }, choose, element("label", { for: "choose", class: "button" }, text));
}

/** Return a slider for a probability with its label, and a function that returns its value. */
export function leastSlider(text, value, changed) {
  const shown = element("output", { for: "least" }, percent(value));
  const moved = () => {
    shown.textContent = percent(Number(slider.value));
    changed();
  };
  const slider = element("input", { type: "range", id: "least", min: "0.05", max: "0.95", step: "0.05", value, input: moved });
  const label = element("label", { for: "least", class: "least" }, `${text} `, slider, " ", shown);
  return { label, least: () => Number(slider.value) };
}

/** Return a debounced version of a function, which runs after a pause without calls. */
export function later(call, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), milliseconds);
  };
}

/** Return two fields that choose the files to compare. */
export function chooser(files, pair, facts) {
  const field = (place, label) => {
    const options = files.map((file) => element("option", { value: file.name, title: file.recipe || file.name }, file.name));
    const changed = () => {
      pair.files[place] = files.find((file) => file.name === select.value);
      facts.draw();
      pair.changed();
    };
    const select = element("select", { change: changed }, ...options);
    select.value = pair.files[place].name;
    return element("label", {}, `${label} `, select);
  };
  return element("div", { class: "chooser" }, field(0, "Compare"), field(1, "with"));
}

/** Return a formatted file size. */
export function size(bytes) {
  return bytes < 10_000 ? `${bytes.toLocaleString("en")}${NO_BREAK}bytes` : `${(bytes / 1000).toFixed(1)}${NO_BREAK}kB`;
}

/** Return a formatted duration in milliseconds. */
export function duration(ms) {
  return ms === undefined ? "…" : `${ms < 10 ? ms.toPrecision(2) : ms.toFixed(0)}${NO_BREAK}ms`;
}

/** Return a formatted duration in seconds. */
export function seconds(s) {
  return `${Number(s.toPrecision(3))}${NO_BREAK}s`;
}

/** Return a share formatted as a percentage. */
export function percent(share) {
  return `${(100 * share).toFixed(1)}${NO_BREAK}%`;
}

/**
 * Show the size, latency and quality of each file of a pair in a table.
 *
 * @returns {{draw: function, time: function}} Functions: draw() redraws the table; time(key) first measures the latency
 *     of a signature in each file.
 */
export function factsTable(section, pair) {
  const rows = {
    "File size": (file, first) =>
      size(file.bytes) + (file === first ? "" : `, ${percent(file.bytes / first.bytes)} of ${first.name}`),
    "One call in this browser": (file) => duration(file.ms),
    "One call in LiteRT for Python": ({ measured }) => measured.latency_ms && duration(measured.latency_ms),
    "Test accuracy of the file": ({ measured }) => measured.accuracy && percent(measured.accuracy),
    "Test mAP@.5 of the file": ({ measured }) => measured.map_50 && percent(measured.map_50),
    "Test mean IoU of the file": ({ measured }) => measured.miou && percent(measured.miou),
    "Flash of a device, besides code": ({ device }) => device.flash_bytes && size(device.flash_bytes),
    "Arena in TFLite Micro": ({ device }) => device.arena_bytes && size(device.arena_bytes),
    "Accelerator": ({ device }) =>
      device.cycles &&
      `${device.target}: ${device.cycles.toLocaleString("en")} cycles, ` +
        `${duration((1000 * device.cycles) / device.clock_hz)} at ${device.clock_hz / 1e6}${NO_BREAK}MHz`,
    "PSNR to the Keras model's images": ({ measured }) => measured.psnr && `${measured.psnr.toFixed(1)}${NO_BREAK}dB`,
  };

  function draw() {
    const { files } = pair;
    const head = element("tr", {}, element("td"), ...files.map(({ name, recipe }) => element("th", { scope: "col", title: recipe || name }, name)));
    const body = Object.entries(rows).flatMap(([name, cell]) => {
      const cells = files.map((file) => cell(file, files[0]));
      if (cells.every((text) => !text)) return [];
      return [element("tr", {}, element("th", { scope: "row" }, name), ...cells.map((t) => element("td", {}, t ?? "")))];
    });
    section.querySelector("table").replaceChildren(element("thead", {}, head), element("tbody", {}, ...body));
    section.hidden = false;
  }

  async function time(key) {
    for (const file of pair.files) if (key in file.signatures) file.ms = await file.timed(key);
    draw();
  }

  draw();
  return { draw, time };
}
