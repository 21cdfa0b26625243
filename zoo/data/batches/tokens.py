"""Batches of token ids whose labels are tokens: windows of a text, and pairs of a source and a target.

Every batch is (x, labels, weights). Labels that are padding weigh nothing, and the others so much that a mean over a
batch is the mean over its tokens, on however many replicas it is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.batches import buckets
from zoo.data.batches.order import epoch_order
from zoo.data.batches.pipeline import on_tensorflow
from zoo.data.batches.steps import for_engine
from zoo.data.dataset import DataSpec, Split, steps_per_epoch
from zoo.data.sources.language import moved

if TYPE_CHECKING:
    import tensorflow as tf


def training_batches(
    split: Split, spec: DataSpec, *, batch_size: int, seed: int, start: int, stop: int
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return the global steps from `start` to before `stop`, whose order is a pure function of (seed, epoch).

    Pairs of about the same length share a batch, see `zoo.data.batches.buckets`. The windows of a text begin at another
    token in each epoch, so that over the epochs every token is predicted from short and from long contexts.

    Args:
        split: the training examples.
        spec: their form.
        batch_size: examples in a step, over all replicas.
        seed: Random seed of the order of examples.
        start: first global step.
        stop: one past the last.
    """
    steps = steps_per_epoch(len(split), batch_size)
    if spec.kind == "pairs":
        lengths = buckets.lengths(split.x), buckets.lengths(split.y)
        shapes = buckets.choose(*lengths)

        def plan(epoch: int) -> tuple[Split, list[buckets.Batch]]:
            return split, buckets.batches(*lengths, shapes, batch_size=batch_size, seed=seed, epoch=epoch)
    else:
        time = split.x.shape[1]

        def plan(epoch: int) -> tuple[Split, list[buckets.Batch]]:
            order = epoch_order(len(split), seed, epoch)[: steps * batch_size].reshape(steps, batch_size)
            by = np.random.Generator(np.random.Philox(key=[seed, epoch])).integers(time)
            return moved(split, int(by)), [buckets.Batch(indices, time, time) for indices in order]

    free = spec.kind == "pairs"  # buckets have lengths of their own
    return for_engine(TokenBatches(split, spec, plan, steps=steps, start=start, stop=stop), free=free)


def evaluation_batches(
    split: Split, spec: DataSpec, *, batch_size: int, stride: int = 1
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return every example once, in order, at full length, as (x, labels, weights).

    The last batches are filled up with examples of weight zero, so that all have one shape and the number of batches is
    a multiple of `stride`.
    """
    distribution = keras.distribution.distribution() if not on_tensorflow() else None
    multiple = distribution.device_mesh.shape[0] if distribution else 1
    batch_size = min(-(-batch_size // multiple), -(-len(split) // multiple)) * multiple
    steps = -(-len(split) // (batch_size * stride)) * stride
    places = np.arange(steps * batch_size).reshape(steps, batch_size)
    time = split.x.shape[1], split.y.shape[1]
    every = split, [buckets.Batch(indices, *time) for indices in places]
    return for_engine(TokenBatches(split, spec, lambda epoch: every, steps=steps, start=0, stop=steps, whole=True))


class TokenBatches(keras.utils.PyDataset):
    """The global steps from `start` to before `stop`, in numpy.

    Args:
        split: the examples; an index past the last is an example of weight zero.
        spec: their form.
        plan: a function of an epoch that returns its examples, as many as `split` has, and its batches.
        steps: in an epoch.
        start: first global step.
        stop: one past the last.
        whole: weigh tokens alike over all batches, not within each.
    """

    def __init__(
        self,
        split: Split,
        spec: DataSpec,
        plan: Callable[[int], tuple[Split, list[buckets.Batch]]],
        *,
        steps: int,
        start: int,
        stop: int,
        whole: bool = False,
    ):
        super().__init__()
        self.split, self.spec, self.plan = split, spec, plan
        self.steps, self.start, self.stop = steps, start, stop
        self._epoch: tuple[int, Split, list[buckets.Batch]] | None = None  # the plan of the epoch asked for last
        labels = split.y[:, 1:] if spec.kind == "pairs" else split.y
        cells = steps * plan(0)[1][0].indices.size * labels.shape[1] if whole else 0
        self._share = np.count_nonzero(labels) / cells if whole else None

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[Any, np.ndarray, np.ndarray]:
        step = self.start + index
        epoch = step // self.steps
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, *self.plan(epoch))
        _, split, batches = self._epoch
        indices, source_time, target_time = batches[step % self.steps]
        found = split.take(np.minimum(indices, len(self.split) - 1))
        x, labels = found.x[:, :source_time], found.y[:, :target_time]
        if self.spec.kind == "pairs":
            x, labels = (x, labels[:, :-1]), labels[:, 1:]
        real = (labels != 0) & (indices < len(self.split))[:, None]
        share = real.mean() if self._share is None else self._share
        return x, labels, (real / max(share, np.finfo(np.float64).tiny)).astype(np.float32)
