"""Batch normalisation as one operation of TensorFlow in a training step.

Keras 3 computes it from a dozen elementwise operations, each of which reads and writes the whole activation. On two
AVX-512 cores TensorFlow's own operation took a third to a half of that time, forward and backward, and a step of
ResNet-8 with 128 images was 1.5 times as fast (docs/results/performance.md).
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import keras

# Smallest epsilon of the operation (cuDNN's); the layer keeps a smaller one.
LEAST_EPSILON = 1.001e-5


@contextlib.contextmanager
def fused(model: keras.Model) -> Iterator[None]:
    """Let batch normalisation use TensorFlow's fused operation while a training step is traced.

    The result differs from that of Keras by the order of sums in float32 alone. Layers go on as before where the
    operation does not apply: on JAX, in float64, with a mask, with renormalisation, along another axis than the last,
    without axes besides batch and channels, and if the statistics are those of several replicas.

    Args:
        model: Built model; functions that are traced in this context must not be used after it.
    """
    plain = keras.layers.BatchNormalization.call
    with contextlib.ExitStack() as undo:
        if keras.backend.backend() == "tensorflow":
            for layer in model._flatten_layers():
                if getattr(type(layer), "call", None) is plain:
                    layer.call = functools.partial(_call, layer)
                    undo.callback(delattr, layer, "call")
        yield


def _call(layer: keras.layers.BatchNormalization, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """Return what `layer.call` returns."""
    if not training or mask is not None or not _applies(layer, inputs):
        return type(layer).call(layer, inputs, training=training, mask=mask)
    import tensorflow as tf

    x = keras.ops.cast(inputs, "float32")
    channels = x.shape[-1]
    if len(x.shape) != 4:
        x = tf.reshape(x, (tf.shape(x)[0], -1, 1, channels))
    gamma = keras.ops.cast(layer.gamma, x.dtype) if layer.scale else tf.ones(channels, x.dtype)
    beta = keras.ops.cast(layer.beta, x.dtype) if layer.center else tf.zeros(channels, x.dtype)
    y, mean, variance = tf.compat.v1.nn.fused_batch_norm(x, gamma, beta, epsilon=layer.epsilon, is_training=True)
    count = tf.cast(tf.size(x) // channels, x.dtype)
    variance *= tf.maximum(count - 1, 1) / count  # the operation returns the unbiased estimate; Keras keeps the biased
    for moving, found in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        before = keras.ops.cast(moving, x.dtype)
        moving.assign(before * layer.momentum + found * (1.0 - layer.momentum))
    return keras.ops.cast(tf.reshape(y, tf.shape(inputs)), layer.compute_dtype)


def _applies(layer: keras.layers.BatchNormalization, inputs: Any) -> bool:
    """Return whether the operation computes what the layer does in training."""
    import tensorflow as tf

    replica = tf.distribute.get_replica_context()
    alone = not layer.synchronized or replica is None or replica.num_replicas_in_sync == 1
    rank = len(inputs.shape)
    return (
        layer.trainable
        and alone
        and not layer.renorm
        and layer.epsilon >= LEAST_EPSILON
        and rank > 2
        and layer.axis in (-1, rank - 1)
        and keras.backend.result_type(inputs.dtype, "float32") == "float32"
    )
