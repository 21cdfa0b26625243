// Scales and centres drawings like the training images of known datasets.

import { resized } from "./image.js";

// By dataset: `share` of the frame covered by the larger side; `grid`, side in pixels of the original images; `mass`,
// whether the centre of mass is centred instead of the bounding box.
const FITS = {
  mnist: { share: 20 / 28, mass: true }, // LeCun et al., 1998
  digits: { share: 1, grid: 8 }, // Alpaydin and Kaynak, 1998
};

/** Return whether the framing of a dataset's images is known. */
export function known(data) {
  return data in FITS;
}

/**
 * Return a drawing framed like the images of a dataset.
 *
 * @param {Uint8Array} bytes Square drawing, light on dark.
 * @param {number} side Side of the drawing in pixels.
 * @param {number[]} shape Shape (height, width, 1) of the result.
 * @param {string} data Name of the dataset.
 */
export function fitted(bytes, side, [rows, columns], data) {
  const { share, grid, mass } = FITS[data];
  const size = grid ?? rows;
  const [top, bottom, left, right] = box(bytes, side);
  const [height, width] = [bottom - top, right - left];
  const crop = new Uint8Array(height * width);
  for (let y = 0; y < height; y++) crop.set(bytes.subarray((top + y) * side + left, (top + y) * side + right), y * width);
  const scale = (share * size) / Math.max(height, width);
  const [high, wide] = [height, width].map((n) => Math.max(1, Math.round(n * scale)));
  const small = resized(crop, [height, width, 1], [high, wide]);
  const middle = mass ? centre(small, high, wide) : [high / 2, wide / 2];
  const corner = [high, wide].map((n, i) => Math.min(size - n, Math.max(0, Math.round(size / 2 - middle[i]))));
  const frame = new Uint8Array(size * size);
  for (let y = 0; y < high; y++) frame.set(small.subarray(y * wide, (y + 1) * wide), (corner[0] + y) * size + corner[1]);
  return resized(frame, [size, size, 1], [rows, columns]);
}

/** Return the bounding box [top, bottom, left, right] of the pixels that are not black, ends excluded. */
function box(bytes, side) {
  let [top, bottom, left, right] = [side, 0, side, 0];
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      if (!bytes[y * side + x]) continue;
      if (y < top) top = y;
      bottom = y + 1;
      if (x < left) left = x;
      if (x >= right) right = x + 1;
    }
  }
  return [top, bottom, left, right];
}

function centre(bytes, height, width) {
  const sums = [0, 0, 0];
  bytes.forEach((byte, i) => {
    sums[0] += byte * (Math.floor(i / width) + 0.5);
    sums[1] += byte * ((i % width) + 0.5);
    sums[2] += byte;
  });
  return [sums[0] / sums[2], sums[1] / sums[2]];
}
