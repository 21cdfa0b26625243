// Parts of the page that every view has: elements, sentences, the choice of files and the table of what they cost.

const NO_BREAK = "\u00a0"; // the space between a number and its unit

/**
 * Return a new element.
 *
 * @param {string} tag
 * @param {Object} given attributes; a function is a listener, a value of true an attribute without one.
 * @param {...(Node|string)} children
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

/** Show what the page is doing; an empty text hides it. */
export function say(text) {
  const status = document.getElementById("status");
  status.textContent = text;
  status.hidden = !text;
}

/** Show a sentence about what went wrong; it stays. */
export function problem(text) {
  document.getElementById("view").before(element("p", { class: "problem", role: "alert" }, text));
}

/** Return a function that calls another once nothing has called it for a while. */
export function later(call, milliseconds) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...given), milliseconds);
  };
}

/** Return two fields that choose which files are compared. */
export function chooser(files, pair, facts) {
  const field = (place, label) => {
    const options = files.map((file) => element("option", { value: file.name }, file.name));
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

/** Return how sizes are written. */
export function size(bytes) {
  return bytes < 10_000 ? `${bytes.toLocaleString("en")}${NO_BREAK}bytes` : `${(bytes / 1000).toFixed(1)}${NO_BREAK}kB`;
}

/** Return how milliseconds are written. */
export function duration(ms) {
  return ms === undefined ? "…" : `${ms < 10 ? ms.toPrecision(2) : ms.toFixed(0)}${NO_BREAK}ms`;
}

/** Return how a share is written. */
export function percent(share) {
  return `${(100 * share).toFixed(1)}${NO_BREAK}%`;
}

/**
 * Show what each file of a pair costs, a column for each.
 *
 * @returns {{draw: function, time: function}} draw() writes it again; time(key) first measures the last call of each
 *     file's signature.
 */
export function factsTable(section, pair) {
  const rows = {
    "File size": (file, first) =>
      size(file.bytes) + (file === first ? "" : `, ${percent(file.bytes / first.bytes)} of ${first.name}`),
    "One call in this browser": (file) => duration(file.ms),
    "One call in LiteRT for Python": ({ measured }) => measured.latency_ms && duration(measured.latency_ms),
    "Test accuracy, of the file": ({ measured }) => measured.accuracy && percent(measured.accuracy),
    "Nearness to the model's own images": ({ measured }) => measured.psnr && `${measured.psnr.toFixed(1)}${NO_BREAK}dB`,
  };

  function draw() {
    const { files } = pair;
    const head = element("tr", {}, element("td"), ...files.map(({ name }) => element("th", { scope: "col" }, name)));
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
