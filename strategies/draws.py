"""Random numbers of replicas: each draws its share of those that one device would draw for the whole batch.

The replicas of a `tf.distribute` strategy have the same seeds. By default they draw the same numbers, so that dropout
drops the same units of every replica's share: with a rate of 0.5, the weights of two replicas and of one device
differed by 0.045 after two epochs in float64, and by rounding without dropout.
"""

import contextlib
import math
import threading
from collections.abc import Callable, Iterator
from typing import Any

import keras

from strategies import collective

# Functions of Keras' TensorFlow backend whose first argument is the shape of what they return.
SHAPED = ("normal", "uniform", "truncated_normal", "randint")
_PHILOX = 1  # number of the generator in TensorFlow's operations; the default of CPUs and GPUs
_step = threading.local()  # size of the batch of the replica that this thread traces


@contextlib.contextmanager
def of_the_whole_batch() -> Iterator[None]:
    """Let every layer of Keras draw numbers for its replica's share of the batch, inside steps made by `sharing`.

    Numbers are a replica's own if their first axis is the batch: for `dropout`, unless the noise has one value for all
    examples; for other functions, if it is as long as the replica's batch. Layers call these functions as attributes of
    a module of Keras, which are replaced for a while.
    """
    from keras.src.backend.tensorflow import random

    before = {name: getattr(random, name) for name in ("dropout", *SHAPED)}
    try:
        random.dropout = _dropout(random, before["dropout"])
        for name in SHAPED:
            setattr(random, name, _share_of(before[name]))
        yield
    finally:
        for name, function in before.items():
            setattr(random, name, function)


def sharing(step: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a training step whose layers draw numbers for its replica's share, inside `of_the_whole_batch`.

    Args:
        step: Function of a batch, whose arrays have equal first axes.
    """

    def shared(data: Any) -> Any:
        _step.size = keras.tree.flatten(data)[0].shape[0]
        _step.inside = True
        try:
            return step(data)
        finally:
            _step.inside = False

    return shared


def _replicas() -> int:
    """Return the number of replicas that draw together, 1 outside of a step."""
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    return context.num_replicas_in_sync if context and getattr(_step, "inside", False) else 1


def _share_of(draw: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that draws for the whole batch and returns the share of this replica."""
    import tensorflow as tf

    def own(shape: Any, *args: Any, **kwargs: Any) -> Any:
        replicas = _replicas()
        if replicas == 1 or not _is_batch(shape):
            return draw(shape, *args, **kwargs)
        size, *rest = tf.unstack(tf.convert_to_tensor(shape, tf.int32))
        return collective.of_this_replica(draw(tf.stack([replicas * size, *rest]), *args, **kwargs))

    return own


def _is_batch(shape: Any) -> bool:
    """Return whether the first axis of a shape is as long as this replica's batch."""
    import tensorflow as tf
    from tensorflow.python.framework import tensor_util  # the public `get_static_value` wants all sizes to be known

    known = tensor_util.constant_value_as_shape(tf.convert_to_tensor(shape, tf.int32)).as_list()
    return bool(known) and known[0] == _step.size


def _dropout(random: Any, whole: Callable[..., Any]) -> Callable[..., Any]:
    """Return `keras.random.dropout` of TensorFlow that draws the numbers of a share alone, not those of the batch.

    Args:
        random: Module of Keras' TensorFlow backend.
        whole: Function that it replaces.
    """
    import tensorflow as tf

    def dropout(inputs: Any, rate: float, noise_shape: Any = None, seed: Any = None) -> Any:
        shared = _replicas() == 1 or (noise_shape is not None and noise_shape[0] == 1)
        if shared or rate in (0.0, 1.0):
            return whole(inputs, rate, noise_shape, seed)
        seed = random._cast_seed(random.draw_seed(seed))
        inputs = tf.convert_to_tensor(inputs)
        shape = random._get_concrete_noise_shape(inputs, noise_shape)
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        kept = uniform_of_share(shape, seed, inputs.dtype, replica) >= tf.constant(rate, inputs.dtype)
        return tf.where(kept, inputs * tf.constant(1 / (1 - rate), inputs.dtype), tf.zeros([], inputs.dtype))

    return dropout


def uniform_of_share(shape: Any, seed: Any, dtype: Any, replica: Any) -> Any:
    """Return a replica's slice along the first axis of `tf.random.stateless_uniform` for the shares of all replicas.

    The generator is started where the share begins, so that only the share is drawn.

    Args:
        shape: Shape of the share, which all replicas have.
        seed: Seed of `tf.random.stateless_uniform`, (2,).
        dtype: Floating-point type.
        replica: Index of the replica.
    """
    import tensorflow as tf

    key, counter = tf.raw_ops.StatelessRandomGetKeyCounter(seed=seed)
    together = 4 if dtype.size <= 4 else 2  # numbers made of 128 random bits, those of one value of the counter
    shape = tf.convert_to_tensor(shape, tf.int32)
    static = tf.get_static_value(shape)
    count = tf.cast(tf.reduce_prod(shape), tf.int64) if static is None else math.prod(static.tolist())
    first = tf.cast(replica, tf.int64) * count
    before = first % together
    counter += tf.cast(tf.stack([first // together, tf.zeros_like(first)]), tf.uint64)
    aligned = static is not None and count % together == 0
    drawn = tf.raw_ops.StatelessRandomUniformV2(
        shape=tf.reshape(count if aligned else count + before, [1]), key=key, counter=counter, alg=_PHILOX, dtype=dtype
    )
    return tf.reshape(drawn if aligned else drawn[before:], shape)
