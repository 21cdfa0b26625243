"""Which layer of a model feeds which, seen by running it: any model, subclassed ones too."""

import contextlib
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from compression.surgery.layers import RECURRENT
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of


@dataclass(frozen=True)
class Call:
    """One call of a layer that has no layers inside, or of a recurrent one.

    Args:
        layer: that was called.
        source: the call whose output it was given as it is; None where something else made its input.
        rank: of its output, with the batch.
    """

    layer: layers.Layer
    source: "Call | None"
    rank: int


def calls(model: keras.Model, x: Any) -> list[Call]:
    """Return the calls of one run of a model, in order.

    Args:
        model: built.
        x: (examples, ...), a few examples, a tuple of several inputs.
    """
    found: list[Call] = []
    outputs: list[tuple[Any, Call]] = []  # the tensors are held, so that no other gets the identity of one

    def watched(layer: layers.Layer) -> Any:
        before = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            source = next((c for tensor, c in reversed(outputs) if args and tensor is args[0]), None)
            made = before(*args, **kwargs)
            found.append(Call(layer, source, len(made.shape) if hasattr(made, "shape") else 0))
            outputs.append((made, found[-1]))
            return made

        return call

    with contextlib.ExitStack() as undo:
        for layer in leaves(model):
            undo.enter_context(calling(layer, watched(layer)))
        model(keras.tree.map_structure(ops.convert_to_tensor, x), training=False)
    return found


def leaves(model: keras.Model) -> list[layers.Layer]:
    """Return the layers that have no layers inside; a recurrent layer counts as one, its cell does not."""
    return [
        layer
        for layer in layers_of(model)
        if isinstance(layer, RECURRENT) or not (layer._layers or hasattr(layer, "state_size"))
    ]


def consumers(found: list[Call], call: Call) -> list[Call]:
    """Return the calls that were given a call's output as it is."""
    return [other for other in found if other.source is call]
