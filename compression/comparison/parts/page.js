"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const NS = "http://www.w3.org/2000/svg", by = (id) => document.getElementById(id);
const files = data.files;
let chosen = 0;

const COSTS = {
  bytes: ["file size, bytes", (f) => f.bytes],
  gzip_bytes: ["gzipped file size, bytes", (f) => f.gzip_bytes],
  latency: ["median latency on one thread, ms", (f) => (f.latency.find((row) => row.threads === 1) || {}).median_ms],
  arena: ["arena in TFLite Micro, bytes", (f) => f.device.arena_bytes],
  cycles: ["cycles on the accelerator", (f) => f.device.cycles],
};

function node(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.filter((child) => child != null));
  return made;
}
function draw(svg, name, attributes, text) {
  const made = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text != null) made.textContent = text;
  svg.append(made);
  return made;
}
function canvas(width, height, label) {
  const svg = document.createElementNS(NS, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", label);
  return svg;
}
const count = (value) => (value == null ? "" : Math.round(value).toLocaleString("en"));
const ms = (value) => (value == null ? "" : value < 10 ? value.toPrecision(2) : value.toFixed(0));
function score(row, value = row.value) {
  if (value == null) return "";
  return row.percent ? `${(100 * value).toFixed(2)} %` : Number(value.toPrecision(4)).toLocaleString("en");
}
const scoreOf = (file, name) => file.scores.find((row) => row.name === name);

function setUp() {
  const first = files.find((f) => f.scores.length) || files[0];
  const names = first.scores.map((row) => row.name);
  by("score").replaceChildren(...first.scores.map((row) => node("option", { value: row.name }, row.label)));
  by("score").parentElement.hidden = !names.length;
  for (const [key, [title, cost]] of Object.entries(COSTS))
    if (files.some((f) => cost(f) != null)) by("cost").append(node("option", { value: key }, title));
  by("file").replaceChildren(...files.map((f, i) => node("option", { value: i }, f.name)));
  const counts = [...new Set(files.map((f) => f.examples).filter(Boolean))].sort((a, b) => a - b);
  const tested = counts.length ? `, measured on ${counts.map(count).join(" or ")} test examples` : "";
  const sets = [...new Set(files.map((f) => f.data).filter(Boolean))];
  by("sub").textContent =
    `${files.length} file${files.length > 1 ? "s" : ""} on ${sets.join(", ") || "the data of the model"}${tested}. ` +
    `Every number is measured on the file. Latency: ${[...new Set(files.map((f) => f.processor))].join(", ")}.`;
  by("left").textContent = data.left_out.length ? `Left out: ${data.left_out.join("; ")}.` : "";
  by("score").addEventListener("change", drawAll);
  by("cost").addEventListener("change", drawFront);
  by("file").addEventListener("change", () => choose(+by("file").value));
  const best = files.reduce((at, f, i) => (f.bytes < files[at].bytes ? i : at), 0);
  choose(best);
}

function drawAll() {
  drawFront();
  drawTable();
  drawFile();
}

function ticks(low, high, steps = 5) {
  const raw = (high - low) / steps || 1, power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw), found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + 1e-12; v += step) found.push(v);
  return found;
}
function powers(low, high) {
  const found = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.log10(high); p++)
    for (const m of [1, 2, 5]) if (m * 10 ** p >= low && m * 10 ** p <= high) found.push(m * 10 ** p);
  return found;
}

function drawFront() {
  const name = by("score").value, [title, cost] = COSTS[by("cost").value];
  const shown = files.filter((f) => scoreOf(f, name) && cost(f) > 0);
  if (!shown.length) return by("front").replaceChildren(node("p", { class: "soft" }, "No file has both measurements."));
  const W = Math.max(300, by("front").clientWidth), wide = W > 640, H = wide ? 400 : 340, L = wide ? 74 : 60, R = 14, T = 16, B = 46;
  const row = scoreOf(shown[0], name), less = row.less_is_better;
  const ends = shown.flatMap((f) => [...(scoreOf(f, name).interval || []), scoreOf(f, name).value, scoreOf(f, name).keras]);
  let low = Math.min(...ends.filter((v) => v != null)), high = Math.max(...ends.filter((v) => v != null));
  const pad = (high - low) * 0.08 || Math.abs(high) * 0.02 || 1;
  [low, high] = [low - pad, high + pad];
  // The model before any training of a recipe; its weights in float32 stand for a file in float32 that was not made.
  const plain = shown.filter((f) => !f.stages.length && scoreOf(f, name).keras != null), weights = [...new Set(plain.map((f) => f.weights_in_float32))];
  const keras = [...new Set(plain.map((f) => scoreOf(f, name).keras))]; // files of several models have no common line
  const float = by("cost").value === "bytes" && weights.length === 1 && keras.length === 1 && !shown.some((f) => f.recipe === data.references[0]) ? weights[0] : null;
  const xs = [...shown.map(cost), ...(float ? [float] : [])], x0 = Math.min(...xs) / 1.25, x1 = Math.max(...xs) * 1.4;
  const x = (v) => L + ((W - L - R) * Math.log(v / x0)) / Math.log(x1 / x0);
  const y = (v) => H - B - ((H - T - B) * (v - low)) / (high - low);
  const svg = canvas(W, H, `${row.label} against ${title}, one mark for each file`);
  let last = -Infinity;
  for (const v of powers(x0, x1)) {
    draw(svg, "line", { class: "grid", x1: x(v), x2: x(v), y1: T, y2: H - B });
    if (x(v) - last < 42) continue; // numbers that would touch
    last = x(v);
    draw(svg, "text", { x: x(v), y: H - B + 17, "text-anchor": "middle" }, v >= 1e6 ? `${v / 1e6}M` : v >= 1000 ? `${v / 1000}k` : +v.toPrecision(2));
  }
  for (const v of ticks(low, high)) {
    draw(svg, "line", { class: "grid", x1: L, x2: W - R, y1: y(v), y2: y(v) });
    draw(svg, "text", { x: L - 8, y: y(v) + 4, "text-anchor": "end" }, score(row, v));
  }
  draw(svg, "text", { x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle" }, `${title} (logarithmic)`);
  if (keras.length === 1) {
    draw(svg, "line", { class: "keras", x1: L, x2: W - R, y1: y(keras[0]), y2: y(keras[0]) });
  }
  const taken = [], wideOf = (text) => 6.6 * text.length;
  // Names that would lie on each other, or on marks, are moved apart.
  const label = (kind, text, cx, cy) => {
    const room = wideOf(text), right = cx + 12 + room < W - 2, left = right ? cx + 11 : Math.max(2, cx - 11 - room);
    const free = (top) => top > 12 && top < H - B && !taken.some(([a, b, c]) => left < b && left + room > a && Math.abs(c - top) < 14);
    const top = [-9, 17, -23, 31, -37, 45, -51, 59].map((by) => cy + by).find(free) ?? cy - 9;
    taken.push([left, left + room, top]);
    draw(svg, "text", { class: kind, x: left, y: top }, text);
  };
  for (const f of shown) taken.push([x(cost(f)) - 7, x(cost(f)) + 7, y(scoreOf(f, name).value) + 4]);
  if (keras.length === 1 && !float) {
    const text = `Keras ${score(row, keras[0])}`, ends = xs.map(x), free = [L + 4, W - R - wideOf(text)].find((at) => !ends.some((end) => end > at - 12 && end < at + wideOf(text) + 12));
    const at = free ?? W - R - wideOf(text), top = y(keras[0]) - 5;
    draw(svg, "text", { x: at, y: top }, text);
    taken.push([at, at + wideOf(text), top]);
  }
  if (float) {
    const mark = draw(svg, "rect", { class: "reference", x: x(float) - 6, y: y(keras[0]) - 6, width: 12, height: 12, tabindex: 0, role: "img",
      "aria-label": `model in Keras: ${row.label} ${score(row, keras[0])}, weights in float32 ${count(float)} bytes` });
    draw(mark, "title", {}, mark.getAttribute("aria-label"));
    label("", `Keras ${score(row, keras[0])}, float32`, x(float), y(keras[0]));
  }
  const better = (a, b) => (less ? a <= b : a >= b), value = (f) => scoreOf(f, name).value;
  const front = shown.filter((f) => !shown.some((o) => o !== f && cost(o) <= cost(f) && better(value(o), value(f)) &&
    (cost(o) < cost(f) || value(o) !== value(f))));
  const line = [...front].sort((a, b) => cost(a) - cost(b));
  draw(svg, "path", { class: "step", d: line.map((f, i) => (i ? `H${x(cost(f))}V${y(value(f))}` : `M${x(cost(f))} ${y(value(f))}`)).join("") });
  for (const f of [...shown].sort((a, b) => cost(a) - cost(b))) {
    const found = scoreOf(f, name), at = files.indexOf(f), cx = x(cost(f));
    if (found.interval) draw(svg, "line", { class: "bar", x1: cx, x2: cx, y1: y(found.interval[0]), y2: y(found.interval[1]) });
    const text = `${f.name}: ${found.label} ${score(found)}${found.interval ? `, 95 % interval ${score(found, found.interval[0])} to ${score(found, found.interval[1])}` : ""}, ${title} ${cost(f) < 100 ? ms(cost(f)) : count(cost(f))}`;
    const square = data.references.includes(f.recipe);
    const shape = square
      ? { x: cx - 6, y: y(found.value) - 6, width: 12, height: 12 }
      : { cx, cy: y(found.value), r: 6.5 };
    const mark = draw(svg, square ? "rect" : "circle", {
      class: `mark${front.includes(f) ? " front" : ""}${at === chosen ? " chosen" : ""}`, tabindex: 0, role: "button",
      "aria-label": text, "aria-pressed": at === chosen, ...shape,
    });
    draw(mark, "title", {}, text);
    const longest = wide ? 34 : 20;
    label("name", f.name.length > longest ? `${f.name.slice(0, longest - 1)}…` : f.name, cx, y(found.value));
    mark.addEventListener("click", () => choose(at));
    mark.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(at, true); }
    });
  }
  by("front").replaceChildren(svg);
}

function drawTable() {
  const name = by("score").value, any = (test) => files.some(test);
  const columns = [
    ["file", "", (f, i) => { const b = node("button", { type: "button", title: f.recipe }, f.name); b.addEventListener("click", () => choose(i, true)); return b; }],
    ["bytes", "n", (f) => count(f.bytes)],
    ["gzip", "n", (f) => count(f.gzip_bytes)],
    ["times smaller", "n", (f) => (f.weights_in_float32 / f.bytes).toFixed(1)],
    ...(any((f) => scoreOf(f, name)) ? [
      [scoreOf(files.find((f) => scoreOf(f, name)), name).label, "n", (f) => { const s = scoreOf(f, name); return s ? score(s) : f.not_run ? "not run" : ""; }],
      ["95 % interval", "n", (f) => { const s = scoreOf(f, name); return s && s.interval ? `${score(s, s.interval[0]).replace(" %", "")} to ${score(s, s.interval[1])}` : ""; }],
      ["Keras", "n", (f) => { const s = scoreOf(f, name); return s ? score(s, s.keras) : ""; }]] : []),
    ...(any((f) => f.parity.same_answer != null) ? [["same answers", "n", (f) => (f.parity.same_answer == null ? "" : `${(100 * f.parity.same_answer).toFixed(1)} %`)]] : []),
    ["largest difference", "n", (f) => (f.parity.largest_difference == null ? "" : f.parity.largest_difference.toExponential(1))],
    ["ms", "n", (f) => ms(COSTS.latency[1](f))],
    ...(any((f) => f.device.arena_bytes) ? [["arena", "n", (f) => count(f.device.arena_bytes)]] : []),
    ...(any((f) => f.device.cycles) ? [["cycles", "n", (f) => count(f.device.cycles)]] : []),
  ];
  const head = node("tr", {}, ...columns.map(([title, kind]) => node("th", { scope: "col", class: kind }, title)));
  const rows = files.map((f, i) => node("tr", i === chosen ? { class: "chosen" } : {}, ...columns.map(([, kind, cell]) => node("td", { class: kind }, cell(f, i)))));
  by("files").replaceChildren(node("thead", {}, head), node("tbody", {}, ...rows));
}

function bars(rows, label) {
  const most = Math.max(...rows.map(([, value]) => value), 1e-12), box = node("div", { class: "rows", role: "list", "aria-label": label });
  for (const [who, value, text, title] of rows) {
    const share = `${(100 * value) / most}%`, bar = node("b", { style: `width:${share}`, role: "presentation" });
    box.append(node("span", { class: "who", role: "listitem", title: title || who, "aria-label": `${who}: ${text}` }, who), node("span", {}, bar), node("span", { class: "val", "aria-hidden": "true" }, text));
  }
  return box;
}
function more(rows, most) {
  return rows.length > most ? [node("p", { class: "soft" }, `${rows.length - most} smaller ones are not shown.`)] : [];
}

function drawFile() {
  const f = files[chosen], whole = f.bytes;
  by("file").value = chosen;
  const floats = Object.entries(f.float_operators).map(([name, n]) => `${n} ${name}`).join(", ");
  by("about").textContent = [
    `${f.file}, recipe ${f.recipe}`, `operators: ${Object.entries(f.operators).map(([name, n]) => `${n} ${name}`).join(", ")}`,
    floats && `computed in float: ${floats}`, f.not_run && `not run: ${f.not_run}`, f.device.refused].filter(Boolean).join(". ") + ".";
  const held = f.layers.reduce((sum, row) => sum + row.bytes, 0);
  const layers = [...f.layers.map((r) => [r.layer, r.bytes, `${count(r.bytes)} · ${(100 * r.bytes / whole).toFixed(1)} %`, `${r.types.join(", ")}${r.elements ? `, ${(100 * r.zeros / r.elements).toFixed(1)} % zeros` : ""}`]), ["graph and names", whole - held, `${count(whole - held)} · ${(100 * (whole - held) / whole).toFixed(1)} %`]].sort((a, b) => b[1] - a[1]);
  by("bytes").replaceChildren(bars(layers.slice(0, 14), "bytes by layer"), ...more(layers, 14));
  const calls = f.latency.map((r) => [`${r.signature ? `${r.signature}, ` : ""}${r.threads} thread${r.threads > 1 ? "s" : ""}`, r.median_ms, `${r.median_ms.toFixed(3)} ms, p95 ${r.p95_ms.toFixed(3)}`]);
  const slower = f.latency.length === 2 && f.latency[1].median_ms > f.latency[0].median_ms;
  by("latency").replaceChildren(calls.length ? bars(calls, "latency by threads") : node("p", { class: "soft" }, "Not measured."),
    ...(slower ? [node("p", { class: "soft" }, "More threads are slower here: sharing so little work costs more than it saves.")] : []));
  by("cycles-box").hidden = !f.cycles.length;
  by("cycles-title").textContent = `Cycles by layer on ${f.device.target}`;
  const cycles = f.cycles.map((r) => [r.layer, r.cycles, count(r.cycles), r.operators.join(", ")]).sort((a, b) => b[1] - a[1]);
  if (cycles.length) by("cycles").replaceChildren(bars(cycles.slice(0, 14), "cycles by layer"), ...more(cycles, 14));
  by("stages-box").hidden = f.stages.length < 2;
  if (f.stages.length > 1) drawStages(f);
  drawErrors(f);
  drawChanged(f);
  by("weights-box").hidden = !f.weights.length;
  by("weights").replaceChildren(...f.weights.map(histogram));
  by("graph-box").hidden = !f.graph.length;
  if (f.graph.length) drawGraph(f);
}

const percent = (value) => (value && value < 1e-4 ? `${(100 * value).toExponential(1)} %` : `${(100 * value).toFixed(2)} %`);
const decibels = (error) => (error ? `${(-20 * Math.log10(error)).toFixed(0)} dB` : "exact");
function table(heads, rows) {
  const cells = (row, name) => row.map((cell, i) => node(name, { class: heads[i][1], ...(name === "th" ? { scope: "col" } : {}) }, cell));
  return node("div", { class: "scroll", tabindex: 0, role: "group" }, node("table", {}, node("thead", {}, node("tr", {}, ...cells(heads.map(([title]) => title), "th"))),
    node("tbody", {}, ...rows.map((row) => node("tr", {}, ...cells(row, "td"))))));
}

function drawErrors(f) {
  by("errors-box").hidden = !f.errors;
  if (!f.errors) return;
  if (f.errors.left_out || !f.errors.layers.length) {
    by("errors-about").textContent = `Not measured: ${f.errors.left_out || "no operator has the name of a layer"}.`;
    return by("errors").replaceChildren();
  }
  const named = (row) => (row.to ? `${row.layer} to ${row.to}` : row.layer), worst = [...f.errors.layers].sort((a, b) => b.own_error - a.own_error);
  const above = worst.filter((row) => row.own_error > 1e-5).slice(0, 3).map(named);
  by("errors-about").textContent =
    `Each layer of the file against the same layer in float32, on ${f.errors.examples} examples: root-mean-square of the difference, relative to the output. ` +
    "The bars are the error of the layer alone, given what the file gives to it. " +
    (above.length ? `Worst: ${above.join(", ")}. ` : "No layer differs by more than rounding in float32. ") +
    (f.errors.unmatched ? `Not compared, because they are inside a layer or change shapes and types: ${f.errors.unmatched} of the operators.` : "");
  const shown = worst.filter((row) => row.own_error > (above.length ? 1e-6 : 0)), rows = shown.slice(0, 14).map((row) => [named(row), row.own_error, `${percent(row.own_error)} · ${decibels(row.own_error)}`,
    `${row.operator}: ${percent(row.own_error)} of this layer, ${percent(row.error)} with all before it`]);
  const all = f.errors.layers.map((row) => [named(row), row.operator, percent(row.own_error), decibels(row.own_error), percent(row.error), decibels(row.error)]);
  const heads = [["layer", "who"], ["operator", ""], ["alone", "n"], ["", "n"], ["with all before it", "n"], ["", "n"]];
  by("errors").replaceChildren(bars(rows, "error by layer, the worst first"), ...more(shown, 14),
    node("details", {}, node("summary", {}, `All ${all.length} layers in the order of the file`), table(heads, all)));
}

function drawChanged(f) {
  by("changed-box").hidden = !f.changed;
  if (!f.changed) return;
  const c = f.changed, sure = ([name, p]) => `${name} (${(100 * p).toFixed(1)} %)`;
  by("changed-about").textContent = c.changed
    ? `The file answers ${count(c.changed)} of ${count(c.examples)} test examples otherwise than the trained model: ${count(c.lost)} were right and are wrong now, ` +
      `${count(c.gained)} were wrong and are right now, ${count(c.changed - c.lost - c.gained)} are wrong before and after. ` +
      (c.rows.length < c.changed ? `These ${c.rows.length} lost most of the probability of their true class.` : "The first lost most of the probability of its true class.")
    : `The file answers all ${count(c.examples)} test examples as the trained model does.`;
  const words = { lost: "right before, wrong now", gained: "wrong before, right now", wrong: "wrong before and after" };
  const pictures = c.rows.length && c.rows.every((row) => row.picture), texts = c.rows.some((row) => row.text);
  if (pictures)
    return by("changed").replaceChildren(node("ul", { class: "pictures" }, ...c.rows.map((row) => node("li", {}, node("figure", {},
      node("img", { src: row.picture, alt: `test example ${row.index} of class ${row.true}` }),
      node("figcaption", {}, node("b", {}, row.true), ` · ${words[row.change]}`, node("br"), `model: ${sure(row.before)}`, node("br"), `file: ${sure(row.now)}`, node("br"), `test ${row.index}`))))));
  const heads = [["test", "n"], ["true class", "who"], ["model", "who"], ["file", "who"], ["", ""], ...(texts ? [["text as tokens", "recipe"]] : [])];
  const rows = c.rows.map((row) => [row.index, row.true, sure(row.before), sure(row.now), words[row.change], ...(texts ? [row.text || ""] : [])]);
  by("changed").replaceChildren(...(rows.length ? [table(heads, rows)] : []));
}

const difference = (row, value) => `${value < 0 ? "−" : "+"}${row.percent ? `${(100 * Math.abs(value)).toFixed(2)} points` : Number(Math.abs(value).toPrecision(3))}`;
function drawStages(f) {
  const row = f.scores[0], most = Math.max(...f.stages.map((s) => s.bytes)), box = node("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": "stages of the recipe" });
  const bar = (value, kind) => node("td", { class: "n" }, node("div", {}, count(value)), node("div", { class: `meter ${kind}` }, node("i", { style: `width:${(100 * value) / most}%`, title: `${count(value)} bytes` })));
  const lines = f.stages.map((s, i) => node("tr", {}, node("td", {}, node("code", {}, s.stage)), bar(s.bytes, ""), bar(s.gzip_bytes, "gzip"),
    node("td", { class: "n" }, row ? score(row, s.score) : "", ...(row && i && s.score != null ? [node("div", { class: "soft" }, difference(row, s.score - f.stages[i - 1].score))] : []))));
  const heads = ["after", "bytes", "gzip", row ? row.label : ""].map((title, i) => node("th", { scope: "col", class: i ? "n" : "" }, title));
  box.append(node("table", { class: "stages" }, node("thead", {}, node("tr", {}, ...heads)), node("tbody", {}, ...lines)));
  by("stages").replaceChildren(box);
}

function histogram(row) {
  const W = 210, H = 84, n = row.after.length, middle = (n - 1) / 2, cut = row.zeros > 0.3;
  const others = [...row.after.filter((_, i) => i !== middle), ...(row.before || [])];
  const most = cut ? 1.15 * Math.max(...others, 1e-9) : Math.max(...row.after, ...(row.before || [0]));
  const about = `${row.layer}: ${count(row.distinct)} distinct values, ${(100 * row.zeros).toFixed(1)} % zeros${cut ? " (their bar is cut)" : ""}`;
  const svg = canvas(W, H, `histogram of the weights of ${about}`), y = (v) => H - 14 - ((H - 18) * Math.min(v, most)) / most;
  svg.setAttribute("role", "img");
  row.after.forEach((v, i) => draw(svg, "rect", { class: "after", x: (W * i) / n, width: W / n - 0.5, y: y(v), height: H - 14 - y(v) }));
  if (row.before) draw(svg, "path", { class: "before", d: row.before.map((v, i) => `${i ? "L" : "M"}${(W * (i + 0.5)) / n} ${y(v)}`).join("") });
  for (const [at, value, anchor] of [[0, -row.most, "start"], [W / 2, 0, "middle"], [W, row.most, "end"]])
    draw(svg, "text", { x: at, y: H - 1, "text-anchor": anchor }, +value.toPrecision(2));
  return node("figure", {}, svg, node("figcaption", {}, `${about}${row.before ? "; line: in float32" : ""}`));
}

let scale = 1;
function drawGraph(f) {
  const depth = [], columns = [], places = [], WIDE = 210, HIGH = 74;
  f.graph.forEach((op, i) => {
    depth[i] = op.takes.length ? 1 + Math.max(...op.takes.map((t) => depth[t])) : 0;
    columns[depth[i]] = (columns[depth[i]] || 0) + 1;
    places[i] = columns[depth[i]] - 1;
  });
  const W = 20 + WIDE * Math.max(...columns), H = 20 + HIGH * columns.length;
  const svg = canvas(W, H, "operators from the input at the top to the output"), at = (i) => [10 + WIDE * places[i], 10 + HIGH * depth[i]];
  svg.setAttribute("width", W * scale);
  svg.style.margin = "0 auto";
  f.graph.forEach((op, i) => {
    const [x, y] = at(i);
    for (const t of op.takes) {
      const [a, b] = at(t);
      draw(svg, "path", { class: "edge", d: `M${a + 95} ${b + 50}C${a + 95} ${b + 66} ${x + 95} ${y - 14} ${x + 95} ${y}` });
    }
  });
  f.graph.forEach((op, i) => {
    const [x, y] = at(i), shape = op.shape.join("×") || "scalar", kind = op.type.startsWith("float") ? "f" : "i";
    const box = draw(svg, "rect", { class: `op ${kind}`, x, y, width: 190, height: 50, rx: 6 });
    draw(box, "title", {}, `${op.operator}, layer ${op.layer}: ${op.type} ${shape}`);
    draw(svg, "text", { class: "name", x: x + 8, y: y + 17 }, op.operator.length > 25 ? `${op.operator.slice(0, 24)}…` : op.operator);
    draw(svg, "text", { x: x + 8, y: y + 31 }, op.layer.length > 28 ? `…${op.layer.slice(-27)}` : op.layer);
    draw(svg, "text", { x: x + 8, y: y + 44 }, `${op.type} ${shape}`);
  });
  by("graph").replaceChildren(svg);
  const zoom = (factor) => { scale = Math.min(3, Math.max(0.2, scale * factor)); svg.setAttribute("width", W * scale); };
  by("closer").onclick = () => zoom(1.25);
  by("farther").onclick = () => zoom(0.8);
}

function choose(index, show = false) {
  chosen = index;
  const marked = document.activeElement?.classList.contains("mark"), named = document.activeElement?.closest?.("#files");
  drawAll(); // makes the marks and rows anew, of which one had the focus
  if (marked) document.querySelector(".mark.chosen")?.focus({ preventScroll: true });
  else if (named) document.querySelector("#files tr.chosen button")?.focus({ preventScroll: true });
  if (show) by("h-one").scrollIntoView({ behavior: "smooth", block: "start" });
}
let width = 0;
addEventListener("resize", () => { if (by("front").clientWidth !== width) { width = by("front").clientWidth; drawFront(); } });
setUp();
