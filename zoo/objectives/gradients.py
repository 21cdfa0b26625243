"""The gradient of a function of a tensor, itself a part of what is trained: Keras has no operator for it."""

from typing import Any

import keras
from keras import ops


def gradient(function: Any, at: Any) -> Any:
    """Return the gradient of the sum of `function(at)` with respect to `at`, which can be differentiated again.

    Args:
        function: of a tensor (batch, ...) to (batch, ...), without side effects. Where each example of its value
            depends on that example of `at` alone, this is the gradient of each.
        at: (batch, ...), or a list of tensors of any shapes.

    Returns:
        shaped as `at`.
    """
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(lambda x: ops.sum(function(x)))(at)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(at)
        total = ops.sum(function(at))
    return tape.gradient(total, at, unconnected_gradients=tf.UnconnectedGradients.ZERO)
