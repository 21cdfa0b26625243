// Camera and microphone: their streams, and sentences for those who cannot have one.

const WITHOUT = "Uploads work without it.";
const REASONS = {
  NotAllowedError: (kind) => `The ${kind} was refused. Allow it for this page in the browser's settings, and try again. ${WITHOUT}`,
  NotFoundError: (kind) => `The browser finds no ${kind} on this device. ${WITHOUT}`,
  NotReadableError: (kind) => `The ${kind} cannot be read. Another program may be using it. ${WITHOUT}`,
};

/**
 * Return the stream of a camera or microphone.
 *
 * @param {string} kind "camera" or "microphone".
 * @param {Object} wanted Constraints of getUserMedia.
 * @throws {Error} With a sentence that says why there is none.
 */
export async function streamOf(kind, wanted) {
  if (!globalThis.isSecureContext || !navigator.mediaDevices) {
    const where = "only to pages that are opened over HTTPS or on this computer (localhost)";
    throw new Error(`Browsers give the ${kind} ${where}, and this page is not. ${WITHOUT}`);
  }
  try {
    return await navigator.mediaDevices.getUserMedia(wanted);
  } catch (error) {
    const reason = REASONS[error?.name] ?? (() => `The ${kind} cannot be used: ${error?.message ?? error}. ${WITHOUT}`);
    throw new Error(reason(kind));
  }
}

/** End a stream, so that the browser shows that nothing is seen or heard any more. */
export function end(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}
