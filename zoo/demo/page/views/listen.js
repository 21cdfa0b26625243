// View that says what is heard in a sound, recorded or uploaded, or in what the microphone hears as it goes.

import { answers, probabilities } from "../answer.js";
import { matched } from "../numbers.js";
import { element, leastSlider, mishaps, percent, say, seconds, upload } from "../parts.js";
import { THRESHOLD, Windows, averaged, eventsOf, isLong, stepOf, widthOf } from "../sound/listening.js";
import { asClip, asFloats, asIntegers, joined, loudest, resampled } from "../sound/samples.js";
import { microphone, soundOf } from "../sound/source.js";
import { wave } from "../sound/wave.js";

const SPARE = 1; // seconds that are recorded beyond a clip, so that there is time to begin
const MOST_ROWS = 20; // events in the table
const BLOCK = 50; // windows of a long file after which the page shows how far it is
const START = { record: "Record", listen: "Listen live" };
const STOP = { record: "Stop", listen: "Stop listening" };

/** Build the view, and answer what is recorded, uploaded or heard. */
export async function show(place, pair, facts) {
  const { about } = pair.files[0];
  const { labels } = about;
  const { rate } = about.input;
  const [samples] = about.input.shape;
  const times = { hop: stepOf(samples, rate) / rate, clip: samples / rate };
  const told = seconds(times.clip);
  const { panel, ask } = answers(pair, facts);
  const mishap = mishaps();
  const canvas = element("canvas", { class: "wave", role: "img", "aria-label": "Waveform of the sound" });
  const note = element("p", { class: "note" }, `The model hears ${told} at ${rate.toLocaleString("en")} samples a second.`);
  const heads = element("tr");
  const body = element("tbody");
  const rest = element("p", { class: "note" });
  const { label, least } = leastSlider("Least probability", THRESHOLD, list);
  let stop = null; // function that ends what the microphone is used for
  let again = () => ask(null); // answers the last sound anew, for other files
  let rows = []; // probabilities of each window, for each file

  /** Answer one clip, samples of 16 bits. */
  async function clip(x) {
    again = () => clip(x);
    events.hidden = true;
    panel.hidden = false;
    wave(canvas, asFloats(x));
    await ask(() => asFloats(x));
  }

  /** Answer a sound of any length. */
  async function sound(x) {
    if (!isLong(x.length, samples)) return clip(asClip(x, samples));
    again = () => sound(x);
    panel.hidden = true;
    const windows = begin();
    const mine = rows;
    windows.add(asIntegers(x));
    const count = Math.floor((x.length - samples) / windows.step) + 1;
    for (let found = windows.next(), i = 0; found; found = windows.next(), i++) {
      for (const [k, file] of pair.files.entries()) mine[k].push(await probabilities(file, asFloats(found)));
      if (i % BLOCK) continue;
      say(`Listening: ${percent(i / count)}`);
      await new Promise(requestAnimationFrame);
      if (rows !== mine) return; // another sound was given meanwhile
    }
    say("");
    list();
    const marked = pair.files[0].last.events;
    wave(canvas, x, marked, rate);
    await facts.time(Object.keys(pair.files[0].signatures)[0]);
  }

  /** Begin a sound that is listened to in windows. */
  function begin() {
    rows = pair.files.map(() => []);
    events.hidden = false;
    list();
    return new Windows(samples, rate);
  }

  /** List the events in the windows so far; in live sound those whose mean is complete. */
  function list() {
    const width = widthOf(samples, rate);
    const found = rows.map((each) => {
      const whole = averaged(each, width);
      return eventsOf(stop ? whole.slice(0, Math.max(0, whole.length - Math.floor(width / 2))) : whole, times, labels, least());
    });
    for (const [k, file] of pair.files.entries()) if (file.last) file.last.events = found[k] ?? [];
    const shared = (a, b) => (a.kind === b.kind ? Math.min(a.end, b.end) - Math.max(a.start, b.start) : -1);
    const begun = (row) => row.find(Boolean).start;
    const [first = [], ...others] = found.map((each) => each.slice(-MOST_ROWS));
    const last = matched([first, ...others], shared).sort((a, b) => begun(b) - begun(a));
    heads.replaceChildren(element("th", { scope: "col" }, "Seconds"), element("td"), ...pair.files.map(({ name }) => element("th", { scope: "col" }, name)));
    body.replaceChildren(...last.slice(0, MOST_ROWS).map((row) => eventRow(row.slice(0, pair.files.length), labels)));
    const more = Math.max(0, ...found.map(({ length }) => length)) - MOST_ROWS;
    const silent = stop ? "Nothing was heard yet." : "Nothing was heard.";
    rest.textContent = more > 0 ? `and ${more} before` : last.length ? "" : silent;
  }

  async function take(file) {
    quit();
    mishap("");
    let found;
    try {
      found = await soundOf(file, rate);
    } catch (error) {
      mishap(`This browser cannot read ${file.name} as a sound: ${error?.message ?? error}.`);
      return;
    }
    const x = resampled(found.x, found.rate, rate);
    note.textContent = changes(file.name, found, x.length, { rate, samples, told });
    await sound(x);
  }

  /** Start the microphone for a purpose, or stop it. */
  async function toggle(purpose) {
    const other = stop?.purpose !== purpose;
    quit();
    if (!other) return;
    mishap("");
    buttons[purpose].disabled = true;
    try {
      let heard = () => {}; // until there is a microphone
      stop = Object.assign(await microphone(rate, (more) => heard(more), quit), { purpose });
      heard = { record, listen }[purpose]();
      buttons[purpose].textContent = STOP[purpose];
    } catch (error) {
      quit();
      mishap(error?.message ?? String(error));
    } finally {
      buttons[purpose].disabled = false;
    }
  }

  function quit() {
    stop?.();
    stop = null;
    if (!events.hidden) list();
    for (const [purpose, button] of Object.entries(buttons)) button.textContent = START[purpose];
  }

  /** Return a function that takes what is heard until it is enough for a clip, which it answers. */
  function record() {
    const whole = samples + Math.round(SPARE * rate);
    let x = new Float32Array(0);
    events.hidden = true;
    panel.hidden = false;
    ask(null);
    note.textContent = `Speak now: of ${seconds(whole / rate)}, the model hears the loudest ${told}.`;
    return (more) => {
      if (x.length >= whole) return;
      x = joined(x, more);
      wave(canvas, x);
      if (x.length < whole) return;
      quit();
      note.textContent = `Of ${seconds(whole / rate)} that were recorded, the model hears the loudest ${told}.`;
      clip(asIntegers(loudest(x, samples)));
    };
  }

  /** Return a function that answers each window of what is heard. */
  function listen() {
    let windows = begin();
    let busy = false;
    panel.hidden = false;
    note.textContent = `The model hears ${told} every ${seconds(times.hop)}.`;
    again = () => (windows = begin());
    return async (more) => {
      windows.add(asIntegers(more));
      if (busy) return; // the call that is busy takes these samples too
      busy = true;
      for (let found = windows.next(); found && stop; found = windows.next()) {
        wave(canvas, asFloats(found));
        const given = await ask(() => asFloats(found));
        for (const [k, each] of given.entries()) rows[k].push(each);
        list();
      }
      busy = false;
    };
  }

  const buttons = Object.fromEntries(
    Object.entries(START).map(([purpose, text]) => [purpose, element("button", { type: "button", click: () => toggle(purpose) }, text)]),
  );
  const row = element("div", { class: "buttons" }, buttons.record, buttons.listen, upload("Upload", "audio/*", take));
  const title = element("h2", { id: "sound-title" }, "Speak here");
  const table = element("table", { class: "events" }, element("thead", {}, heads), body);
  const events = element("div", { hidden: true }, element("h3", {}, "Heard"), element("div", { class: "scroll few" }, table), rest, label);
  place.append(element("section", { "aria-labelledby": "sound-title" }, title, row, canvas, note, events), panel);
  pair.changed = () => again();
  await ask(null);
}

function eventRow(row, labels) {
  const { kind, start, end } = row.find(Boolean);
  const time = element("td", {}, `${start.toFixed(2)} to ${end.toFixed(2)}`);
  const cells = row.map((one) => element("td", {}, one ? percent(one.score) : "–"));
  return element("tr", {}, time, element("th", { scope: "row" }, labels[kind]), ...cells);
}

/** Return a sentence about how a file became what the model hears, as zoo.predict tells it. */
function changes(name, { rate: own, channels }, length, { rate, samples, told }) {
  const long = seconds(length / rate);
  const done = [
    own !== rate && `resampled from ${own.toLocaleString("en")} to ${rate.toLocaleString("en")} Hz`,
    channels > 1 && `the mean of its ${channels} channels`,
    isLong(length, samples) && `its ${long} are heard in windows of ${told}`,
    !isLong(length, samples) && length > samples && `of its ${long} the middle ${told}`,
    length < samples && `its ${long} padded to ${told}`,
  ].filter(Boolean);
  return `${name}: ${done.join(", ") || `${told} at ${rate.toLocaleString("en")} Hz`}.`;
}
