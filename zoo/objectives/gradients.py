"""The gradient of a function as a differentiable operation, for which Keras has no operator."""

from typing import Any

import keras
from keras import ops


def gradient(function: Any, at: Any) -> Any:
    """Return the gradient of the sum of `function(at)` with respect to `at`. It can be differentiated again.

    Args:
        function: Function from tensors (batch, ...) to tensors (batch, ...), without side effects. If each output
            depends on its own example only, the result is the gradient of each example.
        at: Tensor (batch, ...), or a list of tensors of any shapes.

    Returns:
        Gradient with the structure and shapes of `at`.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda x: ops.sum(function(x)))(at)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(at)
        total = ops.sum(function(at))
    return tape.gradient(total, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
