"""What every model of the zoo is: one whose file remembers which of its weights are not trained."""

from typing import Any

import keras

HELD = "not_trained"


class ZooModel(keras.Model):
    """A model that is loaded with the same weights set apart from training as it was saved with.

    Keras saves that for each layer of a functional model. A subclassed one makes its layers anew, all of them to be
    trained, and then cannot load the state of an optimizer that had fewer weights.

    A class whose size can be scaled has `WIDTHS`: the constructor arguments that are widths, each with what it stays a
    multiple of, a number or another argument. `zoo.config.registry.widths` reads it as text.
    """

    def get_build_config(self):
        config = super().get_build_config()
        by_default = {id(v) for layer in self._flatten_layers() for v in layer._trainable_variables}
        held = [name for name, v in named(self).items() if id(v) in by_default and not v.trainable]
        return {**config, HELD: held} if config and held else config

    def build_from_config(self, config):
        config = dict(config)
        held = config.pop(HELD, [])
        super().build_from_config(config)
        hold(self, held)


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
        names: of `named`.
    """
    weights = named(model)
    for name in names:
        weights[name].trainable = False
    held = {id(weights[name]) for name in names}
    for layer in model._flatten_layers(include_self=False):
        if any(id(v) in held for v in layer.weights) and not any(v.trainable for v in layer.weights):
            layer.trainable = False
