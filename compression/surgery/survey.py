"""Find which layers feed which by running a model, so that subclassed models work too."""

import contextlib
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from compression.surgery.layers import RECURRENT
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of


@dataclass(frozen=True)
class LayerCall:
    """One call of a leaf layer or a recurrent layer.

    Args:
        layer: Layer that was called.
        source: Call whose output is the layer's input, unchanged; None if something else computed the input.
        rank: Rank of the output, including the batch dimension.
    """

    layer: layers.Layer
    source: "LayerCall | None"
    rank: int


def calls(model: keras.Model, x: Any) -> list[LayerCall]:
    """Return the layer calls of one run of a model, in order.

    Args:
        model: Built Keras model.
        x: A few examples, (examples, ...), or a tuple of arrays for several inputs.
    """
    found: list[LayerCall] = []
    outputs: list[tuple[Any, LayerCall]] = []  # keeps the tensors alive, as they are compared by identity

    def watched(layer: layers.Layer) -> Any:
        before = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            source = next((c for tensor, c in reversed(outputs) if args and tensor is args[0]), None)
            made = before(*args, **kwargs)
            found.append(LayerCall(layer, source, len(made.shape) if hasattr(made, "shape") else 0))
            outputs.append((made, found[-1]))
            return made

        return call

    with contextlib.ExitStack() as undo:
        for layer in leaves(model):
            undo.enter_context(calling(layer, watched(layer)))
        model(keras.tree.map_structure(ops.convert_to_tensor, x), training=False)
    return found


def leaves(model: keras.Model) -> list[layers.Layer]:
    """Return the layers without sublayers; a recurrent layer counts as one, and its cell is omitted."""
    return [
        layer
        for layer in layers_of(model)
        if isinstance(layer, RECURRENT) or not (layer._layers or hasattr(layer, "state_size"))
    ]


def consumers(found: list[LayerCall], call: LayerCall) -> list[LayerCall]:
    """Return the calls whose input is the unchanged output of a call."""
    return [other for other in found if other.source is call]
