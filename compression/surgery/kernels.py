"""Choose the operators that layers are exported as; the values stay the same.

Recurrent layers are exported as a loop, unrolled, or as the fused LSTM operator that microcontroller runtimes need.
Layer and group normalisation are rewritten in operators that have integer kernels, and attention with masks that leave
integers for its scores. All changes last only while a model is traced.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

from compression.recipes.language import Kernel
from compression.surgery import operators
from zoo.console.errors import UsageError
from zoo.introspection.hooks import calling, replacing
from zoo.introspection.layers import layers_of


def recurrent_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the recurrent layers of a model, those with cells of one's own and convolutional ones among them."""
    return [layer for layer in layers_of(model) if isinstance(layer, keras.layers.RNN)]


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
            if isinstance(layer, keras.layers.RNN) and kernel == "unrolled":
                undo.callback(setattr, layer, "unroll", layer.unroll)
                layer.unroll = True
            elif isinstance(layer, keras.layers.RNN) and kernel == "fused":
                held.append(_twin(layer))
                undo.enter_context(calling(layer, _fused(held[-1])))
            elif operators.is_normalization(layer):
                undo.enter_context(calling(layer, operators.normalization(layer)))
            elif type(layer) is keras.layers.MultiHeadAttention:
                undo.enter_context(replacing(layer, "_compute_attention", operators.attention(layer)))
        yield held


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
