// Objects in pictures: from the outputs of a file to boxes, like zoo/scores/detections.py.

import { placing } from "./image.js";

const FARTHEST = 60; // logits are cut at this distance from 0, where the probability is 0 or 1
const SCALES = { centre: 0.1, size: 0.2 }; // of the coding "offsets" (Liu et al., 2016)

/**
 * Return the objects that a file found, best first.
 *
 * @param {Object} made Values of the outputs by name.
 * @param {Object} about Description of the file. A file without `decoding` has suppressed overlapping boxes itself.
 * @param {number} least Lowest score.
 * @returns {{kind: number, score: number, box: number[]}[]} Index of the label, probability, and x1, y1, x2, y2 in pixels of
 *     `sizeOf(about)`.
 */
export function detected(made, about, least) {
  return about.decoding ? suppressed(candidates(made, about, Math.fround(least)), about.suppression) : listed(made, Math.fround(least));
}

/** Return the (height, width) in whose pixels boxes are: the input of the model, which may be resized from the file's. */
function sizeOf({ decoding, size }) {
  return decoding?.size ?? size;
}

/**
 * Return objects with boxes in pixels of the picture, cut at its edges.
 *
 * @param {Object[]} objects Objects in pixels of `sizeOf(about)`.
 * @param {{width: number, height: number}} picture Picture that the file was given.
 */
export function placed(objects, about, { width, height }) {
  const [rows, columns] = about.input.shape;
  const [inner, across] = sizeOf(about);
  const { scale, offset } = placing([height, width], [rows, columns], about.input.fit);
  const factors = [columns / across, rows / inner];
  const ends = [width, height];
  const moved = (side, i) => Math.min(ends[i % 2], Math.max(0, (side * factors[i % 2] - offset[i % 2]) / scale[i % 2]));
  return objects.map((one) => ({ ...one, box: one.box.map(moved) }));
}

/** Return the intersection over union of two boxes. */
export function overlap(one, other) {
  const width = Math.min(one[2], other[2]) - Math.max(one[0], other[0]);
  const height = Math.min(one[3], other[3]) - Math.max(one[1], other[1]);
  const shared = Math.max(width, 0) * Math.max(height, 0);
  const area = ([x1, y1, x2, y2]) => (x2 - x1) * (y2 - y1);
  return shared / Math.max(area(one) + area(other) - shared, 1e-9);
}

/** Return the colour of a class as [red, green, blue], that of zoo/reports/boxes.py. */
export function colour(index) {
  const [hue, saturation, value] = [(index * 0.618034 + 0.02) % 1, 0.85, 0.95];
  const channel = (n) => {
    const k = (n + hue * 6) % 6;
    return Math.round(255 * value * (1 - saturation * Math.max(0, Math.min(k, 4 - k, 1))));
  };
  return [channel(5), channel(3), channel(1)];
}

/** Return the boxes that overlap no better one of their class by more than a share, at most so many. */
function suppressed(sorted, { overlap: most, most: count }) {
  const kept = [];
  for (const one of sorted) {
    if (kept.length === count) break;
    if (kept.every(({ kind, box }) => kind !== one.kind || overlap(box, one.box) <= most)) kept.push(one);
  }
  return kept;
}

/** Return the best boxes before suppression, best first; of equal ones, the first place and label come first. */
function candidates({ boxes, scores }, { labels, decoding, suppression }, least) {
  const found = [];
  for (let i = 0; i < scores.length; i++) {
    const score = probability(scores[i]);
    if (score >= least) found.push({ place: Math.floor(i / labels.length), kind: i % labels.length, score });
  }
  const best = found.sort((a, b) => b.score - a.score).slice(0, suppression.candidates);
  const priors = priorsOf(decoding);
  return best.map(({ place, kind, score }) => {
    const raw = [0, 1, 2, 3].map((i) => boxes[4 * place + i] - decoding.middle);
    return { kind, score, box: boxOf(raw, priors[place], decoding) };
  });
}

/** Return the sigmoid of a logit in single precision. */
function probability(logit) {
  const power = Math.fround(Math.exp(-Math.min(FARTHEST, Math.max(-FARTHEST, logit))));
  return Math.fround(1 / Math.fround(1 + power));
}

/** Return centre x, centre y, width and height of the prior of each place. */
function priorsOf({ levels }) {
  return levels.flatMap(({ stride, rows, columns, sizes }) =>
    Array.from({ length: rows * columns }, (_, cell) => {
      const [x, y] = [cell % columns, Math.floor(cell / columns)].map((at) => (at + 0.5) * stride);
      return sizes.map(([width, height]) => [x, y, width, height].map(Math.fround));
    }).flat(),
  );
}

function boxOf([first, second, third, fourth], [x, y, width, height], { coding, size }) {
  const { exp } = Math;
  const offsets = () => {
    const [across, down] = [x + width * SCALES.centre * first, y + height * SCALES.centre * second];
    const [half, tall] = [(width / 2) * exp(SCALES.size * third), (height / 2) * exp(SCALES.size * fourth)];
    return [across - half, down - tall, across + half, down + tall];
  };
  const distances = () => [x - width * exp(first), y - height * exp(second), x + width * exp(third), y + height * exp(fourth)];
  const sides = coding === "distances" ? distances() : offsets();
  return sides.map((side, i) => Math.fround(Math.min(size[1 - (i % 2)], Math.max(0, side))));
}

/** Return the boxes of a file that has suppressed overlapping ones itself. */
function listed({ boxes, classes, count, scores }, least) {
  const found = Array.from({ length: count[0] }, (_, i) => ({ kind: classes[i], score: scores[i], box: Array.from(boxes.slice(4 * i, 4 * i + 4)) }));
  return found.filter(({ score }) => score >= least);
}
