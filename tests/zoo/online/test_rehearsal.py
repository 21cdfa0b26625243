"""The rehearsal buffer is a uniform sample of all examples, whatever the batch sizes they arrive in."""

import numpy as np
from scipy.stats import chisquare

from zoo.data import Split
from zoo.data.batches.steps import generator
from zoo.online.rehearsal import Reservoir


def numbered(start, stop):
    return Split(np.arange(start, stop), np.arange(start, stop, dtype=np.int32))


def filled(capacity, before, sizes, seed):
    """Return the buffer after a split and batches of the given sizes."""
    found, start = Reservoir.of(numbered(0, before), capacity, seed), before
    for i, size in enumerate(sizes):
        examples = numbered(start, start + size)
        found.add(examples, examples.x + 1 - before, generator(seed, 1 + i))
        start += size
    return found


def test_every_example_is_as_likely_to_be_kept():
    for capacity, before, sizes in ((5, 12, [7, 1, 20]), (8, 3, [1, 2, 30, 4]), (10, 0, [40])):
        total, trials = before + sum(sizes), 3000
        counts = np.zeros(total)
        for seed in range(trials):
            found = filled(capacity, before, sizes, seed)
            assert len(found) == capacity == len(np.unique(found.x))
            counts[found.x] += 1
        # Counts of draws without replacement vary less than multinomial counts, by this factor.
        spread = (counts - trials * capacity / total) / np.sqrt(1 - capacity / total)
        assert chisquare(trials * capacity / total + spread).pvalue > 0.001


def test_examples_labels_and_numbers_stay_together():
    found = filled(6, 10, [9, 9], seed=3)
    np.testing.assert_array_equal(found.x, found.y)
    np.testing.assert_array_equal(found.numbers, np.maximum(found.x - 9, 0))
    sample = found.sample(6, generator(0, 0))
    assert sorted(sample.x) == sorted(found.x) and (sample.x == sample.y).all()
    assert len(found.sample(40, generator(0, 0))) == 40


def test_what_is_older_than_a_drift_is_left_out_and_replaced():
    found = filled(6, 10, [20], seed=1)
    found.forget_before(8)
    assert (found.numbers >= 8).all() and len(found) < 6
    more = numbered(30, 50)
    found.add(more, more.x, generator(1, 9))
    assert len(found) == 6


def test_a_buffer_of_no_examples_stays_empty():
    assert len(filled(0, 10, [5], seed=0)) == 0
