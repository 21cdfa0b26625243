"""What passes through the layers of a built model, watched or replaced while it computes; the model stays as it is."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras


class Call(NamedTuple):
    """One use of a layer: the tensors it was given, and what it gave."""

    layer: keras.layers.Layer
    inputs: list[Any]
    output: Any


@contextlib.contextmanager
def calling(layer: keras.layers.Layer, call: Callable) -> Iterator[None]:
    """Let a layer compute `call`, and afterwards what it did before."""
    before = layer.__dict__.get("call")
    layer.__dict__["call"] = call
    try:
        yield
    finally:
        layer.__dict__.pop("call")
        if before is not None:
            layer.__dict__["call"] = before


def calls_of(model: keras.Model, inputs: Any, layers: Iterable[keras.layers.Layer]) -> list[Call]:
    """Run a model once, not as in training, and return every use of some of its layers, in the order of their ends.

    Args:
        model: built.
        inputs: what it takes, a batch.
        layers: of the model, however deep.
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
    """Let a layer give a value of one's own, in its dtype, the `use`-th time it is called, and else what it computes.

    Args:
        layer: of a model.
        value: of the shape that the layer's output has.
        use: from 0.
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
