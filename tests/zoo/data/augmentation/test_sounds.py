"""Changes of sound against numpy and SciPy; the same for the same seed, epoch and example."""

import numpy as np
import pytest
from scipy import interpolate

from zoo.config.augmentation import parse
from zoo.data.augmentation import sounds
from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.augmentation.draws import Draws
from zoo.data.augmentation.sounds import Sounds

RATE = 8000
RNG = np.random.default_rng(0)
NOISE = RNG.integers(-9000, 9000, 5000).astype(np.int16)
EVERY = "timeshift(0.05) + speed(0.2) + gain(6) + equalize(6) + noise(0.7, 0, 20) + specaugment(2)"


def tones(count=6, samples=2000):
    t = np.arange(samples) / RATE
    x = [np.sin(2 * np.pi * (200 + 150 * i) * t) * np.hanning(samples) for i in range(count)]
    return (0.5 * np.array(x)).astype(np.float32)


def draws(count, stream=0):
    return Draws(0, 0, np.arange(count), stream)


def augmenter(recipe, noise=NOISE, seed=3):
    return Augmenter(parse(recipe), seed, 4, sound=Sounds(RATE, noise))


def test_shifts_are_those_of_numpy():
    x = tones(3)
    found = np.asarray(sounds.shifted(x, np.array([0, 7, -5], np.float32)))
    np.testing.assert_array_equal(found[0], x[0])
    np.testing.assert_array_equal(found[1], np.pad(x[1], (7, 0))[:-7])
    np.testing.assert_array_equal(found[2], np.pad(x[2], (0, 5))[5:])


def test_speed_is_cubic_interpolation_around_the_middle():
    x, speed = tones(4), np.array([1.0, 0.8, 1.25, 1.01], np.float32)
    found = np.asarray(sounds.played(x, speed))
    np.testing.assert_allclose(found[0], x[0], atol=1e-6)
    middle = (x.shape[1] - 1) / 2
    for row, factor, made in zip(x[1:], speed[1:], found[1:], strict=True):
        place = middle + (np.arange(len(row)) - middle) * factor
        expected = interpolate.CubicHermiteSpline(np.arange(len(row)), row, np.gradient(row))(
            np.clip(place, 0, len(row) - 1)
        )
        inside = (place > 2) & (place < len(row) - 3)
        np.testing.assert_allclose(made[inside], expected[inside], atol=2e-4)


def test_frequencies_are_amplified_along_a_line_between_points():
    x = RNG.normal(0, 0.05, (4, 2000)).astype(np.float32)
    found = np.asarray(sounds.equalized(x, 12.0, draws(4)))
    gain = 20 * np.log10(np.abs(np.fft.rfft(found)) / np.abs(np.fft.rfft(x)))
    again = draws(4)
    points = np.stack([np.asarray(again.uniform(-12.0, 12.0)) for _ in range(sounds.POINTS)], 1)
    for row, curve in zip(points, gain, strict=True):
        expected = np.interp(np.linspace(0, sounds.POINTS - 1, 1001), np.arange(sounds.POINTS), row)
        np.testing.assert_allclose(curve[1:-1], expected[1:-1], atol=0.05)


@pytest.mark.parametrize("noise", [NOISE, None])
def test_noise_has_the_ratio_that_was_drawn(noise):
    x, ratio = 0.2 * tones(), np.array([0, 5, 10, 15, 20, 30], np.float32)
    mixed = np.array([True] * 5 + [False])
    found = np.asarray(sounds.noisy(x, ratio, mixed, noise, draws(6))) - x
    measured = 10 * np.log10((x**2).mean(1)[:5] / (found**2).mean(1)[:5])
    np.testing.assert_allclose(measured, ratio[:5], atol=0.05)
    assert not found[5].any()


def test_silenced_parts_are_silent_and_the_rest_is_not_changed():
    x = RNG.normal(0, 0.1, (8, 2000)).astype(np.float32)
    share = np.full(8, 0.2, np.float32)
    found = np.asarray(sounds.without_times(x, share, draws(8)))
    assert ((found == 0).sum(1) == 400).all()
    assert (found[found != 0] == x[found != 0]).all()
    spectrum = np.abs(np.fft.rfft(np.asarray(sounds.without_frequencies(x, share, draws(8)))))
    soft = spectrum < 1e-3
    assert (np.abs(soft.sum(1) - 200) <= 2).all()
    np.testing.assert_allclose(spectrum[~soft], np.abs(np.fft.rfft(x))[~soft], atol=1e-3)


def test_an_example_is_changed_the_same_way_in_any_batch_and_anew_in_every_epoch():
    x, y = tones(), np.arange(6).astype(np.int32) % 4
    augment = augmenter(EVERY)
    every, labels = augment.on_arrays(x, y, np.arange(6), 5)
    few, _ = augment.on_arrays(x[[4, 1]], y[[4, 1]], np.array([4, 1]), 5)
    np.testing.assert_allclose(few, every[[4, 1]], atol=1e-6)
    np.testing.assert_array_equal(labels, y)
    later, _ = augment.on_arrays(x, y, np.arange(6), 6)
    assert (np.abs(later - every).max(1) > 1e-3).all()


def test_mixup_of_sounds_mixes_labels_as_well():
    x, y = tones(), np.arange(6).astype(np.int32) % 4
    mixed, labels = augmenter("mixup(1)").on_arrays(x, y, np.arange(6), 0)
    np.testing.assert_allclose(labels.sum(1), 1, atol=1e-6)
    weight = labels[0, 0]
    np.testing.assert_allclose(mixed[0], weight * x[0] + (1 - weight) * x[1], atol=1e-6)
