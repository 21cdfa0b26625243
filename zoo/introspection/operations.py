"""Floating-point operations of a call of a model, as the compiler counts them."""

from collections.abc import Callable
from typing import Any

import keras

from zoo.introspection.layers import layers_of

# Steps of a recurrent layer up to which it is counted; each of them is traced.
MOST_STEPS = 128


def count(call: Callable, shapes: Any) -> int:
    """Return the operations of a function: a multiplication and an addition are two.

    They are counted by TensorFlow's profiler in the traced graph, or on JAX by XLA's cost analysis. TensorFlow omits
    activation functions, XLA omits the zeros between the pixels of a transposed convolution.

    Args:
        call: Function of tensors.
        shapes: Its arguments, of anything with shape and dtype.
    """
    return _of_tensorflow(call, shapes) if keras.backend.backend() == "tensorflow" else _of_jax(call, shapes)


def of_inference(model: keras.Model, inputs: Any) -> int:
    """Return the operations of a built model in inference, where a loop counts as one iteration.

    Args:
        model: Built model.
        inputs: Its inputs, of anything with shape and dtype.
    """

    def call(trainable: list, non_trainable: list, x: Any) -> Any:
        return model.stateless_call(trainable, non_trainable, x, training=False)[0]

    return count(call, (model.trainable_variables, model.non_trainable_variables, inputs))


def of_model(model: keras.Model, inputs: Any) -> int | None:
    """Return the operations of a built model in inference; None if a recurrent layer makes them unknown.

    Args:
        model: Built model, which is not changed.
        inputs: Its inputs, of anything with shape and dtype.
    """

    # No count has the iterations of a loop.
    recurrent = [layer for layer in layers_of(model) if isinstance(layer, keras.layers.RNN) and not layer.unroll]
    steps = max((leaf.shape[1] or 0 for leaf in keras.tree.flatten(inputs) if len(leaf.shape) > 1), default=0)
    if recurrent and not 0 < steps <= MOST_STEPS:
        return None
    for layer in recurrent:
        layer.unroll = True
    try:
        return of_inference(model, inputs)
    finally:
        for layer in recurrent:
            layer.unroll = False


def _of_tensorflow(call: Callable, shapes: Any) -> int:
    import tensorflow as tf

    given = keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), shapes)
    graph = tf.function(call).get_concrete_function(*given).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    return tf.compat.v1.profiler.profile(graph, options=options | {"output": "none"}).total_float_ops


def _of_jax(call: Callable, shapes: Any) -> int:
    import jax

    given = keras.tree.map_structure(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), shapes)
    return int(jax.jit(call).lower(*given).cost_analysis()["flops"])
