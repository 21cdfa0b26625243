"""The tf.data pipelines, which read, scale and augment a whole batch at a time.

Examples in memory are gathered from a tensor that shares the memory of their array. Those of a
`zoo.data.stored.column.Column` are read and decoded for each batch, several batches at a time while a step is computed.
Both give the same batches, bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.batches import buckets, streamed
from zoo.data.batches.ahead import ahead
from zoo.data.batches.order import epoch_order, epoch_orders
from zoo.data.dataset import ALIGNMENT, Split, leaves, mapped, steps_per_epoch
from zoo.data.images import FULL_SCALE, UNIT, pixel_scale
from zoo.data.stored.column import Column

if TYPE_CHECKING:
    import tensorflow as tf

# Largest size in bytes of the float32 inputs of an evaluation batch.
EVALUATED_BYTES = 1 << 26
# Largest size of a head's attention scores over token ids in an evaluation batch: 512 texts of 128 tokens, 32 of 512.
EVALUATED_CELLS = 1 << 23


def on_tensorflow() -> bool:
    """Return whether the Keras backend is TensorFlow, so that batches come from tf.data."""
    return keras.backend.backend() == "tensorflow"


def training_batches(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    class_weights: np.ndarray | None = None,
    augment: Augmenter | None = None,
    balance: bool = False,
    pixel_range: tuple[float, float] = UNIT,
    part: tuple[int, int] = (0, 1),
    lengths: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Return the training batches of global steps `start` to `stop - 1`.

    Args:
        split: Training examples.
        batch_size: Number of examples in a step, over all replicas and workers.
        seed: Random seed of the order.
        start: First global step.
        stop: Global step after the last one.
        class_weights: Weight of each class, (classes,) float32; makes the batches (x, y, weight). None for no weights.
        augment: Random changes of images with pixels in [0, 1], a pure function of the seed, the epoch and the example;
            bytes are brought into the range of the model afterwards.
        balance: Whether an epoch has equally many examples of each class.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.
        part: Worker and number of workers: each reads its part of every batch, and all parts together are the batch of
            a single process. The batch size is a multiple of the number of workers.
        lengths: Number of ids of each text, (examples,): those of about one length share a batch, and a batch is as
            long as its bucket; on TensorFlow only, as JAX compiles each shape anew. None for batches of one length.

    Returns:
        Dataset of batches (x, y) with known cardinality `stop - start`; on JAX, a `keras.utils.PyDataset`.
    """
    if not on_tensorflow():
        options = {"class_weights": class_weights, "augment": augment, "balance": balance}
        if pixel_range != UNIT:
            raise NotImplementedError("pixels in another range than [0, 1] are made on TensorFlow only")
        return training_arrays(split, batch_size=batch_size, seed=seed, start=start, stop=stop, **options)
    import tensorflow as tf

    # Python runs once per epoch. Called in every step, it took a fifth of a small model's step time.
    labels = split.y if balance else None
    orders = tf.data.Dataset.from_generator(
        lambda: epoch_orders(len(split), batch_size, seed, start, stop, labels, split.block, lengths),
        output_signature=tf.TensorSpec((None, batch_size), tf.int64),
    )
    indices = orders.flat_map(tf.data.Dataset.from_tensor_slices)
    indices = indices.apply(tf.data.experimental.assert_cardinality(stop - start))
    steps = steps_per_epoch(len(split), batch_size)
    epochs = tf.data.Dataset.range(start, stop).map(lambda step: step // steps)
    take = _taker(split, class_weights, pixel_range, augment, lengths)
    worker, workers = part
    own = slice(worker * batch_size // workers, (worker + 1) * batch_size // workers)
    mixed = augment is not None and augment.mixes  # with examples of other parts

    def batch(index: tf.Tensor, epoch: tf.Tensor) -> tuple:
        if workers == 1:
            return take(index, epoch)
        return mapped(lambda values: values[own], take(index, epoch)) if mixed else take(index[own], epoch)

    return _read(tf.data.Dataset.zip(indices, epochs), batch, split, batch_size // workers)


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
    balance: bool = False,
    pixel_range: tuple[float, float] = UNIT,
    lengths: np.ndarray | None = None,
) -> Gathered | None:
    """Return the batches of `training_batches` for gathering within the step, equal bit for bit; TensorFlow only.

    Args:
        split: Training examples.
        batch_size: Number of examples in a step.
        seed: Random seed of the order.
        class_weights: Weight of each class, (classes,) float32; makes the batches (x, y, weight). None for no weights.
        balance: Whether an epoch has equally many examples of each class.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.
        lengths: Number of ids of each text; see `training_batches`.

    Returns:
        Batches, or None if there is a GPU, which would wait while the host gathers, or if examples are not in memory.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU") or not split.in_memory:
        return None
    steps = steps_per_epoch(len(split), batch_size)

    @functools.lru_cache(maxsize=1)
    def of_epoch(epoch: int) -> np.ndarray:
        labels, steps_of_it = split.y if balance else None, (epoch * steps, (epoch + 1) * steps)
        return next(epoch_orders(len(split), batch_size, seed, *steps_of_it, labels, split.block, lengths))

    def indices(start: int, count: int) -> np.ndarray:
        found = [of_epoch(epoch) for epoch in range(start // steps, -(-(start + count) // steps))]
        return np.concatenate(found)[start % steps :][:count]

    return Gathered(batch_size, indices, _taker(split, class_weights, pixel_range, lengths=lengths))


def training_arrays(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    class_weights: np.ndarray | None,
    augment: Augmenter | None,
    balance: bool,
) -> keras.utils.PyDataset:
    """Return the batches of `training_batches` in numpy, with any backend.

    Args:
        split: Training examples.
        batch_size: Number of examples in a step, over all replicas.
        seed: Random seed of the order.
        start: First global step.
        stop: Global step after the last one.
        class_weights: Weight of each class, (classes,) float32; makes the batches (x, y, weight). None for no weights.
        augment: Random changes of images.
        balance: Whether an epoch has equally many examples of each class.
    """
    from zoo.data.batches.numpy import TrainingBatches

    steps, labels = steps_per_epoch(len(split), batch_size), split.y if balance else None

    def order(epoch: int) -> np.ndarray:
        found = epoch_order(len(split), seed, epoch, labels, split.block)
        return found[: steps * batch_size].reshape(steps, batch_size)

    batches = TrainingBatches(
        split, order=order, steps=steps, start=start, stop=stop, class_weights=class_weights, augment=augment
    )
    return ahead(batches, split, batch_size)


def evaluation_batches(
    split: Split, *, batch_size: int, stride: int = 1, pixel_range: tuple[float, float] = UNIT
) -> tf.data.Dataset:
    """Return every example once, in order, as batches (x, y); the last batch may be smaller.

    On JAX, return a `keras.utils.PyDataset` of (x, y, weight) whose last batches are padded; see `EvaluationBatches`.

    Args:
        split: Examples to evaluate.
        batch_size: Largest number of examples in a batch.
        stride: Divisor of the number of batches on JAX: the steps of one execution.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.
    """
    batch_size = _most_evaluated(split, batch_size)
    if not on_tensorflow():
        from zoo.data.batches.numpy import EvaluationBatches

        distribution = keras.distribution.distribution()
        sharing = distribution.device_mesh.shape[0] if distribution else 1
        batches = EvaluationBatches(split, batch_size=batch_size, multiple=sharing, stride=stride)
        return ahead(batches, split, batch_size)
    import tensorflow as tf

    take = _taker(split, None, pixel_range)
    return _read(tf.data.Dataset.range(len(split)).batch(batch_size), take, split, batch_size)


def evaluation_parts(
    split: Split,
    replicas: range,
    count: int,
    *,
    batch_size: int,
    pixel_range: tuple[float, float] = UNIT,
) -> tf.data.Dataset:
    """Return the examples that some replicas evaluate, as batches (x, y); TensorFlow only.

    In each step, every replica has a part of about the same size, with one example or more, so that sums over all parts
    are those over the examples. If there are fewer examples than replicas, each replica has all of them: what is
    computed is a ratio of sums, in which then every example counts equally often.

    Args:
        split: Examples to evaluate.
        replicas: Replicas whose batches are returned: in each step one for each, in order.
        count: Number of all replicas.
        batch_size: Largest number of examples in a step, over all replicas.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.
    """
    import tensorflow as tf

    batch_size = max(count, _most_evaluated(split, batch_size))
    if len(split) < count:
        bounds = np.tile((0, len(split)), (len(replicas), 1))
    else:
        steps = min(-(-len(split) // batch_size), len(split) // count)
        ends = np.arange(steps * count + 1) * len(split) // (steps * count)
        bounds = np.stack([ends[:-1], ends[1:]], axis=1).reshape(steps, count, 2)[:, list(replicas)].reshape(-1, 2)
    take = _taker(split, None, pixel_range)
    spans = tf.data.Dataset.from_tensor_slices(bounds.astype(np.int64))
    return _read(spans, lambda span: take(tf.range(span[0], span[1])), split, -(-batch_size // count))


def _most_evaluated(split: Split, batch_size: int) -> int:
    """Return the number of examples in an evaluation batch, which is smaller than asked for if they are large."""
    widest = max(4 * int(np.prod(leaf.shape[1:])) for leaf in leaves(split.x))
    batch_size = max(1, min(batch_size, EVALUATED_BYTES // max(1, widest)))
    if split.in_memory and any(leaf.ndim == 2 and leaf.dtype == np.int32 for leaf in leaves(split.x)):
        batch_size = max(1, min(batch_size, EVALUATED_CELLS // (widest // 4) ** 2))
    return batch_size


def _read(indices: tf.data.Dataset, batch: Callable[..., tuple], split: Split, batch_size: int) -> tf.data.Dataset:
    """Return the batches that a function makes of indices, in order, made ahead of their use."""
    import tensorflow as tf

    options = tf.data.Options()  # every worker reads all data and takes its share of each batch
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    ahead = tf.data.AUTOTUNE if split.in_memory else streamed.batches_ahead(split, batch_size)
    batches = indices.map(batch, num_parallel_calls=ahead, deterministic=True)
    return batches.prefetch(ahead).with_options(options)


def _widths(lengths: np.ndarray) -> np.ndarray:
    """Return the lengths of the batches of texts, increasing."""
    return np.array([bucket.source_length for bucket in buckets.choose(lengths, lengths)])


def _taker(
    split: Split,
    class_weights: np.ndarray | None,
    pixel_range: tuple[float, float],
    augment: Augmenter | None = None,
    lengths: np.ndarray | None = None,
) -> Callable[..., tuple]:
    """Return the function from example indices, and the epoch, to a batch."""
    import tensorflow as tf

    x, y = (mapped(lambda a: a if isinstance(a, Column) else _shared(a), part) for part in (split.x, split.y))
    with tf.device("CPU:0"):
        weights = None if class_weights is None else tf.constant(class_weights, tf.float32)
        own, widths = (None, None) if lengths is None else (tf.constant(lengths), tf.constant(_widths(lengths)))

    low, high = pixel_range
    factor, first = pixel_scale(pixel_range if augment is None else UNIT)

    def gathered(array: Column | tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        return streamed.read(array, index) if isinstance(array, Column) else tf.gather(array, index)

    def taken(array: Column | tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        values = gathered(array, index)
        if values.dtype == tf.int16:  # samples of sound
            return tf.cast(values, tf.float32) * np.float32(1 / FULL_SCALE)
        if values.dtype != tf.uint8:
            return values
        pixels = tf.cast(values, tf.float32) * factor
        return pixels + first if first else pixels

    def changed(inputs: tf.Tensor, labels: Any, index: tf.Tensor, epoch: tf.Tensor | None) -> tuple:
        inputs, labels = augment(inputs, labels, index, epoch)
        bytes_given = getattr(x, "dtype", None) == np.uint8
        return (inputs * (high - low) + low if bytes_given and pixel_range != UNIT else inputs), labels

    def batch(index: tf.Tensor, epoch: tf.Tensor | None = None) -> tuple:
        inputs, labels = mapped(lambda array: taken(array, index), x), mapped(lambda array: gathered(array, index), y)
        if own is not None:  # as long as the first bucket that holds the longest text
            longest = tf.reduce_max(tf.gather(own, index))
            inputs = inputs[:, : widths[tf.searchsorted(widths, longest[None])[0]]]
        if augment is not None:
            inputs, labels = changed(inputs, labels, index, epoch)
        if weights is None:
            return inputs, labels
        mixed = augment is not None and augment.mixes
        return inputs, labels, tf.linalg.matvec(labels, weights) if mixed else tf.gather(weights, labels)

    return batch


def _shared(array: np.ndarray) -> tf.Tensor:
    """Return an array as a tensor in host memory, which is the array's own if it is aligned as tensors must be."""
    import tensorflow as tf

    aligned = array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable
    if aligned and array.size and array.dtype.isnative and array.dtype.kind in "uif":
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    with tf.device("CPU:0"):  # only batches go to the devices
        return tf.constant(array)
