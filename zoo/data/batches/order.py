"""The order of the training examples in an epoch: a pure function of (seed, epoch), computed in numpy.

So it is the same with every backend, whether the examples are kept in memory or read for each batch, for any number of
workers, and a run that resumes at a step sees the same examples as an uninterrupted one.

Records of a file are read faster in blocks of neighbours than one by one: a disk that reads 500 MB/s in blocks of
128 KB made 7,000 single reads a second. Examples of such a source have an order of blocks: the blocks of an epoch are
permuted, and so are the examples of each `WINDOW` blocks that follow each other in this order. A batch then has
examples from up to `WINDOW` places of the set, and every example comes once.
"""

from collections.abc import Iterator

import numpy as np

from zoo.data.batches import buckets
from zoo.data.batches.balance import balanced
from zoo.data.dataset import steps_per_epoch

# Number of blocks whose examples are mixed.
WINDOW = 128


def epoch_order(examples: int, seed: int, epoch: int, labels: np.ndarray | None = None, block: int = 1) -> np.ndarray:
    """Return the order of the training examples in an epoch, (examples,).

    Args:
        examples: Number of training examples.
        seed: Random seed of the order.
        epoch: Epoch, counted from 0.
        labels: Class of each example, to have equally many of each class; by default every example is there once.
        block: Number of neighbours that stay together; with 1 all permutations are equally likely. Not used with
            labels.
    """
    rng = np.random.Generator(np.random.Philox(key=[seed, epoch]))
    if labels is not None:
        return balanced(labels, rng)
    if block == 1:
        return rng.permutation(examples)
    order = np.arange(examples)
    starts = rng.permutation(-(-examples // block)) * block
    found = np.concatenate([order[start : start + block] for start in starts])
    for start in range(0, examples, WINDOW * block):
        rng.shuffle(found[start : start + WINDOW * block])
    return found


def epoch_orders(
    examples: int,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    labels: np.ndarray | None = None,
    block: int = 1,
    lengths: np.ndarray | None = None,
) -> Iterator[np.ndarray]:
    """Yield the example indices of global steps `start` to `stop - 1`, one array (steps, batch_size) int64 per epoch.

    The first and the last epoch may be partial.

    Args:
        examples: Number of training examples.
        batch_size: Number of examples in a step.
        seed: Random seed of the order.
        start: First global step.
        stop: Global step after the last one.
        labels: Class of each example, to have equally many of each class in an epoch.
        block: Number of neighbours that stay together in the order.
        lengths: Number of ids of each text, so that those of about one length share a batch; not used with labels.
    """
    steps = steps_per_epoch(examples, batch_size)
    for epoch in range(start // steps, -(-stop // steps)):
        if lengths is None or labels is not None:
            order = epoch_order(examples, seed, epoch, labels, block)[: steps * batch_size]
        else:
            order = buckets.order(lengths, batch_size, seed, epoch)
        order = order.reshape(steps, batch_size)
        yield order[max(start - epoch * steps, 0) : stop - epoch * steps]
