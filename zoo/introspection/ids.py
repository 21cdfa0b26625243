"""Which inputs of a model are ids: numbers that it only looks up, and computes nothing with."""

from collections.abc import Callable, Iterable
from typing import Any

import keras

# Operations that arrange values in another way, and those that compare ids, as a mask does.
_ARRANGE = {"ExpandDims", "Identity", "Reshape", "Squeeze", "StridedSlice"}
_COMPARE = {"Equal", "NotEqual"}


def given_as_ids(model: keras.Model, x: Any) -> list[bool]:
    """Return for each input of a model whether floats are cast to whole numbers at once, as `Embedding` does.

    Args:
        model: Built model, on TensorFlow.
        x: A few examples, (examples, ...), or a structure of arrays for several inputs.
    """
    return [_cast(tensor, all) for tensor in _inputs(model, x)]


def holding_ids(model: keras.Model, x: Any) -> list[bool]:
    """Return for each input of a model whether a part of its floats is cast to whole numbers at once.

    Args:
        model: Built model, on TensorFlow.
        x: A few examples, (examples, ...), or a structure of arrays for several inputs.
    """
    return [_cast(tensor, any) for tensor in _inputs(model, x)]


def _inputs(model: keras.Model, x: Any) -> list[Any]:
    """Return the symbolic inputs of a model in a graph of its own, flattened."""
    import tensorflow as tf

    def run(x: Any) -> Any:
        return model(x, training=False)

    specs = keras.tree.map_structure(lambda array: tf.TensorSpec(array.shape, array.dtype), x)
    graph = tf.function(run, autograph=False).get_concrete_function(specs).graph
    return graph.inputs[: len(keras.tree.flatten(x))]


def _cast(tensor: Any, counted: Callable[[Iterable[bool]], bool]) -> bool:
    users = [op for op in tensor.consumers() if op.type not in _COMPARE]
    return tensor.dtype.is_floating and bool(users) and counted(_casts(op, counted) for op in users)


def _casts(op: Any, counted: Callable[[Iterable[bool]], bool]) -> bool:
    if op.type == "Cast":  # pixels of a uint8 input are cast back, to compute with them
        casts = [user.outputs[0] for user in op.outputs[0].consumers() if user.type == "Cast"]
        back = [made for made in casts if made.dtype.is_floating]
        return op.outputs[0].dtype.is_integer and all(_cast(made, counted) for made in back)
    return op.type in _ARRANGE and _cast(op.outputs[0], counted)
