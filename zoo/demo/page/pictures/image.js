// Image preprocessing of zoo/data/images.py: Pillow's greyscale conversion and resizing, bit for bit.

import { rounded } from "../numbers.js";

const BITS = 22; // fractional bits of Pillow's fixed-point weights: 32 - 8 - 2
const WHITE = 255;
const BYTES = "bytes from 0 to 255"; // how files with uint8 input describe its values

/** Return the pixels of a picture file as training reads them: upright by its EXIF orientation, composed on white. */
export async function decoded(file) {
  const bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none" });
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, bitmap.width, bitmap.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

/**
 * Return the pixels of a picture in the shape of a model's input.
 *
 * @param {ImageData} picture Picture to convert.
 * @param {number[]} shape Input shape (height, width, channels).
 * @param {string} fit What is done about another aspect ratio: "crop", "pad" or "stretch"; see zoo/data/fitting.py.
 * @returns {Uint8Array} Height * width * channels bytes.
 */
export function pixels({ data, width, height }, [rows, columns, channels], fit = "stretch") {
  const bytes = new Uint8Array(width * height * channels);
  for (let i = 0; i < width * height; i++) {
    const at = 4 * i; // red, green, blue, opacity
    if (channels === 1) bytes[i] = (19595 * data[at] + 38470 * data[at + 1] + 7471 * data[at + 2] + 0x8000) >> 16; // ITU-R 601
    else for (let c = 0; c < 3; c++) bytes[3 * i + c] = data[at + c];
  }
  const size = [height, width, channels];
  if (fit === "stretch" || height * columns === width * rows) return resized(bytes, size, [rows, columns]);
  if (fit === "crop") {
    const tall = Math.min(height, (width * rows) / columns);
    const wide = Math.min(width, (height * columns) / rows);
    return resized(bytes, size, [rows, columns], [middle(height, tall), middle(width, wide)]);
  }
  const { high, broad, top, left } = framed([height, width], [rows, columns]);
  const small = resized(bytes, size, [high, broad]);
  const made = new Uint8Array(rows * columns * channels);
  for (let y = 0; y < high; y++) {
    const line = small.subarray(y * broad * channels, (y + 1) * broad * channels);
    made.set(line, ((top + y) * columns + left) * channels);
  }
  return made;
}

/** Return height, width, top and left edge of a whole picture within the black frame that pads it. */
function framed([height, width], [rows, columns]) {
  const scale = Math.min(rows / height, columns / width);
  const [high, broad] = [height, width].map((side) => Math.max(1, rounded(side * scale)));
  return { high, broad, top: Math.floor((rows - high) / 2), left: Math.floor((columns - broad) / 2) };
}

/**
 * Return how the pixels of a picture are brought to those of an input: new = old * scale + offset, along x and y; see
 * zoo/data/annotations/placing.py.
 */
export function placing([height, width], [rows, columns], fit = "stretch") {
  if (fit === "stretch" || height * columns === width * rows) return { scale: [columns / width, rows / height], offset: [0, 0] };
  if (fit === "pad") {
    const { high, broad, top, left } = framed([height, width], [rows, columns]);
    return { scale: [broad / width, high / height], offset: [left, top] };
  }
  const scale = Math.max(rows / height, columns / width);
  return { scale: [scale, scale], offset: [(columns - width * scale) / 2, (rows - height * scale) / 2] };
}

/** Return the ends of an interval in the middle of a side, as Pillow takes them: in single precision. */
function middle(side, length) {
  return [Math.fround((side - length) / 2), Math.fround((side + length) / 2)];
}

/**
 * Return an image resized bilinearly with antialiasing, horizontally first, like Pillow.
 *
 * @param {number[][]} box First and last row, and first and last column, of the part that is resized; the whole by default.
 */
export function resized(bytes, [height, width, channels], [rows, columns], [tall, wide] = [[0, height], [0, width]]) {
  const whole = (side, [begin, end]) => begin === 0 && end === side;
  const flat =
    width === columns && whole(width, wide) ? bytes : along(bytes, height, width, channels, columns, wide);
  if (height === rows && whole(height, tall)) return flat;
  // A column of pixels is a row of the transposed image.
  const turned = transposed(flat, height, columns, channels);
  return transposed(along(turned, columns, height, channels, rows, tall), columns, rows, channels);
}

function along(bytes, lines, size, channels, wanted, part) {
  const made = new Uint8Array(lines * wanted * channels);
  const weights = Array.from({ length: wanted }, (_, i) => weightsOf(i, size, wanted, part));
  for (let line = 0; line < lines; line++) {
    for (let i = 0; i < wanted; i++) {
      const { first, shares } = weights[i];
      for (let c = 0; c < channels; c++) {
        let sum = 1 << (BITS - 1);
        for (let k = 0; k < shares.length; k++) sum += shares[k] * bytes[(line * size + first + k) * channels + c];
        made[(line * wanted + i) * channels + c] = Math.min(WHITE, Math.max(0, sum >> BITS));
      }
    }
  }
  return made;
}

/** Return the first source pixel of an output pixel, and the weights of the source pixels. */
function weightsOf(i, size, wanted, [begin, last]) {
  const scale = Math.fround(last - begin) / wanted; // Pillow subtracts in single precision
  const reach = Math.max(scale, 1); // half-width of the triangle filter
  const centre = begin + (i + 0.5) * scale;
  const first = Math.max(0, Math.trunc(centre - reach + 0.5));
  const end = Math.min(size, Math.trunc(centre + reach + 0.5));
  const far = (k) => Math.abs((first + k - centre + 0.5) * (1 / reach));
  const heights = Array.from({ length: end - first }, (_, k) => Math.max(0, 1 - far(k)));
  const total = heights.reduce((sum, height) => sum + height, 0);
  return { first, shares: heights.map((height) => Math.trunc(0.5 + (height / total) * 2 ** BITS)) };
}

function transposed(bytes, height, width, channels) {
  const made = new Uint8Array(bytes.length);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < channels; c++) made[(x * height + y) * channels + c] = bytes[(y * width + x) * channels + c];
    }
  }
  return made;
}

/** Return bytes as pixels in [0, 1], like `zoo.data.images.scaled`. */
export function scaled(bytes) {
  return Float32Array.from(bytes, (byte) => byte * Math.fround(1 / WHITE));
}

/** Return bytes as a file takes them: as they are, or as pixels in [0, 1]. */
export function given(bytes, { values }) {
  return values === BYTES ? bytes : scaled(bytes);
}

/** Return a function that brings a picture to the shape of an input, as bytes, once for each shape. */
export function bytesOf(picture) {
  const made = new Map();
  return ({ shape, fit }) => {
    const key = `${shape} ${fit}`;
    if (!made.has(key)) made.set(key, pixels(picture, shape, fit));
    return made.get(key);
  };
}

/** Return inverted bytes. */
export function inverted(bytes) {
  return bytes.map((byte) => WHITE - byte);
}

/** Draw pixels from 0 to 255, (height, width, channels), on a canvas resized to fit. */
export function show(canvas, values, [height, width, channels]) {
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) image.data[4 * i + c] = values[i * channels + (channels === 1 ? 0 : c)];
    image.data[4 * i + 3] = WHITE;
  }
  context.putImageData(image, 0, 0);
}
