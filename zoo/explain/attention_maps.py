"""How much each step of a sequence attends to each other one: the attention weights inside a built model, read."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zoo.explain.attribution import numbers
from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of
from zoo.models import MultiHeadCrossAttention, MultiHeadSelfAttention

OURS = (MultiHeadCrossAttention, MultiHeadSelfAttention)


def attending(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the layers of a model that attend: the zoo's and `keras.layers.MultiHeadAttention`."""
    kinds = (*OURS, keras.layers.MultiHeadAttention)
    return [layer for layer in layers_of(model) if isinstance(layer, kinds)]


def weights(model: keras.Model, inputs: Any) -> dict[str, np.ndarray]:
    """Return what each head of each layer attends to, by the layer's path in the model, in the order of computing.

    Args:
        model: built, with layers of `attending`.
        inputs: what the model takes, a batch.

    Returns:
        (batch, heads, queries, keys) each; a row over the keys sums to 1.
    """
    found: dict[str, np.ndarray] = {}

    def keep(layer: keras.layers.Layer, value: Any) -> None:
        path, count = layer.path.removeprefix(f"{model.name}/"), 1
        name = path
        while name in found:
            count += 1
            name = f"{path}#{count}"
        found[name] = numbers(value)

    with contextlib.ExitStack() as undo:
        for layer in attending(model):
            if isinstance(layer, OURS):
                undo.enter_context(calling(layer.softmax, _kept(layer, layer.softmax.call, keep)))
            else:
                undo.enter_context(calling(layer, _asked(layer, layer.call, keep)))
        model(inputs, training=False)
    return found


def _kept(layer: keras.layers.Layer, compute: Callable, keep: Callable) -> Callable:
    """Return what computes the weights of one of the zoo's layers, and keeps them."""

    def call(scores: Any) -> Any:
        value = compute(scores)
        keep(layer, value)
        return value

    return call


def _asked(layer: keras.layers.Layer, compute: Callable, keep: Callable) -> Callable:
    """Return what asks Keras' own layer for its weights, which it may else never compute as such, and keeps them."""

    def call(*args: Any, return_attention_scores: bool = False, **kwargs: Any) -> Any:
        output, value = compute(*args, return_attention_scores=True, **kwargs)
        keep(layer, value)
        return (output, value) if return_attention_scores else output

    return call
