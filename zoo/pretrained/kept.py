"""Networks that `zoo.fetch` keeps in the cache: where they lie, and how they are opened."""

from pathlib import Path
from typing import TYPE_CHECKING

from zoo.console.errors import UsageError
from zoo.system import cache

if TYPE_CHECKING:
    import keras

# File of each model in the folder of the cache.
FILES = {"efficientnet_lite": "efficientnet_lite0-imagenet.keras"}


def has(model: str) -> bool:
    """Return whether the weights of a model are fetched by `zoo.fetch`."""
    return model in FILES


def path(model: str) -> Path:
    """Return the path of the file of a model, whether it exists or not."""
    return cache.folder() / "pretrained" / FILES[model]


def file(name: str, model: "keras.Model") -> Path:
    """Return the file with the weights of a model.

    Args:
        name: Name of the model.
        model: The model that is to take them.

    Raises:
        UsageError: It was not fetched.
    """
    if (size := model.get_config()["size"]) != 0:
        raise UsageError(f"--pretrained imagenet: expected --set size=0, the one that zoo.fetch gets, received {size}")
    if not path(name).is_file():
        raise UsageError(
            f"--pretrained imagenet: expected {path(name)}, found none; run `python -m zoo.fetch {name}` once, or name"
            " a .keras file of the network"
        )
    return path(name)
