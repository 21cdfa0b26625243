// Pictures that are uploaded or come from the camera, for the views that take them.

import { end, streamOf } from "../devices.js";
import { element, mishaps, upload } from "../parts.js";
import { decoded } from "./image.js";

const LARGEST = 640; // larger side of a frame of the camera, in pixels
const START = "Use the camera";
const STOP = "Stop the camera";

/**
 * Return the buttons that upload a picture and start and stop the camera, and a function that stops it.
 *
 * @param {function(ImageData): Promise} seen Function that is given each picture; the next frame waits for it.
 * @param {function(): Promise} uploaded Function that is called after an uploaded picture was seen.
 */
export function pictureButtons(seen, uploaded) {
  const mishap = mishaps();
  const live = element("button", { type: "button", click: toggle }, START);
  let camera = null; // stream of the camera while it runs

  async function take(file) {
    stop();
    mishap("");
    const picture = await pictureOf(file, mishap);
    if (!picture) return;
    await seen(picture);
    await uploaded();
  }

  async function toggle() {
    if (camera) return stop();
    mishap("");
    live.disabled = true;
    try {
      camera = await streamOf("camera", { video: { facingMode: "environment" } });
      await look(camera);
    } catch (error) {
      stop();
      mishap(error?.message ?? String(error));
    } finally {
      live.disabled = false;
    }
  }

  async function look(stream) {
    const video = element("video", { muted: true, playsinline: true });
    Object.assign(video, { srcObject: stream, muted: true });
    await video.play();
    live.disabled = false;
    live.textContent = STOP;
    const scale = Math.min(1, LARGEST / Math.max(video.videoWidth, video.videoHeight));
    const frame = new OffscreenCanvas(Math.round(video.videoWidth * scale), Math.round(video.videoHeight * scale));
    const context = frame.getContext("2d", { willReadFrequently: true });
    for (const track of stream.getTracks()) track.addEventListener("ended", stop); // unplugged
    while (camera === stream) {
      context.drawImage(video, 0, 0, frame.width, frame.height);
      await seen(context.getImageData(0, 0, frame.width, frame.height));
      await new Promise(requestAnimationFrame);
    }
  }

  function stop() {
    end(camera);
    camera = null;
    live.textContent = START;
  }

  return { buttons: element("div", { class: "buttons" }, upload("Upload a picture", "image/*", take), live), stop };
}

/** Return the pixels of a picture file, or tell that it cannot be read. */
async function pictureOf(file, mishap) {
  try {
    return await decoded(file);
  } catch {
    mishap(`This browser cannot read ${file.name} as a picture.`);
    return null;
  }
}
