"""Changes of samples of sound: along time, of loudness, by noise, and of parts of the spectrum."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from zoo.data.augmentation.draws import Draws
from zoo.data.images import scaled

# Smallest power that counts as sound.
SILENCE = 1e-10
# Points of the curve that frequencies are amplified by.
POINTS = 6


@dataclass(frozen=True)
class Sounds:
    """What the words of `--augment` for sound need besides a batch.

    Args:
        rate: Samples in a second.
        noise: Recordings of noise one after another, (samples,) int16; None to mix in white noise.
    """

    rate: int
    noise: np.ndarray | None = None


def shifted(x: Any, samples: Any) -> Any:
    """Return sound moved to later times, with zeros where none was.

    Args:
        x: Samples (batch, samples).
        samples: Whole number for each example, (batch,) float32.
    """
    return _at(x, _times(x) - ops.cast(samples, "int32")[:, None])


def played(x: Any, speed: Any) -> Any:
    """Return sound played faster or slower around its middle, with the pitch that follows, by cubic interpolation.

    Args:
        x: Samples (batch, samples).
        speed: Factor for each example, (batch,); above 1 is faster and higher.
    """
    middle = (x.shape[1] - 1) / 2
    place = middle + (ops.cast(_times(x), "float32") - middle) * speed[:, None]
    whole = ops.floor(place)
    t, first = place - whole, ops.cast(whole, "int32")
    before, here, next_, after = (_at(x, first + offset) for offset in (-1, 0, 1, 2))
    # Catmull & Rom (1974).
    slope, bend = next_ - before, 2 * before - 5 * here + 4 * next_ - after
    return here + t / 2 * (slope + t * (bend + t * (3 * (here - next_) + after - before)))


def amplified(x: Any, decibels: Any) -> Any:
    """Return louder or softer sound, cut off at full scale.

    Args:
        x: Samples (batch, samples).
        decibels: Gain of each example, (batch,).
    """
    return ops.clip(x * ops.power(10.0, decibels[:, None] / 20), -1.0, 1.0)


def equalized(x: Any, decibels: float, draws: Draws) -> Any:
    """Return sound whose frequencies are amplified along a curve through random points, cut off at full scale.

    Args:
        x: Samples (batch, samples).
        decibels: Largest gain or loss of a point.
        draws: Random numbers of the points, which are evenly spaced from zero to half the rate.
    """
    real, imaginary = ops.rfft(x)
    points = ops.stack([draws.uniform(-decibels, decibels) for _ in range(POINTS)], axis=1)
    place = np.linspace(0, POINTS - 1, real.shape[1])
    first = np.minimum(place.astype(int), POINTS - 2)
    weights = np.zeros((POINTS, len(place)), np.float32)
    weights[first, np.arange(len(place))] = 1 - (place - first)
    weights[first + 1, np.arange(len(place))] = place - first
    gain = ops.power(10.0, ops.matmul(points, weights) / 20)
    return ops.clip(ops.irfft((real * gain, imaginary * gain), fft_length=x.shape[1]), -1.0, 1.0)


def noisy(x: Any, ratio: Any, mixed: Any, noise: np.ndarray | None, draws: Draws) -> Any:
    """Return sound with noise mixed in.

    Args:
        x: Samples (batch, samples).
        ratio: Power of the sound to that of the noise in decibels, (batch,).
        mixed: Which examples get noise, (batch,) bool.
        noise: Recordings, (samples,) int16, of which a part is drawn for each example; None for white noise.
        draws: Random numbers of the parts.
    """
    if noise is None:
        found = _white(x, draws)
    else:
        start = ops.cast(draws.integer(0, len(noise) - 1), "int32")[:, None]
        found = ops.take(ops.convert_to_tensor(scaled(noise)), (start + _times(x)) % len(noise))
    power = [ops.maximum(ops.mean(ops.square(part), axis=1, keepdims=True), SILENCE) for part in (x, found)]
    share = ops.sqrt(power[0] / power[1]) * ops.power(10.0, -ratio[:, None] / 20)
    return ops.where(mixed[:, None], ops.clip(x + share * found, -1.0, 1.0), x)


def _white(x: Any, draws: Draws) -> Any:
    """Return white noise, a hash of each sample's place and one number of the example."""
    start = ops.cast(draws.integer(0, (1 << 20) - 1), "int32")[:, None]
    rng = np.random.default_rng(0)
    table = rng.standard_normal(1 << 16, dtype=np.float32)
    return ops.take(ops.convert_to_tensor(table), (start * 4099 + _times(x)) % len(table))


def without_times(x: Any, share: Any, draws: Draws) -> Any:
    """Return sound with a part of the time set to zero.

    Args:
        x: Samples (batch, samples).
        share: Share of the clip, (batch,).
        draws: Random numbers of the places.
    """
    return ops.where(_interval(x.shape[1], share, draws), 0.0, x)


def without_frequencies(x: Any, share: Any, draws: Draws) -> Any:
    """Return sound without a band of frequencies.

    Args:
        x: Samples (batch, samples).
        share: Share of the frequencies from zero to half the rate, (batch,).
        draws: Random numbers of the places.
    """
    real, imaginary = ops.rfft(x)
    band = _interval(real.shape[1], share, draws)
    kept = (ops.where(band, 0.0, real), ops.where(band, 0.0, imaginary))
    return ops.irfft(kept, fft_length=x.shape[1])


def _interval(size: int, share: Any, draws: Draws) -> Any:
    """Return which of `size` places lie within an interval of a share of them, (batch, size) bool."""
    length = ops.round(share * size)
    start = ops.floor(draws.uniform() * (size - length + 1))[:, None]
    place = ops.arange(size, dtype="float32")[None]
    return ops.logical_and(place >= start, place < start + length[:, None])


def _times(x: Any) -> Any:
    return ops.arange(x.shape[1], dtype="int32")[None]


def _at(x: Any, place: Any) -> Any:
    """Return the samples at places (batch, samples), zeros outside of a clip."""
    inside = ops.logical_and(place >= 0, place < x.shape[1])
    place = ops.broadcast_to(ops.clip(place, 0, x.shape[1] - 1), ops.shape(x))
    return ops.where(inside, ops.take_along_axis(x, place, axis=1), 0.0)
