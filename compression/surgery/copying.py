"""Copy and identify models; compression changes copies and never the model it is given."""

import contextlib
import copy
import hashlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zoo.console.errors import UsageError
from zoo.data.dataset import leaves, mapped
from zoo.introspection.layers import layers_of, with_itself
from zoo.introspection.naming import fresh_names
from zoo.introspection.variables import derive, set_weights

# Examples on which a copy is compared with the model, and the largest difference of their outputs, as a share of the
# largest, that rounding explains.
COMPARED, SAME = 8, 1e-3


def copies(model: keras.Model, examples: Any = None) -> Callable[[], keras.Model]:
    """Return a function that creates copies of a model with its present weights.

    Args:
        model: Built model.
        examples: Inputs of the model, (examples, ...), a structure of arrays if it takes several. A subclassed model
            without `build` is built by calling it on zeros of their shapes, and a copy has to give the outputs that the
            model gives for COMPARED of them.

    Raises:
        UsageError: The model cannot be rebuilt from its configuration, or the copy computes something else.
    """
    form, weights = model.get_build_config(), model.get_weights()
    try:
        config = model.get_config()
        made = _made(type(model), config, form, weights, examples)
    except Exception as error:  # a user's class may raise anything
        raise UsageError(
            f"model {model.name}: expected a model that can be rebuilt from get_config(), to train a copy of it;"
            f" {' '.join(str(error).split())[:200]}"
        ) from None
    if examples is not None and (difference := _difference(model, made, examples)) > SAME:
        raise UsageError(
            f"model {model.name}: expected a copy from get_config() and the weights to compute the same, to train it;"
            f" its outputs differ by {difference:.2g} of the largest. Put what the layers compute with into"
            " get_config() or into weights"
        )
    return lambda: _made(type(model), config, form, weights, examples)


def _difference(model: keras.Model, made: keras.Model, examples: Any) -> float:
    """Return how far the outputs of two models for a few examples are apart, as a share of the largest
    value of each output.

    A model with random outputs differs from itself, and nothing can be said of its copies: 0.
    """
    few = mapped(lambda array: array[:COMPARED], examples)

    def outputs(of: keras.Model) -> list[np.ndarray]:
        found = leaves(of(few, training=False))
        return [np.asarray(keras.ops.convert_to_numpy(each), np.float64) for each in found]

    def apart(found: list[np.ndarray]) -> float:
        largest = [max(np.abs(right).max(), np.finfo(np.float32).tiny) for right in first]
        pairs = zip(found, first, largest, strict=True)
        return max(float(np.nan_to_num(np.abs(a - b), nan=np.inf).max() / most) for a, b, most in pairs)

    try:
        first = outputs(model)
    except Exception:  # data that it does not take, which are refused where they are read
        return 0.0
    return apart(outputs(made)) if apart(outputs(model)) <= SAME else 0.0


def reinitialized(model: keras.Model, examples: Any = None) -> keras.Model:
    """Return a model of the same shape with weights drawn by its initializers from Keras' seed.

    Args:
        model: Built model.
        examples: Inputs of the model; see `copies`.

    Raises:
        UsageError: The model's configuration does not contain its present widths.
    """
    form, shapes = model.get_build_config(), [tuple(v.shape) for v in model.weights]
    made = _made(type(model), model.get_config(), form, None, examples)
    found = [tuple(v.shape) for v in made.weights]
    if found != shapes:
        mine, theirs = next((p for p in zip(shapes, found, strict=False) if p[0] != p[1]), (len(shapes), len(found)))
        raise UsageError(
            f"model {model.name}: expected a get_config() with the model's present widths, to train it from scratch;"
            f" a weight of shape {mine} was rebuilt with shape {theirs}"
        )
    for layer, trained in zip(with_itself(made), with_itself(model), strict=True):
        if isinstance(layer, keras.layers.Normalization):  # made from the data, not trained
            layer.set_weights(trained.get_weights())
    derive(made)
    return made


def in_float32(model: keras.Model) -> keras.Model:
    """Return a model with the same weights that computes in float32; the model itself if it already does.

    TFLite has no bfloat16 kernels. Models trained in bfloat16 have float32 weights, so nothing is lost.
    """
    if {layer.compute_dtype for layer in with_itself(model)} <= {"float32"}:
        return model
    config = _without_policies(model.get_config()) | {"dtype": "float32"}
    weights = [weight.astype(np.float32) for weight in model.get_weights()]
    return _made(type(model), config, model.get_build_config(), weights)


def _made(
    kind: type[keras.Model], config: dict, form: Any, weights: list[np.ndarray] | None, examples: Any = None
) -> keras.Model:
    with fresh_names():
        made = kind.from_config(copy.deepcopy(config))  # from_config may modify its argument
        if not made.built:
            with contextlib.suppress(*([] if examples is None else [Exception])):  # it is called below instead
                made.build_from_config(form)
        if examples is not None and not (made.built and all(layer.built for layer in layers_of(made))):
            derive(made)  # a Normalization that was built while a graph was traced holds tensors of that graph
            made(mapped(lambda array: np.zeros_like(array[:1]), examples), training=False)
    if weights is not None:
        set_weights(made, weights)
    return made


def _without_policies(config: Any) -> Any:
    """Return a configuration in which layers at any depth compute in float32."""
    if isinstance(config, list | tuple):
        return type(config)(map(_without_policies, config))
    if not isinstance(config, dict):
        return config
    return {
        key: "float32" if key == "dtype" and isinstance(value, dict) else _without_policies(value)
        for key, value in config.items()
    }


def weights_sha256(model: keras.Model) -> str:
    """Return the SHA-256 of a model's weights, which identifies it among models of its class."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(array.tobytes())  # bfloat16 has no buffer
    return digest.hexdigest()
