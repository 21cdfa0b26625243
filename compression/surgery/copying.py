"""Copies of a model, and which model one is: what compression changes is never the model that it was given."""

import copy
import hashlib
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from zoo.console.errors import UsageError
from zoo.introspection.layers import with_itself


def copies(model: keras.Model) -> Callable[[], keras.Model]:
    """Return a function that makes copies of a model, with its weights as they are now.

    Raises:
        UsageError: a model that cannot be made again from its configuration.
    """
    form, weights = model.get_build_config(), model.get_weights()
    try:
        config = model.get_config()
        _made(type(model), config, form, weights)
    except Exception as error:  # whatever a user's own class raises
        raise UsageError(
            f"model {model.name}: expected a model that can be made again from get_config(), to train a copy of it;"
            f" {' '.join(str(error).split())[:200]}"
        ) from None
    return lambda: _made(type(model), config, form, weights)


def drawn_anew(model: keras.Model) -> keras.Model:
    """Return a model of the same shape whose weights its own initializers drew, by Keras' seed.

    Raises:
        UsageError: a model whose configuration does not say its widths.
    """
    form, shapes = model.get_build_config(), [tuple(v.shape) for v in model.weights]
    made = _made(type(model), model.get_config(), form, None)
    found = [tuple(v.shape) for v in made.weights]
    if found != shapes:
        mine, theirs = next((p for p in zip(shapes, found, strict=False) if p[0] != p[1]), (len(shapes), len(found)))
        raise UsageError(
            f"model {model.name}: expected a get_config() that gives the widths as they are, to begin from scratch;"
            f" a weight of {mine} was made as {theirs}"
        )
    return made


def in_float32(model: keras.Model) -> keras.Model:
    """Return a model that computes in float32 with the same weights: the model itself, if it does.

    A model trained in bfloat16 keeps float32 weights, and TFLite has no bfloat16 kernels.
    """
    if {layer.compute_dtype for layer in with_itself(model)} <= {"float32"}:
        return model
    config = _without_policies(model.get_config()) | {"dtype": "float32"}
    weights = [weight.astype(np.float32) for weight in model.get_weights()]
    return _made(type(model), config, model.get_build_config(), weights)


def _made(kind: type[keras.Model], config: dict, form: Any, weights: list[np.ndarray] | None) -> keras.Model:
    made = kind.from_config(copy.deepcopy(config))  # Keras takes it apart
    if not made.built:
        made.build_from_config(form)
    if weights is not None:
        made.set_weights(weights)
    return made


def _without_policies(config: Any) -> Any:
    """Return a configuration in which every layer, however deep, computes in float32."""
    if isinstance(config, list | tuple):
        return type(config)(map(_without_policies, config))
    if not isinstance(config, dict):
        return config
    return {
        key: "float32" if key == "dtype" and isinstance(value, dict) else _without_policies(value)
        for key, value in config.items()
    }


def weights_sha256(model: keras.Model) -> str:
    """Return the SHA-256 of a model's weights, which tells it from others of its class."""
    digest = hashlib.sha256()
    for array in model.get_weights():
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
