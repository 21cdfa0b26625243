"""The functions of an exported file, each a signature with inputs of fixed shapes."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import ops

from compression.flatbuffers.interface import AnyInterface, Interface, ModelInterface, PairInterface, TextInterface
from zoo.console.errors import UsageError
from zoo.data.dataset import leaves
from zoo.data.images import PIXEL_MAX, pixel_scale

ACTIVATIONS = {"softmax": ops.softmax, "sigmoid": ops.sigmoid}


@dataclass(frozen=True)
class Endpoint:
    """A function of a file.

    Args:
        name: Name of the signature.
        compute: Function from tensors, in the order of `inputs`, to tensors by name.
        inputs: (name, shape with the batch dimension, dtype) of each input.
    """

    name: str
    compute: Callable[..., dict[str, Any]]
    inputs: tuple[tuple[str, tuple[int | None, ...], str], ...]


@functools.singledispatch
def endpoints(interface: AnyInterface, model: keras.Model, probabilities: bool = True) -> list[Endpoint]:
    """Return the functions of a file, by the kind of its interface.

    Args:
        interface: Inputs and outputs of the file.
        model: Built Keras model.
        probabilities: Whether to append a softmax to a classifier.
    """
    raise TypeError(f"expected an interface of compression.flatbuffers.interface, received {interface!r}")


@endpoints.register
def _of_array(interface: Interface, model: keras.Model, probabilities: bool = True) -> list[Endpoint]:
    given = (interface.name, (interface.batch, *interface.given_shape), interface.given_dtype)
    return [Endpoint("serve", servable(model, interface, probabilities), (given,))]


@endpoints.register
def _of_own_model(interface: ModelInterface, model: keras.Model, probabilities: bool = True) -> list[Endpoint]:
    """Return `serve`, which computes what the model's `predict` computes."""
    factor, low = pixel_scale(interface.pixel_range)

    def serve(*tensors: Any) -> dict[str, Any]:
        given = list(tensors)
        if interface.uint8:
            given = [ops.cast(given[0], "float32") * factor + low]
        if interface.resize_from:
            given = [ops.image.resize(given[0], interface.inputs[0].shape[:2], interpolation="bilinear")]
        outputs = leaves(model(packed(interface, given), training=False))
        return {port.name: output for port, output in zip(interface.outputs, outputs, strict=True)}

    ports = tuple((port.name, (interface.batch, *port.shape), port.dtype) for port in interface.given)
    return [Endpoint("serve", serve, ports)]


def packed(interface: ModelInterface, tensors: Sequence[Any]) -> Any:
    """Return tensors, in the order of the inputs, in the structure that the model takes."""
    if interface.structure == "dict":
        return dict(zip(interface.keys, tensors, strict=True))
    return tensors[0] if interface.structure == "one" else tuple(tensors)


@functools.singledispatch
def check_model(interface: AnyInterface, model: keras.Model) -> None:
    """Check that a model has the functions that a file with this interface is made of.

    Raises:
        UsageError: The model lacks a function.
    """


def servable(model: keras.Model, interface: Interface, probabilities: bool) -> Callable:
    """Return the function of a file with one input and one output, including pixel scaling, resizing and softmax.

    Args:
        model: Built Keras model.
        interface: Input and output of the file.
        probabilities: Whether to append the interface's activation, a softmax for classes.
    """

    def serve(x: Any) -> dict[str, Any]:
        if interface.uint8:
            x = keras.ops.cast(x, "float32") * (1 / PIXEL_MAX)
        if interface.resize_from:
            x = keras.ops.image.resize(x, interface.shape[:2], interpolation="bilinear")
        y = model(x, training=False)
        if not hasattr(y, "shape"):
            raise UsageError(f"model {model.name}: expected one output, received a {type(y).__name__} of several")
        if interface.argmax:
            import tensorflow as tf

            # Keras' own argmax compares bits, with operators that TFLite lacks.
            return {interface.output: tf.argmax(_as_given(y, interface), axis=-1, output_type=tf.int32)}
        return {interface.output: ACTIVATIONS[interface.activation](y) if probabilities else _as_given(y, interface)}

    return serve


def _as_given(y: Any, interface: Interface) -> Any:
    """Return scores of pixels at the size of the picture that a file is given, and other outputs unchanged."""
    if interface.resize_from and len(y.shape) == 4:
        return keras.ops.image.resize(y, interface.resize_from, interpolation="bilinear")
    return y


@check_model.register
def _check_makes_texts(interface: TextInterface, model: keras.Model) -> None:
    needed = ["empty_cache", "decode_step", *(["encode"] if interface.source_length else [])]
    if missing := [name for name in needed if not hasattr(model, name)]:
        raise UsageError(
            f"model {model.name}: expected a model with {' and '.join(needed)}, such as zoo.models.Transformer, to"
            f" generate text one token at a time; this one has no {' and no '.join(missing)}"
        )


@check_model.register
def _check_matches_pairs(interface: PairInterface, model: keras.Model) -> None:
    if missing := [name for name in (*PairInterface.functions, "pair_weights") if not hasattr(model, name)]:
        raise UsageError(
            f"model {model.name}: expected a two-tower model, such as zoo.models.CrossModal; this one has no"
            f" {' and no '.join(missing)}"
        )


@endpoints.register
def _of_pairs(interface: PairInterface, model: keras.Model, probabilities: bool = True) -> list[Endpoint]:
    """Return `encode_image` and `encode_text`, whose embeddings have length 1; with a fusion head, its two halves."""

    def encode_image(image: Any) -> dict[str, Any]:
        return {"embedding": model.encode_image(image, training=False)}

    def encode_text(tokens: Any) -> dict[str, Any]:
        return {"embedding": model.encode_text(tokens, training=False)}

    return [
        Endpoint("encode_image", encode_image, (("image", (1, *interface.image_shape), "float32"),)),
        Endpoint("encode_text", encode_text, (("tokens", (1, interface.tokens), "int32"),)),
    ]


@endpoints.register
def _of_texts(interface: TextInterface, model: keras.Model, probabilities: bool = True) -> list[Endpoint]:
    """Return `decode_step`, which returns logits, and `encode` for models with a source.

    Logits rather than log-probabilities, so that the softmax of a search is computed in float32: in an int8 file it
    would have only 256 levels.
    """

    def encode(source: Any) -> dict[str, Any]:
        (keys, values), mask = model.encode(source)
        return {"context_keys": keys, "context_values": values, "source_mask": mask}

    def decode_step(token: Any, position: Any, keys: Any, values: Any, *context: Any) -> dict[str, Any]:
        attended = ((context[0], context[1]), context[2]) if context else ()
        logits, (keys, values) = model.decode_step(token, position, (keys, values), *attended)
        return {"logits": logits, "keys": keys, "values": values}

    source = ("source", (1, interface.source_length), "int32")
    first = Endpoint("encode", encode, (source,))
    context = encode(ops.zeros(source[1], "int32")) if interface.source_length else {}
    cache = dict(zip(("keys", "values"), model.empty_cache(1, interface.length), strict=True))
    between = tuple(
        (name, tuple(x.shape), keras.backend.standardize_dtype(x.dtype)) for name, x in {**cache, **context}.items()
    )
    step = Endpoint("decode_step", decode_step, (("token", (1,), "int32"), ("position", (), "int32"), *between))
    return [first, step] if context else [step]
