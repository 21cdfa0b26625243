"""Choose the operators that layers are exported as; the values stay the same.

Recurrent layers are exported as a loop, unrolled, or as the fused LSTM operator that microcontroller runtimes need.
Layer normalisation is rewritten in operators that have integer kernels. All changes last only while a model is traced.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from compression.recipes.language import Kernel
from compression.surgery.layers import RECURRENT
from zoo.console.errors import UsageError
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of
from zoo.models.parts.normalization import LayerNormalization


def recurrent_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the recurrent layers of a model."""
    return [layer for layer in layers_of(model) if isinstance(layer, RECURRENT)]


def check_fused(model: keras.Model, masked: bool) -> None:
    """Raise UsageError unless every recurrent layer has a fused operator in TFLite.

    Args:
        model: Built model with recurrent layers.
        masked: Whether inputs are padded, so that the model passes a mask to these layers.
    """
    for layer in recurrent_layers(model):
        reason = None
        if not isinstance(layer, keras.layers.LSTM):
            reason = f"only LSTM has a fused operator, {layer.name} is {type(layer).__name__}"
        elif (layer.activation, layer.recurrent_activation) != (keras.activations.tanh, keras.activations.sigmoid):
            reason = f"the fused operator has tanh and sigmoid, {layer.name} has other activations"
        elif not layer.use_bias or layer.go_backwards or layer.stateful or layer.return_state:
            reason = f"{layer.name} has no bias, runs backwards, or keeps or returns its state"
        elif masked:
            reason = "the fused operator takes no mask, and this model's inputs are padded"
        if reason:
            raise UsageError(f"--lstm-kernel fused: {reason}; use loop or unrolled")


@contextlib.contextmanager
def using(model: keras.Model, kernel: Kernel) -> Iterator[list[Any]]:
    """Prepare a model for tracing, and yield objects whose variables the trace uses besides the model's own.

    Args:
        model: Built model.
        kernel: Export form of recurrent layers.
    """
    held: list[Any] = []
    with contextlib.ExitStack() as undo:
        for layer in layers_of(model):
            if isinstance(layer, RECURRENT) and kernel == "unrolled":
                undo.callback(setattr, layer, "unroll", layer.unroll)
                layer.unroll = True
            elif isinstance(layer, RECURRENT) and kernel == "fused":
                held.append(_twin(layer))
                undo.enter_context(calling(layer, _fused(held[-1])))
            elif is_rewritten(layer):
                undo.enter_context(calling(layer, normalization(layer)))
        yield held


def is_rewritten(layer: keras.layers.Layer) -> bool:
    """Return whether a layer is exported as `normalization`."""
    return type(layer) in (keras.layers.LayerNormalization, LayerNormalization) and not layer.rms_scaling


def normalization(
    layer: keras.layers.LayerNormalization,
    at: Callable[[str, Any], Any] = lambda part, x: x,
    constant: Callable[[Any], Any] = lambda x: x,
) -> Callable:
    """Return layer normalisation as a function of subtractions and products.

    Keras exports SQUARED_DIFFERENCE and NEG, which have no 16-bit kernels.

    Args:
        layer: Built layer.
        at: Function applied to every intermediate result, from its name and value to the value to continue with.
        constant: Function applied to gamma and beta.
    """

    def call(x: Any) -> Any:
        centred = at("centred", x - at("mean", ops.mean(x, axis=layer.axis, keepdims=True)))
        squares = at("squares", centred * centred)
        variance = at("variance", ops.mean(squares, axis=layer.axis, keepdims=True))
        variance = at("positive", variance + layer.epsilon)
        y = at("normalized", centred * at("rsqrt", ops.rsqrt(variance)))
        shape = [x.shape[i] if i in {a % len(x.shape) for a in layer.axis} else 1 for i in range(len(x.shape))]
        y = at("scaled", y * constant(ops.reshape(layer.gamma, shape))) if layer.scale else y
        return at("output", y + constant(ops.reshape(layer.beta, shape))) if layer.center else y

    return call


def _twin(layer: keras.layers.LSTM) -> Any:
    """Return a tf_keras layer with the same weights, whose trace the converter recognises as one operator."""
    import tf_keras

    twin = tf_keras.layers.LSTM(layer.units, return_sequences=layer.return_sequences, name=layer.name)
    twin.build((None, None, layer.cell.kernel.shape[0]))
    cell = layer.cell
    twin.set_weights([ops.convert_to_numpy(v) for v in (cell.kernel, cell.recurrent_kernel, cell.bias)])
    return twin


def _fused(twin: Any) -> Callable:
    def call(sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        if mask is not None or initial_state is not None:
            raise UsageError("--lstm-kernel fused: the fused operator takes no mask and no initial state")
        return twin(sequences)

    return call
