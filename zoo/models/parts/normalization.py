"""Layer normalisation (Ba et al., 2016) with a hand-written gradient."""

from typing import Any

import keras
from keras import layers, ops


@keras.saving.register_keras_serializable("zoo")
class LayerNormalization(layers.LayerNormalization):
    """Layer normalisation of Keras with half as many passes over memory on TensorFlow.

    There, the automatic gradient took an eighth of a small transformer's training step. XLA fuses the operations by
    itself. The hand-written gradient covers normalisation over the last axis with scale and offset; Keras computes all
    other cases. Arguments and shapes are those of `keras.layers.LayerNormalization`.
    """

    def call(self, inputs):
        last = [axis % len(inputs.shape) for axis in self.axis] == [len(inputs.shape) - 1]
        if keras.backend.backend() != "tensorflow" or not last or self.gamma is None or self.beta is None:
            return super().call(inputs)
        x = ops.cast(inputs, keras.backend.result_type(inputs.dtype, "float32"))
        gamma, beta = (ops.cast(v, x.dtype) for v in (self.gamma, self.beta))
        rows = _normalized(ops.reshape(x, (-1, x.shape[-1])), gamma, beta, self.epsilon)
        return ops.cast(ops.reshape(rows, ops.shape(inputs)), self.compute_dtype)


def _normalized(x: Any, gamma: Any, beta: Any, epsilon: float) -> Any:
    """Return (x - mean) / sqrt(variance + epsilon) * gamma + beta for each row of x, (rows, features)."""
    width = x.shape[-1]

    @ops.custom_gradient
    def normalized(x: Any, gamma: Any, beta: Any) -> Any:
        centred = x - ops.mean(x, axis=1, keepdims=True)
        scale = ops.rsqrt(ops.mean(ops.square(centred), axis=1, keepdims=True) + epsilon)
        unit = centred * scale

        def gradient(upstream: Any) -> tuple[Any, Any, Any]:
            along = upstream * unit
            # Means over the features of upstream * gamma and of upstream * gamma * unit.
            weights = ops.reshape(gamma / width, (width, 1))
            mean, slope = ops.matmul(upstream, weights), ops.matmul(along, weights)
            given = scale * (upstream * gamma - (mean + unit * slope))
            return given, ops.sum(along, axis=0), ops.sum(upstream, axis=0)

        return unit * gamma + beta, gradient

    return normalized(x, gamma, beta)
