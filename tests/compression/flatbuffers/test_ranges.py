import numpy as np
import pytest

from compression.flatbuffers.ranges import BINS, best_range, range_error


def exact_error(x, low, high):
    scale = (high - low) / 255
    zero = np.rint(-low / scale)
    rounded = (np.clip(np.rint(x / scale) + zero, 0, 255) - zero) * scale
    return np.square(rounded - x).mean()


def laplace(seed=0):
    return np.random.default_rng(seed).laplace(0, 1, 50_000).astype("float32")


@pytest.mark.parametrize(
    "x", [laplace(), np.maximum(laplace(), 0), np.minimum(laplace(), 0) * 9], ids=["both", "relu", "below"]
)
def test_the_best_range_is_that_of_a_fine_grid(x):
    counts, edges = np.histogram(x, BINS, (x.min(), x.max()))
    found = exact_error(x, *best_range(counts, edges))
    shares = np.linspace(0.2, 1, 17)
    grid = [(min(x.min(), 0) * a, max(x.max(), 0) * b) for a in shares for b in shares]
    fine = min(exact_error(x, low, high) for low, high in set(grid))
    assert found <= 1.1 * fine and found < exact_error(x, min(x.min(), 0), max(x.max(), 0))


def test_the_error_of_a_histogram_is_that_of_its_values():
    x = laplace(1)
    counts, edges = np.histogram(x, BINS, (x.min(), x.max()))
    for low, high in ((float(x.min()), float(x.max())), (-3.0, 5.0), (-1.0, 1.0)):
        assert range_error(counts, edges, low, high) == pytest.approx(exact_error(x, low, high), rel=0.1)


def test_evenly_spread_values_keep_their_range():
    counts = np.ones(BINS)
    assert best_range(counts, np.linspace(0, 6, BINS + 1)) == (0.0, 6.0)
