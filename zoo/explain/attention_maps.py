"""Attention weights of a built model: how much each step of a sequence attends to each other step."""

import contextlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zoo.introspection.hooks import calling
from zoo.introspection.layers import layers_of
from zoo.models import MultiHeadCrossAttention, MultiHeadSelfAttention
from zoo.runs.inference import as_floats

OURS = (MultiHeadCrossAttention, MultiHeadSelfAttention)


def attending(model: keras.Model) -> list[keras.layers.Layer]:
    """Return the attention layers of a model: the zoo's and `keras.layers.MultiHeadAttention`."""
    kinds = (*OURS, keras.layers.MultiHeadAttention)
    return [layer for layer in layers_of(model) if isinstance(layer, kinds)]


def weights(model: keras.Model, inputs: Any) -> dict[str, np.ndarray]:
    """Return the attention weights of each layer by its path in the model, in the order of computation.

    Args:
        model: Built model with layers of `attending`.
        inputs: Batch of inputs of the model.

    Returns:
        Weights by path, (batch, heads, queries, keys) each. The weights of a query sum to 1.
    """
    found: dict[str, np.ndarray] = {}

    def keep(layer: keras.layers.Layer, value: Any) -> None:
        path, count = layer.path.removeprefix(f"{model.name}/"), 1
        name = path
        while name in found:
            count += 1
            name = f"{path}#{count}"
        found[name] = as_floats(value)

    with contextlib.ExitStack() as undo:
        for layer in attending(model):
            if isinstance(layer, OURS):
                undo.enter_context(calling(layer.softmax, _kept(layer, layer.softmax.call, keep)))
            else:
                undo.enter_context(calling(layer, _asked(layer, layer.call, keep)))
        model(inputs, training=False)
    return found


def _kept(layer: keras.layers.Layer, compute: Callable, keep: Callable) -> Callable:
    """Return a `call` of the softmax of one of the zoo's layers that keeps the weights."""

    def call(scores: Any) -> Any:
        value = compute(scores)
        keep(layer, value)
        return value

    return call


def _asked(layer: keras.layers.Layer, compute: Callable, keep: Callable) -> Callable:
    """Return a `call` of a layer of Keras that keeps the weights, which it otherwise may not compute explicitly."""

    def call(*args: Any, return_attention_scores: bool = False, **kwargs: Any) -> Any:
        output, value = compute(*args, return_attention_scores=True, **kwargs)
        keep(layer, value)
        return (output, value) if return_attention_scores else output

    return call
