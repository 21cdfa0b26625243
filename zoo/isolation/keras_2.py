"""Whole models in .h5 files, the format of Keras 2: looked at before Keras opens them, and read where Keras 3 refuses.

Only the layers of Keras itself are built from such a file; Python code inside it is refused.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras

from zoo.console.documents import from_json
from zoo.console.errors import UsageError
from zoo.isolation import hdf5


def look(path: Path) -> None:
    """Check that an .h5 file holds a whole model, no Python code, and no arrays far larger than the file.

    Raises:
        UsageError: It does not.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            config = file.attrs.get("model_config")
            reason = hdf5.refusal(file)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise UsageError(f"{path}: expected an HDF5 file: {error}") from None
    if config is None:
        raise UsageError(f"{path}: expected a whole model, found weights alone; save the model itself, as .keras")
    if reason:
        raise UsageError(f"{path}: expected the weights of a model: {reason}")
    if "Lambda" in set(_class_names(from_json(config, f"{path}: its configuration"))):
        raise UsageError(f"{path}: expected layers without Python code, found a Lambda layer")


def _class_names(config: Any) -> Iterator[str]:
    if isinstance(config, dict):
        if isinstance(config.get("class_name"), str):
            yield config["class_name"]
        for value in config.values():
            yield from _class_names(value)
    elif isinstance(config, list):
        for value in config:
            yield from _class_names(value)


def of_keras_2() -> dict[str, Any]:
    """Return replacements for layers whose configuration of Keras 2 has arguments that Keras 3 does not know."""
    return {"DepthwiseConv2D": _Depthwise}


class _Depthwise(keras.layers.DepthwiseConv2D):
    """Makes a DepthwiseConv2D without the argument `groups`, which Keras 2 wrote and never used."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.DepthwiseConv2D:
        return keras.layers.DepthwiseConv2D.from_config({k: v for k, v in config.items() if k != "groups"})
