"""Batches made in numpy, one step at a time, from example indices and a random generator.

They serve data that needs more than a look-up of examples: noise for images, negatives for triples, or one of several
captions. Indices and generator are pure functions of the seed and the global step. So a run that resumes sees the same
batches as an uninterrupted one, with every backend and number of replicas.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.batches.order import epoch_order
from zoo.data.batches.pipeline import on_tensorflow
from zoo.data.dataset import steps_per_epoch

if TYPE_CHECKING:
    import tensorflow as tf

# A function from example indices (batch,) and a generator to a batch for `fit`: (x, y) or (x, y, weights), where each
# may be a nested structure of arrays.
Make = Callable[[np.ndarray, np.random.Generator], tuple[Any, ...]]


class StepBatches(keras.utils.PyDataset):
    """The batches of global steps `start` to `stop - 1`.

    Args:
        make: Function that makes the batch of a step.
        examples: Number of examples in an epoch. A remainder that does not fill a batch is dropped, a different one in
            each epoch.
        batch_size: Number of examples in a step, over all replicas.
        seed: Random seed of the order and of the generators.
        start: First global step.
        stop: Global step after the last one.
    """

    def __init__(self, make: Make, examples: int, *, batch_size: int, seed: int, start: int, stop: int):
        super().__init__()
        self.make, self.examples, self.batch_size, self.seed = make, examples, batch_size, seed
        self.start, self.stop, self.steps = start, stop, steps_per_epoch(examples, batch_size)
        self._epoch: tuple[int, np.ndarray] | None = None  # the last epoch read, and its order

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        step = self.start + index
        epoch, place = divmod(step, self.steps)
        last = self._epoch
        if last is None or last[0] != epoch:
            self._epoch = last = epoch, epoch_order(self.examples, self.seed, epoch)
        chosen = last[1][place * self.batch_size : (place + 1) * self.batch_size]
        return self.make(chosen, generator(self.seed, step))


def generator(seed: int, step: int) -> np.random.Generator:
    """Return the random generator of a global step."""
    # The counter keeps it apart from the generator of an epoch's order, whose key is (seed, epoch).
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, 0, 1]))


def for_engine(batches: keras.utils.PyDataset, *, free: bool = False) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return batches for the Keras backend: a `tf.data.Dataset` on TensorFlow, and the batches unchanged on JAX.

    Args:
        batches: Batches of arrays that all have the shapes of the first batch.
        free: Whether all axes except the first may differ between batches.
    """
    if not on_tensorflow():
        return batches
    import tensorflow as tf

    def spec(array: np.ndarray) -> tf.TensorSpec:
        rest = (None,) * (array.ndim - 1) if free else array.shape[1:]
        return tf.TensorSpec((len(array), *rest), array.dtype)

    options = tf.data.Options()  # every worker makes all batches and takes its share of each
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
