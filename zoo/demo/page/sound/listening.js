// Events in sound that is longer than a clip, as zoo/tasks/parts/listening.py finds them: a window slides over it,
// probabilities of neighbouring windows are averaged, and runs of windows with the same class are events.

import { ranked, rounded } from "../numbers.js";

const LONG = 2; // clips from which a sound is listened to in windows
const HOP = 0.25; // part of a clip between windows
const AVERAGED = 0.5; // part of a clip that a mean is taken over
const QUIET = ["background", "_background_noise_", "noise", "other", "silence", "_silence_", "unknown", "_unknown_"]; // no events

/** Lowest average probability of an event, at first. */
export const THRESHOLD = 0.8;

/** Return whether sound is listened to in windows, by its samples and those of a clip. */
export function isLong(length, samples) {
  return length > LONG * samples;
}

/** Return the number of samples between windows. */
export function stepOf(samples, rate) {
  return Math.max(1, rounded(((HOP * samples) / rate) * rate));
}

/** Return the number of windows in a mean. */
export function widthOf(samples, rate) {
  return Math.max(1, rounded((AVERAGED * samples) / stepOf(samples, rate)));
}

/** Cuts sound that comes in into windows, from its first sample on. */
export class Windows {
  constructor(samples, rate) {
    [this.samples, this.step] = [samples, stepOf(samples, rate)];
    this.kept = new Int16Array(0);
    this.begin = 0; // place of the next window in what is kept
  }

  /** Take more of the sound, samples of 16 bits. */
  add(x) {
    const left = this.kept.subarray(this.begin);
    this.kept = new Int16Array(left.length + x.length);
    this.kept.set(left);
    this.kept.set(x, left.length);
    this.begin = 0;
  }

  /** Return the next window, or null until there is more of the sound. */
  next() {
    const end = this.begin + this.samples;
    if (this.kept.length < end) return null;
    const found = this.kept.slice(this.begin, end);
    this.begin += this.step;
    return found;
  }
}

/** Return the mean of each window's probabilities and those of the windows around it; of fewer at both ends. */
export function averaged(rows, width) {
  return rows.map((row, i) => {
    const around = rows.slice(Math.max(0, i - Math.floor((width - 1) / 2)), i + Math.floor(width / 2) + 1);
    return Array.from(row, (_, k) => around.reduce((sum, each) => sum + each[k], 0) / around.length);
  });
}

/**
 * Return the events in a sound.
 *
 * @param {number[][]} rows Average probabilities of each window.
 * @param {{hop: number, clip: number}} seconds Distance and length of the windows.
 * @param {string[]} labels Classes, some of which are no events.
 * @param {number} threshold Lowest probability of an event.
 * @returns {{kind: number, score: number, start: number, end: number}[]} Index of the label, largest average probability, and
 *     begin of the first and end of the last window in seconds.
 */
export function eventsOf(rows, { hop, clip }, labels, threshold) {
  const found = [];
  let before = -1;
  for (const [i, row] of rows.entries()) {
    const [best] = ranked(row);
    const kind = row[best] >= threshold && !QUIET.includes(labels[best].toLowerCase()) ? best : -1;
    if (kind >= 0 && kind !== before) found.push({ kind, score: 0, start: i * hop, end: 0 });
    if (kind >= 0) Object.assign(found.at(-1), { score: Math.max(found.at(-1).score, row[kind]), end: i * hop + clip });
    before = kind;
  }
  return found;
}
