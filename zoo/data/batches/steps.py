"""Batches that are made in numpy, a step at a time, from indices of examples and a generator of random numbers.

For data that are more than examples looked up: noise beside images, negatives beside triples, one of several captions.
Both are pure functions of the seed and the global step, so that a run that resumes sees what the uninterrupted one
would have seen, on every engine and number of replicas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.batches.pipeline import epoch_order, on_tensorflow
from zoo.data.dataset import steps_per_epoch

if TYPE_CHECKING:
    import tensorflow as tf

# From indices of examples (batch,) and a generator to what `fit` takes: (x, y) or (x, y, weights), of arrays or nests.
Make = Callable[[np.ndarray, np.random.Generator], tuple[Any, ...]]


class StepBatches(keras.utils.PyDataset):
    """The global steps from `start` to before `stop`.

    Args:
        make: gives the batch of a step.
        examples: in an epoch, of which a remainder that fills no batch is left out, another one each epoch.
        batch_size: examples in a step, over all replicas.
        seed: of the order and the generators.
        start: first global step.
        stop: one past the last.
    """

    def __init__(self, make: Make, examples: int, *, batch_size: int, seed: int, start: int, stop: int):
        super().__init__()
        self.make, self.examples, self.batch_size, self.seed = make, examples, batch_size, seed
        self.start, self.stop, self.steps = start, stop, steps_per_epoch(examples, batch_size)
        self._epoch: tuple[int, np.ndarray] | None = None  # the order of the epoch that was asked for last

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        step = self.start + index
        epoch, place = divmod(step, self.steps)
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = epoch, epoch_order(self.examples, self.seed, epoch)
        chosen = self._epoch[1][place * self.batch_size : (place + 1) * self.batch_size]
        return self.make(chosen, generator(self.seed, step))


def generator(seed: int, step: int) -> np.random.Generator:
    """Return the random numbers of a global step."""
    # Another counter than the order of epochs has, whose key is (seed, epoch).
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, 0, 1]))


def for_engine(batches: keras.utils.PyDataset, *, free: bool = False) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return the batches themselves on JAX, and a `tf.data.Dataset` of them on TensorFlow.

    Args:
        batches: of arrays, all of the shapes of the first.
        free: whether only the first axis, the batch, is the same in all.
    """
    if not on_tensorflow():
        return batches
    import tensorflow as tf

    def spec(array: np.ndarray) -> tf.TensorSpec:
        rest = (None,) * (array.ndim - 1) if free else array.shape[1:]
        return tf.TensorSpec((len(array), *rest), array.dtype)

    options = tf.data.Options()  # every worker makes all, and takes its share of each batch
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return (
        tf.data.Dataset.from_generator(
            lambda: (batches[i] for i in range(len(batches))),
            output_signature=keras.tree.map_structure(spec, batches[0]),
        )
        .apply(tf.data.experimental.assert_cardinality(len(batches)))
        .prefetch(tf.data.AUTOTUNE)
        .with_options(options)
    )
