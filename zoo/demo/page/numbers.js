// Quantization like compression/runtime/litert.py, and seeded random numbers.

const LIMITS = { int8: [-128, 127], uint8: [0, 255], int16: [-32768, 32767] };

/** Round to the nearest integer, halves to even, like numpy. */
export function rounded(x) {
  const up = Math.round(x);
  return Math.abs(x % 1) === 0.5 && up % 2 !== 0 ? up - 1 : up;
}

/**
 * Quantize values into a typed array: q = round(x / scale) + zero point. Bytes are copied unchanged.
 *
 * @param {ArrayLike<number>} values Values of one example, repeated if the tensor holds several.
 * @param {TypedArray} array Array of the tensor's type and size.
 * @param {{type: string, scale?: number, zero_point?: number}} tensor Description of the tensor.
 */
export function quantize(values, array, { type, scale, zero_point: zero }) {
  const step = scale && !(values instanceof Uint8Array) ? Math.fround(scale) : 0;
  const [low, high] = LIMITS[type] ?? [];
  const wide = array instanceof BigInt64Array;
  for (let i = 0; i < array.length; i++) {
    const value = values[i % values.length];
    if (step) array[i] = Math.min(high, Math.max(low, rounded(Math.fround(Math.fround(value) / step)) + zero));
    else array[i] = wide ? BigInt(value) : value;
  }
}

/** Return the dequantized values of a tensor: (q - zero point) * scale. */
export function dequantized(array, { scale, zero_point: zero }) {
  const values = Float32Array.from(array, Number);
  return scale ? values.map((q) => Math.fround(q - zero) * Math.fround(scale)) : values;
}

/** Return the largest difference between two lists of numbers. */
export function largestDifference(a, b) {
  return a.reduce((most, value, i) => Math.max(most, Math.abs(value - b[i])), 0);
}

/** Return the indices of numbers, in descending order of the numbers. */
export function ranked(values) {
  return Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
}

/** Return a seeded generator of uniform random numbers in [0, 1) (mulberry32, by Tommy Ettinger). */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Return samples of the standard normal distribution (Box and Muller, 1958). */
export function normal(count, seed) {
  const draw = uniform(seed);
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(1 - draw())) * Math.cos(2 * Math.PI * draw()));
}

/**
 * Return rows of things in two lists that are alike: [of the first, of the second], undefined where one has none.
 *
 * @param {Object[][]} lists One or two lists, best first.
 * @param {function} likeness Number above 0 if two things are alike; the largest one decides.
 */
export function matched([first, second = []], likeness) {
  const left = new Set(second);
  const rows = first.map((one) => {
    const [best] = Array.from(left).sort((a, b) => likeness(one, b) - likeness(one, a));
    if (!best || likeness(one, best) <= 0) return [one, undefined];
    left.delete(best);
    return [one, best];
  });
  return [...rows, ...Array.from(left, (other) => [undefined, other])];
}
