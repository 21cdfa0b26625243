"""Length bucketing: batches are full and have one shape, examples occur equally often, and padding is small."""

import itertools

import numpy as np
import pytest

from zoo.console.errors import UsageError
from zoo.data.batches import buckets


def random_lengths(count, most=40, seed=0):
    rng = np.random.default_rng(seed)
    source = rng.integers(1, most, count)
    return source, np.clip(source + rng.integers(-3, 4, count), 1, most)


def cost(source, target, chosen):
    """Return the number of ids of all examples, each padded to the first shape that it fits into."""
    return sum(min(s + t for s, t in chosen if s >= a and t >= b) for a, b in zip(source, target, strict=True))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_no_other_shapes_leave_less_padding(count):
    source, target = random_lengths(80, most=12)
    key = np.maximum(source, target)
    tops = np.unique(key)
    found = []
    for ends in itertools.combinations(tops[:-1], count - 1):
        shapes = [(source[key <= end].max(), target[key <= end].max()) for end in (*ends, tops[-1])]
        found.append(cost(source, target, shapes))
    assert cost(source, target, buckets.choose(source, target, count)) == min(found)


def test_more_buckets_than_lengths_are_as_many_as_lengths():
    source = np.array([3, 3, 5])
    assert buckets.choose(source, source, 4) == ((3, 3), (5, 5))


@pytest.mark.parametrize(("examples", "batch_size"), [(1000, 32), (1000, 7), (64, 64), (101, 100)])
def test_batches_are_full_of_one_shape_and_hold_their_examples(examples, batch_size):
    source, target = random_lengths(examples)
    chosen = buckets.choose(source, target)
    for epoch in range(3):
        found = buckets.batches(source, target, chosen, batch_size=batch_size, seed=1, epoch=epoch)
        assert len(found) == examples // batch_size
        for batch in found:
            assert batch[1:] in chosen
            assert batch.indices.shape == (batch_size,)
            assert source[batch.indices].max() <= batch.source_length
            assert target[batch.indices].max() <= batch.target_length
        used = np.concatenate([batch.indices for batch in found])
        assert len(set(used.tolist())) == len(used) > examples - batch_size


def test_the_order_is_a_function_of_seed_and_epoch():
    source, target = random_lengths(300)
    chosen = buckets.choose(source, target)

    def order(seed, epoch):
        found = buckets.batches(source, target, chosen, batch_size=16, seed=seed, epoch=epoch)
        return [(*batch.indices.tolist(), *batch[1:]) for batch in found]

    assert order(0, 3) == order(0, 3)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_the_longest_examples_are_left_out_no_more_than_others():
    """Ten rare examples, always the leftovers of their bucket with batches of 32, occur as often as others."""
    source = np.array([5] * 200 + [30] * 10)
    chosen = buckets.choose(source, source, 2)
    seen = np.zeros(len(source), int)
    for epoch in range(200):
        for batch in buckets.batches(source, source, chosen, batch_size=32, seed=0, epoch=epoch):
            seen[batch.indices] += 1
    shares = seen / 200  # the expected share is 192 of 210
    assert abs(shares[200:].mean() - 192 / 210) < 0.03


def test_lengths_and_padding_are_counted():
    ids = np.array([[5, 6, 0], [7, 0, 0]])
    assert buckets.lengths(ids).tolist() == [2, 1]
    batch = buckets.Batch(np.array([0, 1]), 3, 3)
    assert buckets.padding(np.array([2, 1]), np.array([3, 3]), [batch]) == pytest.approx(3 / 12)


def test_fewer_examples_than_a_batch_are_refused():
    source, target = random_lengths(10)
    with pytest.raises(UsageError, match="--batch-size 11: expected at most the 10 training examples"):
        buckets.batches(source, target, buckets.choose(source, target), batch_size=11, seed=0, epoch=0)
