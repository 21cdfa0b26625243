"""Random numbers that are a function of (seed, epoch, example)."""

import numpy as np
from scipy import stats

from zoo.data.augmentation.draws import Draws


def pcg4d(words):
    """Return the hash of Jarzynski & Olano (2020) in numpy, written from the paper's listing."""
    v = np.array(words, np.uint32)
    with np.errstate(over="ignore"):
        v = v * np.uint32(1664525) + np.uint32(1013904223)
        for final in (False, True):
            v[0] += v[1] * v[3]
            v[1] += v[2] * v[0]
            v[2] += v[0] * v[1]
            v[3] += v[1] * v[2]
            if not final:
                v ^= v >> np.uint32(16)
    return v


def numbers(seed, epoch, index, count=1, stream=0):
    draws = Draws(seed, epoch, np.asarray(index), stream)
    return np.stack([np.asarray(draws.uniform()) for _ in range(count)], axis=1)


def test_numbers_are_those_of_the_published_hash():
    found = numbers(2**32 - 1, 5, [0, 7], count=6, stream=3)
    for row, index in zip(found, (0, 7), strict=True):
        words = [pcg4d([index, 5, 2**32 - 1, (3 << 16) + block]) for block in (0, 1)]
        np.testing.assert_array_equal(row, (np.concatenate(words)[:6] >> 8) / np.float32(2**24))


def test_numbers_do_not_depend_on_the_other_examples_of_a_batch():
    whole = numbers(1, 2, np.arange(100), count=3)
    np.testing.assert_array_equal(numbers(1, 2, [40, 3]), whole[[40, 3], :1])
    for other in (
        numbers(2, 2, np.arange(100)),
        numbers(1, 3, np.arange(100)),
        numbers(1, 2, np.arange(100), stream=1),
    ):
        assert not np.isin(other, whole).any()


def test_numbers_are_uniform_and_independent():
    found = numbers(0, 0, np.arange(20_000), count=5)
    assert found.min() >= 0 and found.max() < 1
    for column in found.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-3
    # Columns, and neighbouring examples: 1 / sqrt(20,000) is a standard deviation.
    assert np.abs(np.corrcoef(found.T) - np.eye(5)).max() < 0.03
    assert abs(np.corrcoef(found[1:, 0], found[:-1, 0])[0, 1]) < 0.03


def test_whole_numbers_are_equally_frequent_and_within_their_limits():
    draws = Draws(0, 0, np.arange(9_000))
    values, counts = np.unique(np.asarray(draws.integer(-1, 1)), return_counts=True)
    assert values.tolist() == [-1, 0, 1] and np.abs(counts - 3000).max() < 200
    assert set(np.asarray(draws.sign()).tolist()) == {-1, 1}
