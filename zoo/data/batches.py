"""The order of training and the tf.data pipelines: index, gather, scale, a whole batch at a time.

The order of an epoch is a pure function of (seed, epoch), in numpy, so it is the same on every engine, and a run
that resumes at a step sees what the uninterrupted one would have seen.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.dataset import Split, steps_per_epoch
from zoo.data.images import PIXEL_MAX

if TYPE_CHECKING:
    import tensorflow as tf


def on_tensorflow() -> bool:
    """Whether Keras runs on TensorFlow, so that batches are tf.data's."""
    return keras.backend.backend() == "tensorflow"


def epoch_order(examples: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of the examples that an epoch trains in."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)


def epoch_orders(examples: int, batch_size: int, seed: int, start: int, stop: int) -> Iterator[np.ndarray]:
    """Yield, for each epoch of the global steps from `start` to before `stop`, the indices of its steps' examples.

    Each is (steps, batch_size) int64; the first epoch may begin, and the last end, inside.
    """
    steps = steps_per_epoch(examples, batch_size)
    for epoch in range(start // steps, -(-stop // steps)):
        order = epoch_order(examples, seed, epoch)[: steps * batch_size].reshape(steps, batch_size)
        yield order[max(start - epoch * steps, 0) : stop - epoch * steps]


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    class_weights: np.ndarray | None = None,
    shift: int = 0,
) -> tf.data.Dataset:
    """Return a `tf.data.Dataset` of the global steps from `start` to before `stop`.

    Args:
        split: the training examples.
        batch_size: examples in a step, over all replicas.
        seed: of the order.
        start: first global step.
        stop: one past the last.
        class_weights: (classes,) float32, makes the elements (x, y, weight).
        shift: move each image by up to this many pixels along both sides; what comes in is black. A pure function of
            the seed and the global step.

    Returns:
        a dataset of (x, y) with the known cardinality `stop - start`; on JAX a `keras.utils.PyDataset` of the same.
    """
    if not on_tensorflow():
        options = {"class_weights": class_weights, "shift": shift}
        return training_arrays(split, batch_size=batch_size, seed=seed, start=start, stop=stop, **options)
    import tensorflow as tf

    # Python is called once an epoch; called for every step, it cost a small model's step a fifth of its time.
    orders = tf.data.Dataset.from_generator(
        lambda: epoch_orders(len(split), batch_size, seed, start, stop),
        output_signature=tf.TensorSpec((None, batch_size), tf.int64),
    )
    indices = orders.flat_map(tf.data.Dataset.from_tensor_slices)
    indices = indices.apply(tf.data.experimental.assert_cardinality(stop - start))
    batches = _gather(indices, split, class_weights)
    if not shift:
        return batches
    steps = tf.data.Dataset.range(start, stop)
    moved = tf.data.Dataset.zip(steps, batches).map(
        lambda step, batch: (_shifted(batch[0], shift, tf.stack([tf.cast(seed, tf.int64), step])), *batch[1:]),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    return moved.prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class Gathered:
    """The batches of `training_batches`, for a step to gather from arrays in memory: nothing hands them over.

    Args:
        batch_size: examples in a step.
        indices: of the examples of so many global steps from one on, (steps, batch_size) int64.
        take: the batch of (batch_size,) indices, in TensorFlow.
    """

    batch_size: int
    indices: Callable[[int, int], np.ndarray]
    take: Callable[[Any], tuple]


def gathered(split: Split, *, batch_size: int, seed: int, class_weights: np.ndarray | None = None) -> Gathered | None:
    """Return the batches of `training_batches` of the same arguments, the same to the bit, for TensorFlow.

    None where there is a GPU, which would wait while the host gathers.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU"):
        return None
    steps = steps_per_epoch(len(split), batch_size)

    @functools.lru_cache(maxsize=1)
    def of_epoch(epoch: int) -> np.ndarray:
        return next(epoch_orders(len(split), batch_size, seed, epoch * steps, (epoch + 1) * steps))

    def indices(start: int, count: int) -> np.ndarray:
        found = [of_epoch(epoch) for epoch in range(start // steps, -(-(start + count) // steps))]
        return np.concatenate(found)[start % steps :][:count]

    return Gathered(batch_size, indices, _taker(split, class_weights))


def training_arrays(
    split: Split, *, batch_size: int, seed: int, start: int, stop: int, class_weights: np.ndarray | None, shift: int
) -> keras.utils.PyDataset:
    """Return the batches of `training_batches` in numpy, whatever the engine; other places of moved images."""
    from zoo.data.arrays_in_batches import TrainingBatches

    steps = steps_per_epoch(len(split), batch_size)
    return TrainingBatches(
        split,
        order=lambda epoch: epoch_order(len(split), seed, epoch)[: steps * batch_size].reshape(steps, batch_size),
        steps=steps,
        seed=seed,
        start=start,
        stop=stop,
        class_weights=class_weights,
        shift=shift,
    )


def _shifted(images: tf.Tensor, most: int, seed: tf.Tensor) -> tf.Tensor:
    """Return (batch, height, width, channels) images, each moved by up to `most` pixels along both sides."""
    import tensorflow as tf

    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]])
    rows, columns = tf.unstack(tf.random.stateless_uniform([2, count, 1], seed, 0, 2 * most + 1, tf.int32))
    found = tf.gather(padded, rows + tf.range(height), axis=1, batch_dims=1)
    found = tf.gather(found, columns + tf.range(width), axis=2, batch_dims=1)
    return tf.ensure_shape(found, images.shape)


def evaluation_batches(split: Split, *, batch_size: int, stride: int = 1) -> tf.data.Dataset:
    """Return a `tf.data.Dataset` of (x, y) with every example once, in order, the last batch as small as it falls.

    On JAX a `keras.utils.PyDataset` of (x, y, weight), the last execution of `stride` batches filled up, see
    `EvaluationBatches`.
    """
    if not on_tensorflow():
        from zoo.data.arrays_in_batches import EvaluationBatches

        distribution = keras.distribution.distribution()
        sharing = distribution.device_mesh.shape[0] if distribution else 1
        return EvaluationBatches(split, batch_size=batch_size, multiple=sharing, stride=stride)
    import tensorflow as tf

    return _gather(tf.data.Dataset.range(len(split)).batch(batch_size), split, None)


def _gather(indices: Any, split: Split, class_weights: np.ndarray | None) -> Any:
    import tensorflow as tf

    options = tf.data.Options()  # every worker reads all, and takes its share of each batch
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = indices.map(_taker(split, class_weights), num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _taker(split: Split, class_weights: np.ndarray | None) -> Callable[[Any], tuple]:
    """Return the function from indices to a batch of them."""
    import tensorflow as tf

    with tf.device("CPU:0"):  # the whole split stays in host memory; batches go to the devices
        x, y = tf.constant(split.x), tf.constant(split.y)
        weights = None if class_weights is None else tf.constant(class_weights, tf.float32)

    def batch(index):
        inputs, labels = tf.gather(x, index), tf.gather(y, index)
        if inputs.dtype == tf.uint8:
            inputs = tf.cast(inputs, tf.float32) * (1 / PIXEL_MAX)
        return (inputs, labels) if weights is None else (inputs, labels, tf.gather(weights, labels))

    return batch
