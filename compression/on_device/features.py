"""Features of sound in whole numbers, as a device without floating point computes them. Needs only numpy.

    python features.py features.json clip.wav

`compression.export RUN --to features` writes features.json, the same computation in C, and a .tflite file that takes
what it gives, integer for integer. All numbers are 64-bit integers; shifts round down. Formats are written Qn: a value
times 2^n.
"""

import json
import math
import sys
import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

TABLE_BITS = 8  # of the logarithm: 256 steps between powers of two
LOG = VALUES = 16  # Q16: logarithms and features
TURN = WINDOW = WEIGHT = COSINE = 15  # Q15
LN2 = round(math.log(2) * (1 << LOG))
SCALED = 20  # bits of the factor that quantizes
# Largest sample of a clip that is divided by its peak: negative ones may exceed it.
MOST = 4 << 15


@dataclass(frozen=True)
class Settings:
    """What the features are of, and how they become int8.

    Args:
        kind: mfcc or logmel.
        rate: Samples in a second.
        frame: Samples of a frame.
        hop: Samples between frames.
        points: Points of the Fourier transform.
        mels: Number of mel bands.
        coefficients: Number of coefficients of mfcc.
        highest_hz: Upper edge of the mel bands.
        peak: Whether a clip is divided by its largest sample.
        floor: What is added to mel magnitudes.
        scale: Scale of the int8 values.
        zero_point: Zero point of the int8 values.
    """

    kind: str
    rate: int
    frame: int
    hop: int
    points: int
    mels: int
    coefficients: int
    highest_hz: float
    peak: bool
    floor: float = 1e-6
    scale: float = 1.0
    zero_point: int = 0


class Features:
    """The tables of the features, and the features of clips.

    Args:
        settings: What the features are of.
    """

    def __init__(self, settings: Settings):
        s = self.settings = settings
        n, points = np.arange(s.frame), s.points
        self.window = _fixed(0.5 - 0.5 * np.cos(2 * np.pi * n / s.frame), WINDOW)
        self.turns = _fixed(np.cos(2 * np.pi * np.arange(points) / points), TURN)
        weights = _mel_weights(s)
        used = np.flatnonzero(weights.any(1))
        self.first, self.last = int(used[0]), int(used[-1]) + 1  # bins
        self.weights = _fixed(weights[self.first : self.last], WEIGHT)  # (bins, mels)
        angle = np.pi * np.outer(np.arange(s.mels) + 0.5, np.arange(s.coefficients)) / s.mels
        self.cosines = _fixed(np.cos(angle) * np.sqrt(2 / s.mels), COSINE)
        steps = 1 << TABLE_BITS
        self.logarithms = _fixed(np.log2(1 + np.arange(steps + 1) / steps), LOG)
        # Sums of at most frame * 2^47 are shifted so that the sum of two squares fits 64 bits.
        self.shift = 16 + (s.frame - 1).bit_length()
        self.unit = 45 - self.shift  # Q of magnitudes
        self.smallest = max(1, round(s.floor * (1 << self.unit)))
        self.factor = round((1 << SCALED) / s.scale)

    @property
    def columns(self) -> int:
        """Number of values of a frame."""
        return self.settings.coefficients if self.settings.kind == "mfcc" else self.settings.mels

    def values(self, clip: np.ndarray) -> np.ndarray:
        """Return the features of a clip, (frames, columns) int64 in Q16.

        Args:
            clip: Samples (samples,) int16.
        """
        s, x = self.settings, clip.astype(np.int64)
        if s.peak:
            most = max(int(x.max()), 1)
            x = np.clip(np.sign(x) * (np.abs(x) * 32768 // most), -MOST, MOST)
        frames = np.lib.stride_tricks.sliding_window_view(x, s.frame)[:: s.hop] * self.window
        bins = np.arange(self.first, self.last)
        place = np.outer(bins, np.arange(s.frame)) % s.points
        real = frames @ self.turns[place].T >> self.shift
        imaginary = frames @ self.turns[(place + s.points // 4) % s.points].T >> self.shift  # minus the sine
        magnitudes = _roots(real * real + imaginary * imaginary)
        bands = (magnitudes @ self.weights >> WEIGHT) + self.smallest
        logs = self._natural_logarithm(bands)
        return logs if s.kind == "logmel" else logs @ self.cosines >> COSINE

    def quantized(self, clip: np.ndarray) -> np.ndarray:
        """Return the features of a clip as the file takes them, (frames, columns) int8."""
        half = 1 << (VALUES + SCALED - 1)
        rounded = (self.values(clip) * self.factor + half) >> (VALUES + SCALED)
        return np.clip(rounded + self.settings.zero_point, -128, 127).astype(np.int8)

    def _natural_logarithm(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm in Q16 of numbers in Q`unit`, by a table between powers of two."""
        power = np.array([int(value).bit_length() - 1 for value in x.reshape(-1)], np.int64).reshape(x.shape)
        # The digits behind the leading one, in Q30.
        rest = np.where(power > 30, x >> np.maximum(power - 30, 0), x << np.maximum(30 - power, 0)) - (1 << 30)
        row, between = rest >> (30 - TABLE_BITS), rest & ((1 << (30 - TABLE_BITS)) - 1)
        low, high = self.logarithms[row], self.logarithms[row + 1]
        found = ((power - self.unit) << LOG) + low + ((high - low) * between >> (30 - TABLE_BITS))
        return found * LN2 >> LOG


def _fixed(values: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(np.asarray(values) * (1 << bits)).astype(np.int64)


def _roots(x: np.ndarray) -> np.ndarray:
    """Return whole square roots, rounded down."""
    found = np.sqrt(x.astype(np.float64)).astype(np.int64)  # one too many or too few where float64 rounds
    found -= found * found > x
    return found + ((found + 1) * (found + 1) <= x)


def _mel_weights(s: Settings) -> np.ndarray:
    """Return triangles on the mel scale of HTK from 20 Hz on, (bins, mels)."""

    def scale(hertz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(scale(20.0), scale(min(s.highest_hz, s.rate / 2)), s.mels + 2)
    lower, middle, upper = edges[:-2], edges[1:-1], edges[2:]
    places = scale(np.linspace(0, s.rate / 2, s.points // 2 + 1))[:, None]
    found = np.minimum((places - lower) / (middle - lower), (upper - places) / (upper - middle))
    found[0] = 0
    return np.maximum(found, 0)


def main(words: list[str]) -> int:
    """Print the int8 features of a WAV file of 16 bits, a line for each frame."""
    if len(words) != 2:
        print("usage: python features.py features.json clip.wav", file=sys.stderr)
        return 2
    settings = Settings(**json.loads(Path(words[0]).read_text(encoding="utf-8")))
    with wave.open(words[1]) as file:
        if (file.getsampwidth(), file.getnchannels(), file.getframerate()) != (2, 1, settings.rate):
            print(f"{words[1]}: expected one channel of 16 bits at {settings.rate} Hz", file=sys.stderr)
            return 2
        clip = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    for row in Features(settings).quantized(clip):
        print(*row)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
