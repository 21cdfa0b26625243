"""Front ends of sound: from samples to a picture of frames by mel bands or coefficients, as a layer of the model.

The values are those of `tf.signal`: frames without padding, a periodic Hann window, a Fourier transform of the next
power of two, magnitudes, the mel scale of HTK, and the DCT of HTK. The transform is computed in two short stages
(Cooley & Tukey, 1965) by matrix products: an exported file then consists of common operators, which microcontrollers
have too, and needs a few kilobytes for the matrices where one matrix of a transform of 512 points takes a megabyte.
"""

import keras
import numpy as np
from keras import ops

from zoo.models.parts.floating import InFloat
from zoo.models.parts.layers import check_positive

KINDS = ("mfcc", "logmel", "pcen")
LEVELS = ("peak", "none")
# Lowest edge of the mel bands in Hz, and what is added to magnitudes before the logarithm: the values of MLPerf Tiny.
LOWEST_HZ, SMALLEST = 20.0, 1e-6
# Least number of mel bands that share a matrix, and largest number of matrices: TFLite Micro joins ten tensors at most.
BLOCK, MOST_BLOCKS = 8, 10
# Values of PCEN (Wang et al., 2017, arXiv:1607.05666): smoothing, gain, bias and power.
SMOOTHING, GAIN, BIAS, POWER = 0.025, 0.98, 2.0, 0.5


@keras.saving.register_keras_serializable("zoo")
class SoundFeatures(InFloat):
    """Log-mel spectra, MFCC or PCEN of samples, frame by frame.

    Computed in float32 whatever the policy, because magnitudes span more than eight bits hold.

    Args:
        kind: logmel for logarithms of mel magnitudes, mfcc for the first coefficients of their DCT, pcen for mel
            magnitudes with automatic gain and root compression in place of the logarithm (Wang et al., 2017).
        rate: Samples in a second.
        frame_ms: Length of a frame in milliseconds.
        hop_ms: Distance of frames in milliseconds.
        mels: Number of mel bands.
        coefficients: Number of coefficients of mfcc.
        highest_hz: Upper edge of the mel bands in Hz, at most half the rate.
        level: peak to divide a clip by its largest sample, none to keep its level.
        floor: What is added to mel magnitudes before the logarithm; quieter bands are hardly told apart. A band of full
            scale has a magnitude of about `frame`.

    Input shape: (batch, samples), from -1 to 1.
    Output shape: (batch, frames, mels or coefficients, 1).

    Raises:
        ValueError: A size that is not positive, an unknown kind or level, or clips that are shorter than a frame.
    """

    def __init__(
        self,
        kind: str = "mfcc",
        rate: int = 16_000,
        frame_ms: float = 30.0,
        hop_ms: float = 20.0,
        mels: int = 40,
        coefficients: int = 10,
        highest_hz: float = 4_000.0,
        level: str = "peak",
        floor: float = SMALLEST,
        **kwargs,
    ):
        super().__init__(**(kwargs | {"dtype": "float32"}))
        if kind not in KINDS:
            raise ValueError(f"SoundFeatures: features: expected one of {', '.join(KINDS)}, received {kind!r}")
        if level not in LEVELS:
            raise ValueError(f"SoundFeatures: level: expected one of {', '.join(LEVELS)}, received {level!r}")
        self.kind, self.rate, self.frame_ms, self.hop_ms = kind, rate, frame_ms, hop_ms
        self.mels, self.coefficients, self.highest_hz, self.level = mels, coefficients, highest_hz, level
        self.floor = floor
        check_positive("SoundFeatures", rate=rate, mels=mels, coefficients=coefficients)
        self.frame, self.hop = round(frame_ms * rate / 1000), round(hop_ms * rate / 1000)
        if self.frame < 2 or self.hop < 1 or highest_hz <= LOWEST_HZ:
            raise ValueError(
                "SoundFeatures: expected frame_ms, hop_ms and highest_hz of two samples, one sample and more than"
                f" {LOWEST_HZ:g} Hz, received {frame_ms:g}, {hop_ms:g} and {highest_hz:g} at {rate:,} Hz"
            )
        if floor < SMALLEST:
            raise ValueError(f"SoundFeatures: floor: expected {SMALLEST:g} or more, received {floor:g}")
        if kind == "mfcc" and coefficients > mels:
            raise ValueError(
                f"SoundFeatures: coefficients: expected at most {mels}, the number of mel bands, received"
                f" {coefficients}"
            )
        self.points = 1 << (self.frame - 1).bit_length()  # of the Fourier transform
        self._window = hann(self.frame, self.points)
        self._stages = stages(self.points)
        self._first, self._turns, self._second, self._places = transform(*self._stages)
        self._of_bands = band_blocks(mel_weights(mels, self.points // 2 + 1, rate, min(highest_hz, rate / 2)))
        self._of_coefficients = cosines(mels, coefficients)

    @property
    def columns(self) -> int:
        """Number of values of a frame."""
        return self.coefficients if self.kind == "mfcc" else self.mels

    def frames(self, samples: int) -> int:
        """Return the number of frames of a clip."""
        return 1 + (samples - self.frame) // self.hop

    def build(self, input_shape):
        if len(input_shape) != 2 or input_shape[1] < self.frame:
            raise ValueError(
                f"SoundFeatures: expected clips of at least {self.frame} samples, a frame of {self.frame_ms:g} ms at"
                f" {self.rate:,} Hz, received shape {tuple(input_shape[1:])}"
            )
        self.built = True

    def compute_output_shape(self, input_shape):
        return (input_shape[0], self.frames(input_shape[1]), self.columns, 1)

    def call(self, x):
        if self.level == "peak":
            x = x / ops.maximum(ops.max(x, axis=1, keepdims=True), SMALLEST)
        return ops.expand_dims(self.compressed(self.magnitudes(x)), -1)

    def magnitudes(self, x):
        """Return mel magnitudes (batch, frames, mels) of samples (batch, samples)."""
        x = self._spectrum(self._framed(x))
        blocks = [ops.matmul(x[..., first : first + len(weights)], weights) for first, weights in self._of_bands]
        return ops.concatenate(blocks, axis=-1)

    def compressed(self, magnitudes):
        """Return the values of frames (batch, frames, columns) for mel magnitudes (batch, frames, mels)."""
        if self.kind == "pcen":
            return pcen(magnitudes, running_mean(magnitudes, magnitudes[:, :1]))
        logarithms = ops.log(magnitudes + self.floor)
        return logarithms if self.kind == "logmel" else ops.matmul(logarithms, self._of_coefficients)

    def _framed(self, x):
        """Return frames (batch, frames, points), with zeros or samples of no weight behind each."""
        count, rows = self.frames(x.shape[1]), -(-self.frame // self.hop)
        needed = (count + rows - 1) * self.hop
        x = x[:, :needed] if x.shape[1] >= needed else ops.pad(x, ((0, 0), (0, needed - x.shape[1])))
        x = ops.reshape(x, (-1, count + rows - 1, self.hop))
        x = ops.concatenate([x[:, first : first + count] for first in range(rows)], axis=-1)
        width = rows * self.hop
        if width > self.points:
            return x[..., : self.points]
        return ops.pad(x, ((0, 0), (0, 0), (0, self.points - width))) if width < self.points else x

    def _spectrum(self, x):
        """Return the magnitudes of the Fourier transform (batch, frames, bins), bins as in `_places`."""
        count, (rows, columns), half = x.shape[1], self._stages, self._stages[0] // 2 + 1
        x = ops.transpose(ops.reshape(x * self._window, (-1, count, rows, columns)), (0, 1, 3, 2))
        x = ops.matmul(x, self._first)  # (batch, frames, columns, half + half), real and imaginary parts
        real, imaginary = x[..., :half], x[..., half:]
        cosine, sine = self._turns
        turned = real * cosine - imaginary * sine, real * sine + imaginary * cosine
        x = ops.concatenate([ops.transpose(part, (0, 1, 3, 2)) for part in turned], axis=-1)
        x = ops.square(ops.matmul(x, self._second))  # (batch, frames, half, columns + columns)
        x = ops.sqrt(x[..., :columns] + x[..., columns:])
        return ops.take(ops.reshape(x, (-1, count, half * columns)), self._places, axis=-1)

    def get_config(self):
        names = ("kind", "rate", "frame_ms", "hop_ms", "mels", "coefficients", "highest_hz", "level", "floor")
        return super().get_config() | {name: getattr(self, name) for name in names}


def front_end(
    family: str, *, rate: int, features: str | None, usual: str = KINDS[0], **arguments: float | str
) -> SoundFeatures | None:
    """Return the front end of a model, None for a model of pictures of sound or of other data.

    Args:
        family: Name of the model, for messages.
        rate: Samples of sound in a second; 0 for other data.
        features: Kind of the front end, "none", or None for the usual one of the data.
        usual: Kind of the usual one of samples.
        arguments: Other arguments of `SoundFeatures`.

    Raises:
        ValueError: Samples without a front end, or pictures with one.
    """
    if not rate:
        if features not in (None, "none"):
            raise ValueError(f"{family}: features: expected none for data that are no samples, received {features!r}")
        return None
    if features == "none":
        raise ValueError(
            f"{family}: features: expected one of {', '.join(KINDS)} for samples of sound, received 'none'"
        )
    return SoundFeatures(features or usual, rate, name="front", **arguments)


def hann(frame: int, points: int) -> np.ndarray:
    """Return the periodic Hann window of a frame, then zeros, (points,) float32."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(frame) / frame)
    return np.pad(window, (0, points - frame)).astype(np.float32)


def stages(points: int) -> tuple[int, int]:
    """Return two powers of two whose product is the number of points, nearly equal."""
    rows = 1 << points.bit_length() // 2
    return rows, points // rows


def transform(rows: int, columns: int) -> tuple[np.ndarray, tuple[np.ndarray, np.ndarray], np.ndarray, np.ndarray]:
    """Return the constants of a Fourier transform of rows * columns real samples.

    It is one of `rows` over samples that are `columns` apart, a turn of each value, and one of `columns`. Since samples
    are real, frequencies above the middle of the first stage mirror those below it, and half of them are enough.

    Returns:
        The first stage (rows, 2 * half) for real and imaginary parts; cosine and sine of the turns, (columns, half)
        each; the second stage (2 * columns, 2 * columns); and the place of each frequency, from zero to half the rate,
        in the result (half * columns).
    """
    half = rows // 2 + 1
    first = 2 * np.pi * np.outer(np.arange(rows), np.arange(half)) / rows
    turn = 2 * np.pi * np.outer(np.arange(columns), np.arange(half)) / (rows * columns)
    angle = 2 * np.pi * np.outer(np.arange(columns), np.arange(columns)) / columns
    cosine, sine = np.cos(angle), -np.sin(angle)
    frequency = np.add.outer(np.arange(half), rows * np.arange(columns)).reshape(-1)
    places = np.unique(np.minimum(frequency, rows * columns - frequency), return_index=True)[1]
    return (
        np.concatenate([np.cos(first), -np.sin(first)], axis=1).astype(np.float32),
        (np.cos(turn).astype(np.float32), -np.sin(turn).astype(np.float32)),
        np.block([[cosine, sine], [-sine, cosine]]).astype(np.float32),
        places.astype(np.int32),
    )


def band_blocks(weights: np.ndarray) -> tuple[tuple[int, np.ndarray], ...]:
    """Return first bin and weights (bins, bands) of neighbouring mel bands; in one matrix, most would be zeros.

    Args:
        weights: Weights of all, (bins, bands).
    """
    found, size = [], max(BLOCK, -(-weights.shape[1] // MOST_BLOCKS))
    for first in range(0, weights.shape[1], size):
        block = weights[:, first : first + size]
        used = np.flatnonzero(block.any(1))
        low, high = (used[0], used[-1] + 1) if len(used) else (0, 1)
        found.append((int(low), block[low:high].astype(np.float32)))
    return tuple(found)


def cosines(mels: int, coefficients: int) -> np.ndarray:
    """Return the first columns of HTK's DCT, (mels, coefficients), those of `tf.signal`."""
    angle = np.pi * np.outer(np.arange(mels) + 0.5, np.arange(coefficients)) / mels
    return (np.cos(angle) * np.sqrt(2 / mels)).astype(np.float32)


def mel_weights(mels: int, bins: int, rate: int, highest_hz: float) -> np.ndarray:
    """Return triangles of equal width on the mel scale of HTK, (bins, mels) float64.

    Args:
        mels: Number of bands.
        bins: Number of frequencies from 0 to half the rate.
        rate: Samples in a second.
        highest_hz: Upper edge of the last band in Hz.
    """

    def scale(hertz: np.ndarray | float) -> np.ndarray:
        return 1127.0 * np.log1p(np.asarray(hertz) / 700.0)

    edges = np.linspace(scale(LOWEST_HZ), scale(highest_hz), mels + 2)
    lower, middle, upper = edges[:-2], edges[1:-1], edges[2:]
    places = scale(np.linspace(0, rate / 2, bins))[:, None]
    found = np.minimum((places - lower) / (middle - lower), (upper - places) / (upper - middle))
    found[0] = 0  # tf.signal leaves the constant part of a frame out
    return np.maximum(found, 0)


def running_mean(magnitudes, before):
    """Return M[t] = (1 - s) M[t - 1] + s E[t] of mel magnitudes E (batch, frames, mels).

    It is computed by doubling: after k steps, a sum has the terms of 2^k frames.

    Args:
        magnitudes: Mel magnitudes (batch, frames, mels).
        before: Mean before the first frame (batch, 1, mels).
    """
    count, keep = magnitudes.shape[1], 1 - SMOOTHING
    mean, width = magnitudes * SMOOTHING, 1
    while width < count:
        earlier = ops.pad(mean[:, : count - width], ((0, 0), (width, 0), (0, 0)))
        mean, width = mean + float(keep**width) * earlier, 2 * width
    return mean + before * np.float32(keep) ** np.arange(1, count + 1, dtype=np.float32)[:, None]


def pcen(magnitudes, mean):
    """Return mel magnitudes (batch, frames, mels) divided by their running mean, and compressed by a root."""
    gained = magnitudes * ops.exp(-GAIN * ops.log(mean + SMALLEST))
    return ops.sqrt(gained + BIAS) - float(BIAS**POWER)
