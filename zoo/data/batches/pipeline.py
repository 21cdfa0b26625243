"""The order of training examples and the tf.data pipelines, which gather and scale a whole batch at a time.

The order of an epoch is a pure function of (seed, epoch), computed in numpy. So it is the same with every backend, and
a run that resumes at a step sees the same examples as an uninterrupted one.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.dataset import Split, mapped, steps_per_epoch
from zoo.data.images import pixel_scale

if TYPE_CHECKING:
    import tensorflow as tf


def on_tensorflow() -> bool:
    """Return whether the Keras backend is TensorFlow, so that batches come from tf.data."""
    return keras.backend.backend() == "tensorflow"


def epoch_order(examples: int, seed: int, epoch: int) -> np.ndarray:
    """Return the permutation of the training examples in an epoch."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(examples)


def epoch_orders(examples: int, batch_size: int, seed: int, start: int, stop: int) -> Iterator[np.ndarray]:
    """Yield the example indices of global steps `start` to `stop - 1`, one array (steps, batch_size) int64 per epoch.

    The first and the last epoch may be partial.

    Args:
        examples: Number of training examples.
        batch_size: Number of examples in a step.
        seed: Random seed of the order.
        start: First global step.
        stop: Global step after the last one.
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
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> tf.data.Dataset:
    """Return the training batches of global steps `start` to `stop - 1`.

    Args:
        split: Training examples.
        batch_size: Number of examples in a step, over all replicas.
        seed: Random seed of the order.
        start: First global step.
        stop: Global step after the last one.
        class_weights: Weight of each class, (classes,) float32; makes the batches (x, y, weight). None for no weights.
        shift: Largest random shift of an image along both axes, in pixels, padded with black. The shifts are a pure
            function of the seed and the global step.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.

    Returns:
        Dataset of batches (x, y) with known cardinality `stop - start`; on JAX, a `keras.utils.PyDataset`.
    """
    if not on_tensorflow():
        options = {"class_weights": class_weights, "shift": shift}
        if pixel_range != (0.0, 1.0):
            raise NotImplementedError("pixels in another range than [0, 1] are made on TensorFlow only")
        return training_arrays(split, batch_size=batch_size, seed=seed, start=start, stop=stop, **options)
    import tensorflow as tf

    # Python runs once per epoch. Called in every step, it took a fifth of a small model's step time.
    orders = tf.data.Dataset.from_generator(
        lambda: epoch_orders(len(split), batch_size, seed, start, stop),
        output_signature=tf.TensorSpec((None, batch_size), tf.int64),
    )
    indices = orders.flat_map(tf.data.Dataset.from_tensor_slices)
    indices = indices.apply(tf.data.experimental.assert_cardinality(stop - start))
    batches = _gather(indices, split, class_weights, pixel_range)
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
    """The batches of `training_batches`, which the training step gathers from arrays in memory without an iterator.

    Args:
        batch_size: Number of examples in a step.
        indices: Function from a first global step and a number of steps to example indices, (steps, batch_size) int64.
        take: TensorFlow function from indices (batch_size,) to a batch.
    """

    batch_size: int
    indices: Callable[[int, int], np.ndarray]
    take: Callable[[Any], tuple]


def gathered(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    class_weights: np.ndarray | None = None,
    pixel_range: tuple[float, float] = (0.0, 1.0),
) -> Gathered | None:
    """Return the batches of `training_batches` for gathering within the step, equal bit for bit; TensorFlow only.

    Args:
        split: Training examples.
        batch_size: Number of examples in a step.
        seed: Random seed of the order.
        class_weights: Weight of each class, (classes,) float32; makes the batches (x, y, weight). None for no weights.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.

    Returns:
        Batches, or None if there is a GPU, which would wait while the host gathers.
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

    return Gathered(batch_size, indices, _taker(split, class_weights, pixel_range))


def training_arrays(
    split: Split, *, batch_size: int, seed: int, start: int, stop: int, class_weights: np.ndarray | None, shift: int
) -> keras.utils.PyDataset:
    """Return the batches of `training_batches` in numpy, with any backend. The random shifts of images differ.

    Args:
        split: Training examples.
        batch_size: Number of examples in a step, over all replicas.
        seed: Random seed of the order and of the shifts.
        start: First global step.
        stop: Global step after the last one.
        class_weights: Weight of each class, (classes,) float32; makes the batches (x, y, weight). None for no weights.
        shift: Largest random shift of an image along both axes, in pixels.
    """
    from zoo.data.batches.numpy import TrainingBatches

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
    """Return images (batch, height, width, channels), each shifted by up to `most` pixels along both axes."""
    import tensorflow as tf

    count, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]])
    rows, columns = tf.unstack(tf.random.stateless_uniform([2, count, 1], seed, 0, 2 * most + 1, tf.int32))
    found = tf.gather(padded, rows + tf.range(height), axis=1, batch_dims=1)
    found = tf.gather(found, columns + tf.range(width), axis=2, batch_dims=1)
    return tf.ensure_shape(found, images.shape)


def evaluation_batches(
    split: Split, *, batch_size: int, stride: int = 1, pixel_range: tuple[float, float] = (0.0, 1.0)
) -> tf.data.Dataset:
    """Return every example once, in order, as batches (x, y); the last batch may be smaller.

    On JAX, return a `keras.utils.PyDataset` of (x, y, weight) whose last batches are padded; see `EvaluationBatches`.

    Args:
        split: Examples to evaluate.
        batch_size: Largest number of examples in a batch.
        stride: Divisor of the number of batches on JAX: the steps of one execution.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.
    """
    if not on_tensorflow():
        from zoo.data.batches.numpy import EvaluationBatches

        distribution = keras.distribution.distribution()
        sharing = distribution.device_mesh.shape[0] if distribution else 1
        return EvaluationBatches(split, batch_size=batch_size, multiple=sharing, stride=stride)
    import tensorflow as tf

    return _gather(tf.data.Dataset.range(len(split)).batch(batch_size), split, None, pixel_range)


def _gather(
    indices: tf.data.Dataset, split: Split, class_weights: np.ndarray | None, pixel_range: tuple[float, float]
) -> tf.data.Dataset:
    import tensorflow as tf

    options = tf.data.Options()  # every worker reads all data and takes its share of each batch
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = indices.map(_taker(split, class_weights, pixel_range), num_parallel_calls=tf.data.AUTOTUNE)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(options)


def _taker(split: Split, class_weights: np.ndarray | None, pixel_range: tuple[float, float]) -> Callable[[Any], tuple]:
    """Return the function from example indices to a batch."""
    import tensorflow as tf

    with tf.device("CPU:0"):  # the split stays in host memory; only batches go to the devices
        x, y = (mapped(tf.constant, part) for part in (split.x, split.y))
        weights = None if class_weights is None else tf.constant(class_weights, tf.float32)

    factor, low = pixel_scale(pixel_range)

    def taken(array: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        values = tf.gather(array, index)
        if values.dtype != tf.uint8:
            return values
        pixels = tf.cast(values, tf.float32) * factor
        return pixels + low if low else pixels

    def batch(index: tf.Tensor) -> tuple:
        inputs, labels = mapped(lambda array: taken(array, index), x), mapped(lambda array: tf.gather(array, index), y)
        return (inputs, labels) if weights is None else (inputs, labels, tf.gather(weights, labels))

    return batch
