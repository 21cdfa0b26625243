// Drives the demo page in headless Chromium: node demo.mjs PACKAGES PLAN.json, where PACKAGES contains node_modules.
//
// A plan is {url, without?, width?, height?, scheme?, args?, steps}, and a step is {do, ...}. `args` are further options of
// Chromium. Prints what the steps read as JSON.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const [packages, plan] = process.argv.slice(2);
const require = createRequire(`${packages}/from-here.js`);
const chromium = require("@sparticuz/chromium").default ?? require("@sparticuz/chromium");
const puppeteer = require("puppeteer-core");
const { url, without, width = 1100, height = 900, scheme = "light", args = [], steps } = JSON.parse(readFileSync(plan, "utf8"));

const CUT_OFF = {
  wasm: () => delete globalThis.WebAssembly,
  simd: () => {
    const refuse = () => Promise.reject(new WebAssembly.CompileError("no SIMD here"));
    Object.assign(WebAssembly, { instantiate: refuse, instantiateStreaming: refuse, compile: refuse });
  },
};

const browser = await puppeteer.launch({
  args: [...chromium.args, "--no-sandbox", ...args],
  executablePath: await chromium.executablePath(),
  headless: "shell",
});
const page = await browser.newPage();
const errors = [];
const elsewhere = [];
page.on("pageerror", (error) => errors.push(error.message));
// LiteRT writes informational messages to the console as errors.
const note = /^(INFO|WARNING): /;
page.on("console", (message) => message.type() === "error" && !note.test(message.text()) && errors.push(message.text()));
page.on("request", (request) => new URL(request.url()).origin !== new URL(url).origin && elsewhere.push(request.url()));
await page.setViewport({ width, height, hasTouch: true });
await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
if (without) await page.evaluateOnNewDocument(CUT_OFF[without]);
const began = Date.now();
await page.goto(url);
await page.waitForFunction(() => document.body.dataset.state !== "loading");
const readyMs = Date.now() - began;

const settled = () => new Promise((resolve) => setTimeout(resolve, 1500));
const found = [];
const actions = {
  async draw({ points, touch }) {
    const box = await (await page.$(".sheet canvas")).boundingBox();
    const [first, ...rest] = points.map(([x, y]) => [box.x + x * box.width, box.y + y * box.height]);
    const { touchscreen, mouse } = page;
    if (touch) {
      await touchscreen.touchStart(...first);
      for (const point of rest) await touchscreen.touchMove(...point);
      return touchscreen.touchEnd();
    }
    await mouse.move(...first);
    await mouse.down();
    for (const point of rest) await mouse.move(...point, { steps: 5 });
    return mouse.up();
  },
  async keys({ into, keys }) {
    await page.focus(into);
    for (const key of keys) await page.keyboard.press(key);
  },
  type: ({ into, text }) => page.type(into, text),
  click: ({ text }) =>
    page.evaluate((t) => [...document.querySelectorAll("button")].find((b) => b.textContent === t).click(), text),
  choose: ({ into, value }) => page.select(into, value),
  upload: async ({ path }) => (await page.$("#choose")).uploadFile(path),
  set: ({ into, value }) =>
    page.$eval(into, (e, v) => Object.assign(e, { value: v }) && e.dispatchEvent(new Event("input", { bubbles: true })), value),
  until: ({ selector, begins }) =>
    page.waitForFunction((s, t) => [...document.querySelectorAll(s)].some((e) => e.textContent.startsWith(t)), { timeout: 120_000 }, selector, begins),
  shot: async ({ path }) => {
    await settled();
    await page.screenshot({ path, fullPage: true });
  },
  async read() {
    await settled();
    found.push(
      await page.evaluate(() => {
        const text = (selector) => Array.from(document.querySelectorAll(selector), (e) => e.innerText.trim());
        const plain = (arrays = {}) => Object.fromEntries(Object.entries(arrays).map(([k, v]) => [k, Array.from(v, Number)]));
        return {
          state: document.body.dataset.state,
          view: globalThis.demo?.view,
          title: document.title,
          problems: text(".problem"),
          labels: text(".head strong"),
          shares: text(".head span:last-child"),
          notes: text(".note"),
          rows: Array.from(document.querySelectorAll("main tbody tr"), (e) => Array.from(e.cells, (cell) => cell.innerText.trim())),
          buttons: text("main button"),
          bottoms: Array.from(document.querySelectorAll(".head"), (e) => e.getBoundingClientRect().bottom),
          tokens: text(".tokens span"),
          unnamed: [...document.querySelectorAll("button, input, select, textarea, canvas[tabindex]")]
            .filter((e) => !(e.labels?.length || e.innerText || e.getAttribute("aria-label"))).length,
          answersMs: performance.getEntriesByName("answer").map(({ duration }) => duration),
          overflow: document.documentElement.scrollWidth - innerWidth,
          background: getComputedStyle(document.body).backgroundColor,
          files: (globalThis.demo?.files ?? []).map((file) => ({
            name: file.name,
            file: file.file,
            ms: file.ms,
            given: plain(file.last?.given),
            made: plain(file.last?.made),
            objects: file.last?.objects,
            events: file.last?.events,
          })),
        };
      }),
    );
  },
};
for (const step of steps) await actions[step.do](step);
console.log(JSON.stringify({ readyMs, errors, elsewhere, found }));
browser.process().kill("SIGKILL"); // `close` waits for a minute where there was a camera
await new Promise((resolve) => browser.process().once("exit", resolve));
process.exit();
