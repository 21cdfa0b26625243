"""Render search.html: a self-contained page with every file of a search and the command that reproduces it."""

import html
import json
from collections.abc import Mapping
from typing import Any

from compression.searching.budget import LIMITS
from compression.searching.wording import ON_DEVICE, searched
from zoo.console.figures import form_of

# Costs of a file, and how a page names them.
AXES = {"bytes": "file size", "gzip_bytes": "gzipped file size", "latency_ms": "latency", **ON_DEVICE}

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2530; --soft: #64707d; --line: #e3e7ec; --paper: #fff; --page: #f5f6f8;
  --accent: #2463c5; --dot: #6b7785; --win: #b04a12; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaef; --soft: #97a3b0; --line: #2c3640; --paper: #171e26;
  --page: #0f151b; --accent: #6ea4f7; --dot: #8b97a4; --win: #f0935a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 26px; margin: 0; } h2 { font-size: 17px; margin: 0 0 12px; } h3 { font-size: 14px; margin: 0 0 6px; }
.sub { color: var(--soft); margin: 4px 0 20px; }
section { background: var(--paper); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin-top: 18px; }
.tools { display: flex; flex-wrap: wrap; gap: 8px 18px; margin-bottom: 10px; color: var(--soft); font-size: 14px; }
select, button { font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line);
  border-radius: 6px; padding: 2px 8px; cursor: pointer; }
svg { width: 100%; height: auto; display: block; overflow: visible; }
svg text { fill: var(--soft); font-size: 12px; } .grid { stroke: var(--line); } .limit { stroke: var(--win);
  stroke-dasharray: 5 4; } .front { fill: none; stroke: var(--accent); stroke-width: 1.5; opacity: .6; }
circle { fill: var(--dot); cursor: pointer; } circle.on { fill: var(--accent); } circle.win { fill: var(--win); }
.plain { fill: none; stroke: var(--ink); stroke-width: 2; }
circle:hover, circle:focus, circle.chosen { stroke: var(--ink); stroke-width: 2; outline: none; }
#detail { min-height: 108px; margin-top: 14px; }
code { font: 13px/1.5 ui-monospace, monospace; overflow-wrap: anywhere; }
.command { display: flex; gap: 10px; align-items: start; background: var(--page); border-radius: 6px;
  padding: 8px 12px; margin-top: 6px; }
.command code { flex: 1; } .scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: 14px; }
th { text-align: left; color: var(--soft); font-weight: 500; } th, td { padding: 4px 10px 4px 0;
  border-bottom: 1px solid var(--line); vertical-align: top; } td.n, th.n { text-align: right; white-space: nowrap; }
tr.win td { color: var(--win); font-weight: 600; } tr.win code { font-weight: 400; }
td code { display: block; min-width: 240px; }
.bars { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 22px; }
.bar { display: grid; grid-template-columns: 120px 1fr 44px; gap: 8px; align-items: center; font-size: 13px; }
.bar i { display: block; height: 9px; border-radius: 3px; background: var(--accent); }
.bar span:last-child { text-align: right; color: var(--soft); }
small { color: var(--soft); }
"""

_SCRIPT = """
const data = JSON.parse(document.getElementById("data").textContent);
const files = data.files, limits = data.limits, NS = "http://www.w3.org/2000/svg";
const L = 66, R = 16, T = 14, B = 44;
let W = 1000, H = 430;
const names = {bytes: "file size (bytes)", gzip_bytes: "gzipped file size (bytes)", latency_ms: "latency (ms)",
  arena_bytes: "arena in TFLite Micro (bytes)", flash_bytes: "flash (bytes)", cycles: "cycles"};
const plot = document.getElementById("plot"), detail = document.getElementById("detail");
const axis = document.getElementById("axis"), scale = document.getElementById("split");
let chosen = data.first;

const percent = v => v == null ? "not measured" : (100 * v).toFixed(2) + " %";
const number = (key, v) => key === "latency_ms" ? v.toFixed(3) + " ms" : v.toLocaleString("en");
function add(name, attributes, text) {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text != null) node.textContent = text;
  plot.appendChild(node);
  return node;
}
function ticks(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power++)
    for (const m of [1, 2, 5]) { const v = m * 10 ** power; if (v >= low && v <= high) found.push(v); }
  return found;
}
function draw() {
  const key = axis.value, split = scale.value, shown = files.filter(f => f[split] != null);
  plot.replaceChildren();
  [W, H] = plot.clientWidth < 560 ? [460, 360] : [1000, 430];
  plot.setAttribute("viewBox", `0 0 ${W} ${H}`);
  if (!shown.length) { add("text", {x: L, y: 40}, "No file has this measurement."); return; }
  const plain = data.baselines.filter(b => b[split] != null && b[key] != null);
  const half = 0.5 / data.examples[split];  // half an example: stands for an error of zero on the logarithmic axis
  const all = [...shown, ...plain], xs = all.map(f => f[key]), errors = all.map(f => Math.max(1 - f[split], half));
  const pad = (v, way) => v * 1.15 ** way;
  const [x0, x1] = [pad(Math.min(...xs), -1), pad(Math.max(...xs), 1)];
  const [e0, e1] = [pad(Math.min(...errors), -1), pad(Math.max(...errors), 1)];
  const log = (v, low, high) => (Math.log(v) - Math.log(low)) / (Math.log(high) - Math.log(low));
  const x = v => L + (W - L - R) * log(v, x0, x1);
  const y = e => T + (H - T - B) * log(Math.max(e, half), e0, e1);
  for (const v of ticks(x0, x1)) {
    add("line", {class: "grid", x1: x(v), x2: x(v), y1: T, y2: H - B});
    add("text", {x: x(v), y: H - B + 18, "text-anchor": "middle"}, v >= 1000 ? v / 1000 + "k" : v);
  }
  for (const e of ticks(e0, e1)) {
    add("line", {class: "grid", x1: L, x2: W - R, y1: y(e), y2: y(e)});
    add("text", {x: L - 8, y: y(e) + 4, "text-anchor": "end"}, +(100 * (1 - e)).toFixed(2) + " %");
  }
  add("text", {x: (L + W - R) / 2, y: H - 6, "text-anchor": "middle"}, names[key] + ", log scale");
  if (limits[key] > x0 && limits[key] < x1)
    add("line", {class: "limit", x1: x(limits[key]), x2: x(limits[key]), y1: T, y2: H - B});
  const worst = 1 - limits.accuracy;
  if (worst > e0 && worst < e1) add("line", {class: "limit", x1: L, x2: W - R, y1: y(worst), y2: y(worst)});
  const front = [];
  for (const f of [...shown].sort((a, b) => a[key] - b[key] || b[split] - a[split]))
    if (!front.length || f[split] > front[front.length - 1][split]) front.push(f);
  let path = "";
  front.forEach((f, i) => {
    path += i ? `H${x(f[key])}V${y(1 - f[split])}` : `M${x(f[key])} ${y(1 - f[split])}`;
  });
  add("path", {class: "front", d: path});
  for (const b of plain) {
    const [at, up] = [x(b[key]), y(1 - b[split])], end = at > W - 120;
    add("path", {class: "plain", d: `M${at - 6} ${up}l6-6 6 6-6 6z`, role: "img",
      "aria-label": `${b.name} without a search: ${number(key, b[key])}, ${percent(b[split])}`});
    add("text", {x: at + (end ? -10 : 10), y: up - 8, "text-anchor": end ? "end" : "start"}, b.name);
  }
  for (const f of shown) {
    const kind = f.number === data.winner ? "win" : f.on_front ? "on" : "";
    const node = add("circle", {class: kind + (f.number === chosen ? " chosen" : ""), r: kind ? 6 : 4.5, tabindex: 0,
      cx: x(f[key]), cy: y(1 - f[split]), "aria-label": `${number("bytes", f.bytes)} bytes, ${percent(f[split])}`});
    const choose = () => { chosen = f.number; tell(f); plot.querySelector(".chosen")?.classList.remove("chosen");
      node.classList.add("chosen"); };
    for (const event of ["mouseenter", "focus", "click"]) node.addEventListener(event, choose);
  }
}
function tell(f) {
  detail.replaceChildren();
  const line = document.createElement("div");
  line.textContent = `Trial ${f.number}: ${number("bytes", f.bytes)} bytes (gzip ${number("bytes", f.gzip_bytes)}), ` +
    `${number("latency_ms", f.latency_ms)}; accuracy: validation ${percent(f.accuracy)}, ` +
    `test ${percent(f.test_accuracy)}, estimate without training ${percent(f.estimate)}`;
  detail.append(line, command(f.command || f.recipe));
}
function command(text) {
  const box = document.createElement("div"), code = document.createElement("code");
  const button = document.createElement("button");
  box.className = "command"; code.textContent = text; button.textContent = "copy";
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text); button.textContent = "copied"; }
    catch { getSelection().selectAllChildren(code); button.textContent = "selected"; }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  });
  box.append(code, button);
  return box;
}
axis.addEventListener("change", draw);
scale.addEventListener("change", draw);
document.querySelectorAll("tr[data-number]").forEach(row => row.addEventListener("click", () => {
  chosen = +row.dataset.number; tell(files.find(f => f.number === chosen)); draw();
  detail.scrollIntoView({block: "nearest"});
}));
draw();
let wide = innerWidth;
addEventListener("resize", () => { if (innerWidth !== wide) { wide = innerWidth; draw(); } });
if (files.length) tell(files.find(f => f.number === chosen) || files[0]);
"""


def page(result: Mapping[str, Any]) -> str:
    """Return the HTML page of a search.

    Args:
        result: Content of search.json.
    """
    subject, row = result["subject"], result["winner"] or result["closest"]
    title = f"{subject.get('run') or subject['model']}: files within a budget"
    data = {
        "files": result["files"],
        "baselines": result.get("baselines", []),
        "winner": result["winner"] and result["winner"]["number"],
        "first": row and row["number"],
        "limits": _limits(result["budget"]),
        "examples": {"accuracy": result["validation_examples"], "test_accuracy": result["test_examples"]},
    }
    embedded = json.dumps(data).replace("<", "\\u003c")
    rho = result["rank_correlation"]
    trained = len(result["files"])
    told = (
        f"{result['trials']} trials with the sampler {result['sampler']}: {trained} trained, {result['stopped_early']}"
        f" stopped after an estimate without training, {result['repeated']} repeated."
        + ("" if rho is None else f" Rank correlation of estimated and final accuracy: {rho:.2f}.")
    )
    axes = "".join(
        f"<option value={name}{' selected' * (name == result['costs'][0])}>{text}</option>"
        for name, text in AXES.items()
        if name not in ON_DEVICE or name in result["costs"]
    )
    score = form_of(result.get("score", "accuracy"))[0]
    called = "" if score == "accuracy" else f"<br><b>Accuracy</b> stands for {_text(score)} on this page."
    body = f"""
<h1>{_text(title)}</h1><p class=sub>{_text(searched(result))}{called}</p>
<section><div class=tools><label>x axis <select id=axis>{axes}</select></label>
<label>y axis <select id=split><option value=accuracy>validation accuracy ({result["validation_examples"]:,} examples)
</option><option value=test_accuracy>test accuracy ({result["test_examples"]:,} examples)</option></select></label>
<span>blue: Pareto front, orange: best file within the budget, dashed: budget, diamonds: without a search</span></div>
<svg id=plot viewBox="0 0 1000 430" role=group aria-label="accuracy against cost of every file"></svg>
<div id=detail></div></section>
<section><h2>Pareto front</h2><div class=scroll>{_front(result)}</div>
<p><small>Recipes were selected on the validation examples; the test examples were used once, for these files. Because
the best of several close files was selected, its validation accuracy tends to be slightly higher than its test
accuracy.</small></p></section>
<section><h2>Importance of choices</h2><div class=bars>{_bars(result)}</div>
<p><small>Share of the variance that each choice explains (fANOVA). {_text(told)}</small></p></section>
"""
    return (
        f"<!doctype html><html lang=en><head><meta charset=utf-8><title>{_text(title)}</title>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{body}</main>"
        f'<script type="application/json" id=data>{embedded}</script><script>{_SCRIPT}</script></body></html>\n'
    )


def _text(value: object) -> str:
    return html.escape(str(value))


def _limits(budget: Mapping[str, Any]) -> dict[str, float]:
    return {"accuracy": 0} | {key: budget[name] for name, (key, _) in LIMITS.items() if budget[name]}


def _front(result: Mapping[str, Any]) -> str:
    heads = ("bytes", "gzip bytes", "latency, ms", "validation", "test")
    lines = ["".join(f"<th class=n>{head}</th>" for head in heads) + "<th>recipe</th>"]
    number = result["winner"] and result["winner"]["number"]
    for row in result["front"]:
        test = "" if row["test_accuracy"] is None else f"{row['test_accuracy']:.2%}"
        sizes = (f"{row['bytes']:,}", f"{row['gzip_bytes']:,}", f"{row['latency_ms']:.3f}")
        cells = "".join(f"<td class=n>{cell}</td>" for cell in (*sizes, f"{row['accuracy']:.2%}", test))
        kind = " class=win" if row["number"] == number else ""
        lines.append(f"<tr{kind} data-number={row['number']}>{cells}<td><code>{_text(row['recipe'])}</code></td></tr>")
    return f"<table><tr>{lines[0]}</tr>{''.join(lines[1:])}</table>"


def _bars(result: Mapping[str, Any]) -> str:
    titles = AXES | {"accuracy": "validation accuracy"}
    parts = []
    for name, shares in result["importances"].items():
        bars = "".join(
            f"<div class=bar><span>{_text(choice)}</span><i style='width:{100 * share:.1f}%'></i>"
            f"<span>{share:.0%}</span></div>"
            for choice, share in sorted(shares.items(), key=lambda item: -item[1])
            if share >= 0.005
        )
        parts.append(f"<div><h3>{titles[name]}</h3>{bars}</div>")
    return "".join(parts) or "<small>Too few different files yet.</small>"
