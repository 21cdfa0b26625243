// Samples of sound as zoo/data/sound makes them: of WAV files, of one channel, at another rate, as clips of one length.

import { rounded } from "../numbers.js";

const FULL_SCALE = 1 << 15; // samples of 16 bits, whose range becomes -1 to 1
const CODECS = [2, 6, 7, 17, 85]; // coded samples, which the browser may decode
const CODES = { pcm: 1, float: 3, extensible: 0xfffe };
const BETA = 5; // of the Kaiser window, and half the length of the filter in steps of the lower rate, as in scipy's resample_poly
const REACH = 10;
const TERMS = 40; // of the series of the Bessel function, which has converged long before

/**
 * Return the samples of a WAV file, or null if it is another format that the browser may decode.
 *
 * @param {ArrayBuffer} content Content of the file.
 * @returns {{rate: number, channels: Float32Array[]}?} Samples in a second, and the samples of each channel from -1 to 1.
 * @throws {Error} If the file is damaged.
 */
export function readWav(content) {
  const view = new DataView(content);
  const text = (at) => String.fromCharCode(...new Uint8Array(content, at, 4));
  if (content.byteLength < 12 || !["RIFF", "RF64"].includes(text(0)) || text(8) !== "WAVE") return null;
  let form;
  for (let at = 12; at + 8 <= content.byteLength; ) {
    const [name, length, begin] = [text(at), view.getUint32(at + 4, true), at + 8];
    if (name === "fmt ") {
      form = formOf(view, begin, length);
      if (!form) return null;
    } else if (name === "data") {
      if (!form) throw new Error("its samples stand before their format");
      const left = content.byteLength - begin;
      const whole = length === 0xffffffff || text(0) === "RF64" ? left : length; // written into a pipe, or over 4 GB
      if (whole > left) throw new Error(`it is cut off: ${whole} bytes of samples are promised, ${left} are there`);
      return { rate: form.rate, channels: channelsOf(view, begin, Math.floor(whole / form.block), form) };
    }
    at = begin + length + (length % 2);
  }
  throw new Error("it ends within its header");
}

function formOf(view, at, length) {
  if (length < 16 || at + 16 > view.byteLength) throw new Error("its format is cut short");
  let code = view.getUint16(at, true);
  const [channels, rate, block] = [view.getUint16(at + 2, true), view.getUint32(at + 4, true), view.getUint16(at + 12, true)];
  if (code === CODES.extensible && length >= 26) code = view.getUint16(at + 24, true);
  if (CODECS.includes(code)) return null;
  const width = channels ? block / channels : 0;
  const known = code === CODES.pcm ? [1, 2, 3, 4] : code === CODES.float ? [4, 8] : [];
  if (!known.includes(width) || !rate) throw new Error(`it has samples of an unknown format (${code})`);
  return { float: code === CODES.float, channels, rate, block, width };
}

function channelsOf(view, begin, frames, { float, channels, block, width }) {
  if (!frames) throw new Error("it has no samples");
  const integers = {
    1: (at) => (view.getUint8(at) - 128) / 128,
    2: (at) => view.getInt16(at, true) / 2 ** 15,
    3: (at) => (view.getUint8(at) + view.getUint8(at + 1) * 256 + view.getInt8(at + 2) * 65536) / 2 ** 23,
    4: (at) => view.getInt32(at, true) / 2 ** 31,
  };
  const floats = { 4: (at) => view.getFloat32(at, true), 8: (at) => view.getFloat64(at, true) };
  const read = (float ? floats : integers)[width];
  const made = Array.from({ length: channels }, (_, c) =>
    Float32Array.from({ length: frames }, (_, i) => read(begin + i * block + c * width)),
  );
  if (made.some((samples) => !samples.every(Number.isFinite))) throw new Error("some of its samples are not finite");
  return made;
}

/** Return the mean of channels. */
export function mono(channels) {
  if (channels.length === 1) return channels[0];
  const sum = (i) => channels.reduce((total, samples) => Math.fround(total + samples[i]), 0);
  return Float32Array.from(channels[0], (_, i) => sum(i) / channels.length);
}

/**
 * Brings sound to another rate as it comes in, by the polyphase filter of scipy.signal.resample_poly.
 *
 * Computed in single precision in the same order, so that samples of 16 bits are the same.
 */
export class Resampler {
  constructor(from, to) {
    const common = divisor(from, to);
    [this.up, this.down] = [to / common, from / common];
    this.half = REACH * Math.max(this.up, this.down);
    this.filter = this.up === this.down ? null : filterOf(this.up, this.down, this.half);
    this.kept = new Float32Array(0); // samples that are needed again
    this.first = 0; // place of the first of them in the sound
    this.made = 0; // samples that were returned
  }

  /** Return the samples that follow from more of the sound; after the last of it come zeros. */
  next(x, last = false) {
    if (!this.filter) return x;
    const { up, down, half, filter } = this;
    this.kept = joined(this.kept, x);
    const end = this.first + this.kept.length;
    const length = last ? Math.ceil((end * up) / down) : Math.floor((end * up - 1 - half) / down) + 1;
    const found = new Float32Array(Math.max(0, length - this.made));
    for (let i = 0; i < found.length; i++) {
      const middle = (this.made + i) * down;
      const begin = Math.max(0, Math.ceil((middle - half) / up));
      const stop = Math.min(end - 1, Math.floor((middle + half) / up));
      let sum = 0;
      for (let k = begin; k <= stop; k++) sum = Math.fround(sum + Math.fround(this.kept[k - this.first] * filter[middle + half - k * up]));
      found[i] = sum;
    }
    this.made += found.length;
    const needed = Math.max(this.first, Math.ceil((this.made * down - half) / up));
    this.kept = this.kept.slice(needed - this.first);
    this.first = needed;
    return found;
  }
}

/** Return two arrays as one. */
export function joined(one, other) {
  const both = new Float32Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

/** Return samples at another rate. */
export function resampled(x, from, to) {
  return new Resampler(from, to).next(x, true);
}

function divisor(a, b) {
  return b ? divisor(b, a % b) : a;
}

/** Return a low-pass filter below the lower of two rates, in single precision (Kaiser, 1974). */
function filterOf(up, down, half) {
  const cutoff = 1 / Math.max(up, down);
  const sinc = (x) => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);
  const made = Float64Array.from({ length: 2 * half + 1 }, (_, i) => {
    const edge = (i - half) / half;
    return cutoff * sinc(cutoff * (i - half)) * (bessel(BETA * Math.sqrt(1 - edge * edge)) / bessel(BETA));
  });
  const total = made.reduce((sum, value) => sum + value, 0);
  return Float32Array.from(made, (value) => Math.fround(value / total) * up);
}

/** Return the modified Bessel function of order 0. */
function bessel(x) {
  let [term, sum] = [1, 1];
  for (let k = 1; k < TERMS; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** Return the middle of longer sound, and shorter sound between zeros, as samples of 16 bits. */
export function asClip(x, samples) {
  const spare = x.length - samples;
  if (spare > 0) return asIntegers(x.subarray(Math.floor(spare / 2), Math.floor(spare / 2) + samples));
  const made = new Float32Array(samples);
  made.set(x, Math.floor(-spare / 2));
  return asIntegers(made);
}

/** Return samples from -1 to 1 as samples of 16 bits; what is beyond is clipped. */
export function asIntegers(x) {
  return Int16Array.from(x, (value) => Math.min(FULL_SCALE - 1, Math.max(-FULL_SCALE, rounded(value * FULL_SCALE))));
}

/** Return samples of 16 bits as a file takes them, from -1 to 1. */
export function asFloats(x) {
  return Float32Array.from(x, (value) => value / FULL_SCALE);
}

/** Return the loudest part of a sound that has some length. */
export function loudest(x, samples) {
  if (x.length <= samples) return x;
  let energy = 0;
  let [most, begin] = [-1, 0];
  for (let i = 0; i < x.length; i++) {
    energy += x[i] ** 2 - (i >= samples ? x[i - samples] ** 2 : 0);
    if (i >= samples - 1 && energy > most) [most, begin] = [energy, i - samples + 1];
  }
  return x.subarray(begin, begin + samples);
}
