"""The architecture of a model as a digest, by which a resumed training knows its model."""

import hashlib
import json
from typing import Any

import keras


def digest(model: keras.Model) -> str:
    """Return a digest of the layers of a built model and of their arguments, the same in every process.

    Automatic names count by their order, because they depend on what else a process has built. Of a subclassed model,
    the order of calls is not known; its layers and their arguments are.

    Args:
        model: Built Keras model.
    """
    layers = [model, *model._flatten_layers(include_self=False)]
    names: dict[str, str] = {}
    for layer in layers:
        for part in (layer, *getattr(layer, "operations", ())):
            names.setdefault(part.name, f"#{len(names)}")
    content = [[type(layer).__name__, _numbered(_config(layer), names)] for layer in layers]
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=_named).encode()).hexdigest()[:16]


def _config(layer: keras.Layer) -> Any:
    """Return the arguments of a layer, without the one that several replicas change for the time of a training."""
    try:
        return {name: value for name, value in layer.get_config().items() if name != "synchronized"}
    except (NotImplementedError, TypeError, ValueError):  # a class without one
        return None


def _numbered(value: Any, names: dict[str, str]) -> Any:
    """Return a configuration in which names of layers are replaced by their numbers."""
    if isinstance(value, dict):
        return {str(key): _numbered(each, names) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_numbered(each, names) for each in value]
    return names.get(value, value) if isinstance(value, str) else value


def _named(value: Any) -> str:
    return getattr(value, "__qualname__", type(value).__qualname__)
