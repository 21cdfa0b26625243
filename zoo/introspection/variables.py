"""The variables of a built model by path, and excluding some of them from training."""

from typing import Any

import keras

from zoo.introspection.layers import layers_of


def named(model: keras.Model) -> dict[str, Any]:
    """Return the weights of a built model by their path inside it, such as `encoder/block_1/expand/kernel`."""
    found: dict[str, Any] = {}
    for variable in model.weights:
        first, _, rest = variable.path.partition("/")
        path = rest if rest and first == model.name else variable.path
        name, count = path, 1
        while name in found:  # two layers of one name beside each other
            count += 1
            name = f"{path}#{count}"
        found[name] = variable
    return found


def hold(model: keras.Model, names: list[str]) -> None:
    """Let no training change these weights.

    A layer that is left without a weight to train is not trainable itself: a batch normalisation then uses the mean
    and the variance that it has, in training too, and does not follow the batches. Dropout stays.

    Args:
        model: built; before the optimizer is.
        names: Keys of `named`.
    """
    weights = named(model)
    for name in names:
        weights[name].trainable = False
    held = {id(weights[name]) for name in names}
    for layer in layers_of(model):
        if any(id(v) in held for v in layer.weights) and not any(v.trainable for v in layer.weights):
            layer.trainable = False
