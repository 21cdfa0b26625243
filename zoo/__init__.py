"""Keras 3 models that train anywhere: the public functions are in `zoo.api`."""

from typing import TYPE_CHECKING

from zoo.system.machine import VERSION as __version__

if TYPE_CHECKING:
    import keras

__all__ = ["__version__", "load"]


def load(name: str) -> "keras.Model":
    """Load a pretrained model by name, such as cnn-mnist; see `zoo.api.load`."""
    from zoo.api import load

    return load(name)
