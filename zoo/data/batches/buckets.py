"""Batches of pairs of about the same length: a few static shapes, and little of a batch is padding.

Pure numpy; the batches of an epoch are a function of (seed, epoch), as in `zoo.data.batches.pipeline`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoo.data.dataset import steps_per_epoch


class Bucket(NamedTuple):
    """The shape of a batch: sources and targets are cut to these numbers of ids."""

    source_length: int
    target_length: int


class Batch(NamedTuple):
    """Examples of one step, and their shape: `x[indices, :source_length]`, `y[indices, :target_length]`."""

    indices: np.ndarray
    source_length: int
    target_length: int


def lengths(ids: np.ndarray) -> np.ndarray:
    """Return how many ids each row has up to its last that is no padding: (examples,) of (examples, time)."""
    real = ids != 0
    return np.where(real.any(1), ids.shape[1] - real[:, ::-1].argmax(1), 0)


def choose(source: np.ndarray, target: np.ndarray, count: int = 6) -> tuple[Bucket, ...]:
    """Choose the shapes that leave least padding, if each example is in the first that it fits in.

    Args:
        source: ids of each example, (examples,), see `lengths`.
        target: the same.
        count: most shapes; each costs a compilation, or a tracing.

    Returns:
        shapes that grow along both sides; every example fits in the last.
    """
    tops, place = np.unique(np.maximum(source, target), return_inverse=True)
    widths = np.zeros((len(tops), 2), np.int64)  # of a bucket that ends at each top
    np.maximum.at(widths, place, np.stack([source, target], axis=1))
    widths = np.maximum.accumulate(widths)
    below = np.concatenate([[0], np.cumsum(np.bincount(place))])  # examples before each top
    # cells[i, j]: of a bucket from the top i to the top j, which the examples between fill.
    cells = np.maximum(below[None, 1:] - below[:-1, None], 0) * widths.sum(1).astype(np.float64)
    cells[np.tril_indices(len(tops), -1)] = np.inf
    best, starts = cells[0], []  # of the examples up to each top, in one bucket more each round
    for _ in range(min(count, len(tops)) - 1):
        totals = np.concatenate([[np.inf], best[:-1]])[:, None] + cells  # the last bucket begins at i, ends at j
        starts.append(totals.argmin(0))
        best = totals.min(0)
    ends = [len(tops) - 1]
    for start in reversed(starts):
        ends.append(start[ends[-1]] - 1)
    return tuple(Bucket(*map(int, widths[end])) for end in reversed(ends))


def batches(
    source: np.ndarray,
    target: np.ndarray,
    buckets: Sequence[Bucket],
    *,
    batch_size: int,
    seed: int,
    epoch: int,
) -> list[Batch]:
    """Return the batches of an epoch, shuffled.

    Args:
        source: ids of each example, (examples,), see `lengths`.
        target: the same.
        buckets: see `choose`.
        batch_size: examples in each batch.
        seed: of the order.
        epoch: from 0.

    Returns:
        as many in every epoch. Fewer than one batch of examples, others each epoch, are left out; those that do not
        fill a batch of their bucket go into the next larger one.

    Raises:
        UsageError: fewer examples than one batch.
    """
    steps = steps_per_epoch(len(source), batch_size)
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = rng.permutation(len(source))[: steps * batch_size]
    sizes = np.array(buckets)
    # Of each example the first bucket that it fits in.
    place = np.maximum(np.searchsorted(sizes[:, 0], source), np.searchsorted(sizes[:, 1], target))[order]
    found, rest = [], order[:0]
    for index, bucket in enumerate(buckets):
        waiting = np.concatenate([rest, order[place == index]])
        whole = len(waiting) // batch_size * batch_size
        found += [Batch(indices, *bucket) for indices in waiting[:whole].reshape(-1, batch_size)]
        rest = waiting[whole:]
    return [found[i] for i in rng.permutation(len(found))]


def padding(source: np.ndarray, target: np.ndarray, found: Sequence[Batch]) -> float:
    """Return the share of padding among the ids of these batches."""
    cells = sum(len(batch.indices) * (batch.source_length + batch.target_length) for batch in found)
    used = sum(int(source[batch.indices].sum() + target[batch.indices].sum()) for batch in found)
    return 1 - used / cells
