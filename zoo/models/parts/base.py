"""What every model of the zoo is: one whose file remembers which of its weights are not trained."""

import keras

from zoo.introspection.layers import with_itself
from zoo.introspection.variables import hold, named

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
        by_default = {id(v) for layer in with_itself(self) for v in layer._trainable_variables}
        held = [name for name, v in named(self).items() if id(v) in by_default and not v.trainable]
        return {**config, HELD: held} if config and held else config

    def build_from_config(self, config):
        config = dict(config)
        held = config.pop(HELD, [])
        super().build_from_config(config)
        hold(self, held)
