"""The variables of a built model by path, setting all of them, and freezing some."""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from zoo.introspection.layers import layers_of, with_itself


def named(model: keras.Model) -> dict[str, Any]:
    """Return the weights of a built model by their path inside it, such as `encoder/block_1/expand/kernel`."""
    found: dict[str, Any] = {}
    for variable in model.weights:
        first, _, rest = variable.path.partition("/")
        path = rest if rest and first == model.name else variable.path
        name, count = path, 1
        while name in found:  # sibling layers with the same name
            count += 1
            name = f"{path}#{count}"
        found[name] = variable
    return found


def set_weights(model: keras.Model, arrays: Sequence[np.ndarray]) -> None:
    """Set the weights of a model, as `keras.Model.set_weights` does, and what its layers derive from them.

    Args:
        model: Built model.
        arrays: Values of `model.weights`, in their order.
    """
    model.set_weights(arrays)
    derive(model)


def derive(model: keras.Model) -> None:
    """Let layers derive again what they keep beside their weights, after the weights were assigned.

    `keras.layers.Normalization` computes with constants made from its weights, which only `adapt` and the loading of a
    file renew.
    """
    for layer in with_itself(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def hold(model: keras.Model, names: list[str]) -> None:
    """Freeze weights, so that training does not change them.

    A layer without any trainable weight left becomes non-trainable itself. Batch normalisation then uses its moving
    averages in training too and does not update them. Dropout stays active.

    Args:
        model: Built model whose optimizer is not built yet.
        names: Names of the weights, keys of `named`.
    """
    weights = named(model)
    for name in names:
        weights[name].trainable = False
    held = {id(weights[name]) for name in names}
    for layer in layers_of(model):
        if any(id(v) in held for v in layer.weights) and not any(v.trainable for v in layer.weights):
            layer.trainable = False
