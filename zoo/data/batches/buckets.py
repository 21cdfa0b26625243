"""Length bucketing: batches of pairs of similar lengths, with a few static shapes and little padding.

Numpy only. The batches of an epoch are a pure function of (seed, epoch), as in `zoo.data.batches.pipeline`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from zoo.data.dataset import steps_per_epoch


class Bucket(NamedTuple):
    """The shape of a batch.

    Attributes:
        source_length: Number of ids of each source.
        target_length: Number of ids of each target.
    """

    source_length: int
    target_length: int


class Batch(NamedTuple):
    """The examples of one step, `x[indices, :source_length]` and `y[indices, :target_length]`.

    Attributes:
        indices: Indices of the examples.
        source_length: Number of ids of each source.
        target_length: Number of ids of each target.
    """

    indices: np.ndarray
    source_length: int
    target_length: int


def lengths(ids: np.ndarray) -> np.ndarray:
    """Return the length of each row without the padding at its end, (examples,).

    Args:
        ids: Token ids (examples, time), padded with 0.
    """
    real = ids != 0
    return np.where(real.any(1), ids.shape[1] - real[:, ::-1].argmax(1), 0)


def choose(source: np.ndarray, target: np.ndarray, count: int = 6) -> tuple[Bucket, ...]:
    """Choose the bucket shapes that minimise padding when each example goes into the first bucket that it fits.

    Args:
        source: Source length of each example, (examples,); see `lengths`.
        target: Target length of each example, (examples,).
        count: Largest number of buckets. Each costs a compilation or a tracing.

    Returns:
        Buckets with increasing lengths of both sides. Every example fits into the last one.
    """
    tops, place = np.unique(np.maximum(source, target), return_inverse=True)
    widths = np.zeros((len(tops), 2), np.int64)  # shape of a bucket that ends at each top
    np.maximum.at(widths, place, np.stack([source, target], axis=1))
    widths = np.maximum.accumulate(widths)
    below = np.concatenate([[0], np.cumsum(np.bincount(place))])  # examples before each top
    # cells[i, j]: ids, with padding, in a bucket that holds the examples from top i to top j.
    cells = np.maximum(below[None, 1:] - below[:-1, None], 0) * widths.sum(1).astype(np.float64)
    cells[np.tril_indices(len(tops), -1)] = np.inf
    best, starts = cells[0], []  # fewest ids for the examples up to each top, with one more bucket in each round
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
    """Return the shuffled batches of an epoch.

    Args:
        source: Source length of each example, (examples,); see `lengths`.
        target: Target length of each example, (examples,).
        buckets: Buckets from `choose`.
        batch_size: Number of examples in each batch.
        seed: Random seed of the order.
        epoch: Epoch, counted from 0.

    Returns:
        The same number of batches in every epoch. Examples that do not fill a batch of their bucket go into the next
        larger bucket. Those left at the end, fewer than one batch and different ones in each epoch, are dropped.

    Raises:
        UsageError: If there are fewer examples than one batch.
    """
    steps = steps_per_epoch(len(source), batch_size)
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    order = rng.permutation(len(source))[: steps * batch_size]
    sizes = np.array(buckets)
    # Index of the first bucket that each example fits into.
    place = np.maximum(np.searchsorted(sizes[:, 0], source), np.searchsorted(sizes[:, 1], target))[order]
    found, rest = [], order[:0]
    for index, bucket in enumerate(buckets):
        waiting = np.concatenate([rest, order[place == index]])
        whole = len(waiting) // batch_size * batch_size
        found += [Batch(indices, *bucket) for indices in waiting[:whole].reshape(-1, batch_size)]
        rest = waiting[whole:]
    return [found[i] for i in rng.permutation(len(found))]


def order(lengths: np.ndarray, batch_size: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of an epoch in which texts of about one length share a batch, (steps * batch_size,).

    Args:
        lengths: Number of ids of each text, (examples,).
        batch_size: Number of examples in each batch.
        seed: Random seed of the order.
        epoch: Epoch, counted from 0.
    """
    found = batches(lengths, lengths, choose(lengths, lengths), batch_size=batch_size, seed=seed, epoch=epoch)
    return np.concatenate([batch.indices for batch in found])


def padding(source: np.ndarray, target: np.ndarray, found: Sequence[Batch]) -> float:
    """Return the share of padding among the ids of batches.

    Args:
        source: Source length of each example, (examples,).
        target: Target length of each example, (examples,).
        found: Batches of examples.
    """
    cells = sum(len(batch.indices) * (batch.source_length + batch.target_length) for batch in found)
    used = sum(int(source[batch.indices].sum() + target[batch.indices].sum()) for batch in found)
    return 1 - used / cells
