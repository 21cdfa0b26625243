// Entry point of the page: loads LiteRT.js and the files, and shows the view for what they take and give.

import { VIEWS, viewOf } from "./choice.js";
import { opened } from "./files.js";
import { chooser, factsTable, problem, say } from "./parts.js";
import { start } from "./runtime.js";

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
