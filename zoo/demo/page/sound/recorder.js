// Passes what the microphone hears from the audio thread to the page, in pieces of one channel.

const PIECE = 1024; // samples; the audio thread has 128 at a time

class Recorder extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(PIECE);
    this.filled = 0;
  }

  process([[heard]]) {
    if (!heard) return true; // not connected yet
    this.piece.set(heard, this.filled);
    this.filled += heard.length;
    if (this.filled === PIECE) {
      this.port.postMessage(this.piece);
      this.filled = 0;
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
