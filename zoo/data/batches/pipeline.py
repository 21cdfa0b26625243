"""The tf.data pipelines, which read, scale and augment a whole batch at a time.

Examples in memory are gathered from a tensor that shares the memory of their array. Those of a
`zoo.data.stored.column.Column` are read and decoded for each batch, several batches at a time while a step is computed.
Both give the same batches, bit for bit.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import keras
import numpy as np

from zoo.data.batches import streamed
from zoo.data.batches.order import epoch_order, epoch_orders
from zoo.data.dataset import ALIGNMENT, Split, leaves, mapped, steps_per_epoch
from zoo.data.images import pixel_scale
from zoo.data.stored.column import Column

if TYPE_CHECKING:
    import tensorflow as tf

# Largest size in bytes of the float32 inputs of an evaluation batch.
EVALUATED_BYTES = 1 << 26


class Change(Protocol):
    """A change of the images and labels of a training batch, a pure function of its arguments.

    Attributes:
        mixes: Whether an example depends on others of its batch.
    """

    mixes: bool

    def __call__(self, images: Any, labels: Any, index: Any, epoch: Any) -> tuple[Any, Any]:
        """Return the changed images and labels, tensors of the backend.

        Args:
            images: Images (batch, height, width, channels), pixels in [0, 1] unless the data have another range.
            labels: Labels (batch, ...).
            index: Index of each example among the training examples, (batch,) int64.
            epoch: Epoch, int64.
        """


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
    shift: int = 0,
    pixel_range: tuple[float, float] = (0.0, 1.0),
    part: tuple[int, int] = (0, 1),
    change: Change | None = None,
) -> tf.data.Dataset:
    """Return the training batches of global steps `start` to `stop - 1`.

    Args:
        split: Training examples.
        batch_size: Number of examples in a step, over all replicas and workers.
        seed: Random seed of the order.
        start: First global step.
        stop: Global step after the last one.
        class_weights: Weight of each class, (classes,) float32; makes the batches (x, y, weight). None for no weights.
        shift: Largest random shift of an image along both axes, in pixels, padded with black. The shifts are a pure
            function of the seed and the global step.
        pixel_range: What the model takes for the darkest and the brightest pixel of images of bytes.
        part: Worker and number of workers: each reads its part of every batch, and all parts together are the batch of
            a single process. The batch size is a multiple of the number of workers.
        change: Change of the images and labels of a batch.

    Returns:
        Dataset of batches (x, y) with known cardinality `stop - start`; on JAX, a `keras.utils.PyDataset`.
    """
    if not on_tensorflow():
        options = {"class_weights": class_weights, "shift": shift}
        if pixel_range != (0.0, 1.0):
            raise NotImplementedError("pixels in another range than [0, 1] are made on TensorFlow only")
        return training_arrays(
            split, batch_size=batch_size, seed=seed, start=start, stop=stop, change=change, **options
        )
    import tensorflow as tf

    def orders() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for epoch, order in epoch_orders(len(split), batch_size, seed, start, stop, split.block):
            yield np.full(len(order), epoch), order

    # Python runs once per epoch. Called in every step, it took a fifth of a small model's step time.
    signature = tf.TensorSpec((None,), tf.int64), tf.TensorSpec((None, batch_size), tf.int64)
    indices = tf.data.Dataset.from_generator(orders, output_signature=signature)
    indices = indices.flat_map(lambda *rows: tf.data.Dataset.from_tensor_slices(rows))
    indices = tf.data.Dataset.zip(tf.data.Dataset.range(start, stop), indices)
    indices = indices.apply(tf.data.experimental.assert_cardinality(stop - start))

    take = _taker(split, class_weights, pixel_range)
    worker, workers = part
    own = slice(worker * batch_size // workers, (worker + 1) * batch_size // workers)
    whole = workers > 1 and change is not None and change.mixes  # then the examples of other parts are needed

    def batch(step: tf.Tensor, places: tuple[tf.Tensor, tf.Tensor]) -> tuple:
        epoch, index = places
        moves = _moves(shift, batch_size, seed, step) if shift else None
        if not whole:
            index, moves = index[own], moves and tuple(move[own] for move in moves)
        x, y, *weight = take(index)
        x = x if moves is None else _moved(x, shift, *moves)
        if change is not None:
            x, y = change(x, y, index, epoch)
        found = (x, y, *weight)
        return mapped(lambda values: values[own], found) if whole else found

    return _read(indices, batch, split, batch_size // workers)


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
        Batches, or None if there is a GPU, which would wait while the host gathers, or if examples are not in memory.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("GPU") or not split.in_memory:
        return None
    steps = steps_per_epoch(len(split), batch_size)

    @functools.lru_cache(maxsize=1)
    def of_epoch(epoch: int) -> np.ndarray:
        return next(epoch_orders(len(split), batch_size, seed, epoch * steps, (epoch + 1) * steps, split.block))[1]

    def indices(start: int, count: int) -> np.ndarray:
        found = [of_epoch(epoch) for epoch in range(start // steps, -(-(start + count) // steps))]
        return np.concatenate(found)[start % steps :][:count]

    return Gathered(batch_size, indices, _taker(split, class_weights, pixel_range))


def training_arrays(
    split: Split,
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    class_weights: np.ndarray | None,
    shift: int,
    change: Any = None,
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
        change: Change of a batch, whose method `on_arrays` takes and returns arrays.
    """
    from zoo.data.batches.numpy import TrainingBatches

    steps = steps_per_epoch(len(split), batch_size)

    def order(epoch: int) -> np.ndarray:
        found = epoch_order(len(split), seed, epoch, split.block)
        return found[: steps * batch_size].reshape(steps, batch_size)

    return TrainingBatches(
        split,
        order=order,
        steps=steps,
        seed=seed,
        start=start,
        stop=stop,
        class_weights=class_weights,
        shift=shift,
        change=change,
    )


def _moves(most: int, count: int, seed: int, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return how many rows and columns each image of a batch is shifted by, each (batch, 1), from 0 to 2 * most."""
    import tensorflow as tf

    key = tf.stack([tf.cast(seed, tf.int64), step])
    return tuple(tf.unstack(tf.random.stateless_uniform([2, count, 1], key, 0, 2 * most + 1, tf.int32)))


def _moved(images: tf.Tensor, most: int, rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """Return images (batch, height, width, channels), each shifted by up to `most` pixels along both axes."""
    import tensorflow as tf

    height, width = images.shape[1], images.shape[2]
    padded = tf.pad(images, [[0, 0], [most, most], [most, most], [0, 0]])
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
    widest = max(4 * int(np.prod(leaf.shape[1:])) for leaf in leaves(split.x))
    batch_size = max(1, min(batch_size, EVALUATED_BYTES // max(1, widest)))
    if not on_tensorflow():
        from zoo.data.batches.numpy import EvaluationBatches

        distribution = keras.distribution.distribution()
        sharing = distribution.device_mesh.shape[0] if distribution else 1
        return EvaluationBatches(split, batch_size=batch_size, multiple=sharing, stride=stride)
    import tensorflow as tf

    take = _taker(split, None, pixel_range)
    return _read(tf.data.Dataset.range(len(split)).batch(batch_size), take, split, batch_size)


def _read(indices: tf.data.Dataset, batch: Callable[..., tuple], split: Split, batch_size: int) -> tf.data.Dataset:
    """Return the batches that a function makes of indices, in order, made ahead of their use."""
    import tensorflow as tf

    options = tf.data.Options()  # every worker reads all data and takes its share of each batch
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    ahead = tf.data.AUTOTUNE if split.in_memory else streamed.batches_ahead(split, batch_size)
    batches = indices.map(batch, num_parallel_calls=ahead, deterministic=True)
    return batches.prefetch(ahead).with_options(options)


def _taker(split: Split, class_weights: np.ndarray | None, pixel_range: tuple[float, float]) -> Callable[[Any], tuple]:
    """Return the function from example indices to a batch."""
    import tensorflow as tf

    x, y = (mapped(lambda a: a if isinstance(a, Column) else _shared(a), part) for part in (split.x, split.y))
    with tf.device("CPU:0"):
        weights = None if class_weights is None else tf.constant(class_weights, tf.float32)

    factor, low = pixel_scale(pixel_range)

    def taken(array: Column | tf.Tensor, index: tf.Tensor) -> tf.Tensor:
        values = streamed.read(array, index) if isinstance(array, Column) else tf.gather(array, index)
        if values.dtype != tf.uint8:
            return values
        pixels = tf.cast(values, tf.float32) * factor
        return pixels + low if low else pixels

    def batch(index: tf.Tensor) -> tuple:
        inputs, labels = mapped(lambda array: taken(array, index), x), mapped(lambda array: tf.gather(array, index), y)
        return (inputs, labels) if weights is None else (inputs, labels, tf.gather(weights, labels))

    return batch


def _shared(array: np.ndarray) -> tf.Tensor:
    """Return an array as a tensor in host memory, which is the array's own if it is aligned as tensors must be."""
    import tensorflow as tf

    aligned = array.ctypes.data % ALIGNMENT == 0 and array.flags.c_contiguous and array.flags.writeable
    if aligned and array.size and array.dtype.isnative and array.dtype.kind in "uif":
        return tf.experimental.dlpack.from_dlpack(array.__dlpack__())
    with tf.device("CPU:0"):  # only batches go to the devices
        return tf.constant(array)
