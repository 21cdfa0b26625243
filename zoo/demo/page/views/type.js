// View that classifies a text while it is typed.

import { answers } from "../answer.js";
import { element } from "../parts.js";
import { cutter, padded } from "../words.js";

/** Build the view, and classify what is typed. */
export async function show(place, pair, facts) {
  const { about, vocabulary } = pair.files[0];
  const [length] = about.input.shape;
  const cut = cutter(vocabulary);
  const { panel, ask } = answers(pair, facts);
  const box = element("textarea", { id: "text", rows: "4", "aria-describedby": "cut", spellcheck: "false" });
  const tokens = element("p", { class: "tokens", "aria-label": "Tokens of the text" });
  const note = element("p", { class: "note", id: "cut" });

  async function answer() {
    const found = cut(box.value);
    tokens.replaceChildren(
      ...found.map(({ token, known }, i) =>
        element("span", { class: i >= length ? "cut" : known ? "" : "unknown" }, token),
      ),
    );
    const unknown = found.slice(0, length).filter(({ known }) => !known).length;
    note.textContent = [
      `The model reads up to ${length} tokens.`,
      unknown ? `${unknown} of ${found.length} tokens are not in its vocabulary (dotted).` : "",
      found.length > length ? `The last ${found.length - length} tokens are ignored (struck through).` : "",
    ]
      .filter(Boolean)
      .join(" ");
    await ask(found.length ? () => padded(found, length) : null);
  }

  box.addEventListener("input", answer);
  const label = element("label", { for: "text" }, element("h2", {}, "Type here"));
  place.append(element("section", {}, label, box, tokens, note), panel);
  pair.changed = answer;
  await answer();
}
