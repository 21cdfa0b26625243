"""Record or replace the outputs of layers while a built model computes, without changing the model."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras


class Call(NamedTuple):
    """One call of a layer.

    Attributes:
        layer: Layer that was called.
        inputs: Input tensors of the call.
        output: Output of the call.
    """

    layer: keras.layers.Layer
    inputs: list[Any]
    output: Any


@contextlib.contextmanager
def replacing(layer: keras.layers.Layer, method: str, function: Callable) -> Iterator[None]:
    """Replace a method of a layer within a `with` block.

    Args:
        layer: Layer, or operation of a functional model, to change.
        method: Name of the method.
        function: Replacement, without `self`.
    """
    before = layer.__dict__.get(method)
    layer.__dict__[method] = function
    try:
        yield
    finally:
        layer.__dict__.pop(method)
        if before is not None:
            layer.__dict__[method] = before


def calling(layer: keras.layers.Layer, call: Callable) -> contextlib.AbstractContextManager[None]:
    """Replace the `call` method of a layer within a `with` block; see `replacing`."""
    return replacing(layer, "call", call)


def calls_of(model: keras.Model, inputs: Any, layers: Iterable[keras.layers.Layer]) -> list[Call]:
    """Run a model once in inference mode, and return every call of the given layers, in the order of completion.

    Args:
        model: Built model.
        inputs: One batch of inputs.
        layers: Layers of the model, at any depth.
    """
    seen: list[Call] = []

    def watched(layer: keras.layers.Layer) -> Callable:
        compute = layer.call

        def call(*args: Any, **kwargs: Any) -> Any:
            output = compute(*args, **kwargs)
            seen.append(Call(layer, [t for t in keras.tree.flatten((args, kwargs)) if keras.ops.is_tensor(t)], output))
            return output

        return call

    with contextlib.ExitStack() as undo:
        for layer in layers:
            undo.enter_context(calling(layer, watched(layer)))
        model(inputs, training=False)
    return seen


@contextlib.contextmanager
def giving(layer: keras.layers.Layer, value: Any, use: int = 0) -> Iterator[None]:
    """Make a layer return a given value, in its own dtype, in one of its calls within a `with` block.

    Args:
        layer: Layer of a model.
        value: Value with the shape of the layer's output.
        use: Index of the call that returns the value, from 0. All other calls compute the layer's output.
    """
    compute, used = layer.call, 0

    def call(*args: Any, **kwargs: Any) -> Any:
        nonlocal used
        used += 1
        if used == use + 1:
            return keras.ops.cast(value, layer.compute_dtype)
        return compute(*args, **kwargs)

    with calling(layer, call):
        yield
