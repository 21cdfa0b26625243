// Sound from files and from the microphone.

import { end, streamOf } from "../devices.js";
import { Resampler, mono, readWav } from "./samples.js";

const RATES = [8000, 96000]; // lowest and highest rate at which every browser decodes
// Training hears sounds as they are, so the browser should not clean them.
const AS_IT_IS = { channelCount: 1, echoCancellation: false, noiseSuppression: false, autoGainControl: false };

/**
 * Return the samples of a file of sound.
 *
 * WAV files are read here. The browser decodes other formats, and resamples them to the wanted rate if it can.
 *
 * @param {File} file File.
 * @param {number} wanted Samples in a second that are wanted in the end.
 * @returns {Promise<{rate: number, channels: number, x: Float32Array}>} Rate, number of channels, and their mean.
 * @throws {Error} If the file is damaged or no sound that the browser reads.
 */
export async function soundOf(file, wanted) {
  const content = await file.arrayBuffer();
  const { rate, channels } = readWav(content) ?? (await decoded(content, wanted));
  return { rate, channels: channels.length, x: mono(channels) };
}

async function decoded(content, wanted) {
  const context = new OfflineAudioContext(1, 1, Math.min(RATES[1], Math.max(RATES[0], wanted)));
  let found;
  try {
    found = await context.decodeAudioData(content);
  } catch {
    throw new Error("it is in no format of sound that this browser knows");
  }
  const channels = Array.from({ length: found.numberOfChannels }, (_, c) => found.getChannelData(c));
  return { rate: found.sampleRate, channels };
}

/**
 * Start the microphone.
 *
 * @param {number} rate Samples in a second.
 * @param {function(Float32Array)} heard Function that is given what is heard at this rate, piece by piece.
 * @param {function()} ended Function that is called if the microphone ends by itself.
 * @returns {Promise<function()>} Function that stops the microphone.
 * @throws {Error} With a sentence, if there is no microphone for this page.
 */
export async function microphone(rate, heard, ended) {
  const stream = await streamOf("microphone", { audio: AS_IT_IS });
  const context = new AudioContext();
  const stop = () => {
    end(stream);
    return context.close();
  };
  try {
    await context.audioWorklet.addModule(new URL("recorder.js", import.meta.url));
    await context.resume();
    const options = { channelCount: 1, channelCountMode: "explicit" };
    const recorder = new AudioWorkletNode(context, "recorder", options);
    const resampler = new Resampler(context.sampleRate, rate);
    recorder.port.onmessage = ({ data }) => heard(resampler.next(data));
    context.createMediaStreamSource(stream).connect(recorder);
    recorder.connect(context.destination); // which makes it run; it gives silence
    for (const track of stream.getTracks()) track.addEventListener("ended", ended);
    return stop;
  } catch (error) {
    stop();
    throw error;
  }
}
