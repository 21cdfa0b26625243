// Waveform of a sound, drawn on a canvas.

const LEAST = 0.05; // largest sample that fills the height, so that silence stays flat

/**
 * Draw a waveform.
 *
 * @param {HTMLCanvasElement} canvas Canvas, which has its size by the style sheet.
 * @param {ArrayLike<number>} x Samples.
 * @param {Object[]} events Events to mark, with `start` and `end` in seconds.
 * @param {number} rate Samples in a second.
 */
export function wave(canvas, x, events = [], rate = 1) {
  const dots = globalThis.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight].map((side) => Math.max(1, Math.round(side * dots)));
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  const place = (sample) => (width * sample) / Math.max(1, x.length);
  context.fillStyle = style.getPropertyValue("--track");
  for (const { start, end } of events) context.fillRect(place(start * rate), 0, place((end - start) * rate), height);
  const peak = x.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  const scale = height / 2 / Math.max(peak, LEAST);
  context.fillStyle = style.getPropertyValue("--second");
  for (let column = 0; column < width; column++) {
    const begin = Math.floor((column * x.length) / width);
    const part = x.subarray(begin, Math.max(begin + 1, Math.floor(((column + 1) * x.length) / width)));
    let [low, high] = [0, 0];
    for (const value of part) [low, high] = [Math.min(low, value), Math.max(high, value)];
    const tall = Math.max(dots, (high - low) * scale);
    context.fillRect(column, height / 2 - high * scale, 1, tall);
  }
}
