"""The base class of the zoo's models, whose saved file records which weights are frozen."""

import warnings
from typing import Any

import keras

from zoo.introspection.layers import with_itself
from zoo.introspection.variables import hold, named

HELD = "not_trained"


class ZooModel(keras.Model):
    """A model that keeps its frozen weights frozen when it is saved and loaded.

    Keras records `trainable` for each layer of a functional model. A subclassed model creates its layers anew, all
    trainable, and then cannot load the state of an optimizer that had fewer variables.

    A class whose size can be scaled defines `WIDTHS`: it maps the constructor arguments that are widths to what they
    must stay a multiple of, a number or the name of another argument. `zoo.config.registry.widths` reads it from the
    source text.
    """

    def for_loss(self, outputs: Any) -> Any:
        """Return the outputs as the loss takes them; a model with several outputs and one loss joins them."""
        return outputs

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(x, y, self.for_loss(y_pred), sample_weight, training)

    def get_build_config(self):
        config = super().get_build_config()
        by_default = {id(v) for layer in with_itself(self) for v in layer._trainable_variables}
        held = [name for name, v in named(self).items() if id(v) in by_default and not v.trainable]
        return {**config, HELD: held} if config and held else config

    def build_from_config(self, config):
        config = dict(config)
        held = config.pop(HELD, [])
        with warnings.catch_warnings():
            # Keras would go on with the layers that were built before building failed.
            warnings.filterwarnings("error", "Model .* had a build config, but")
            super().build_from_config(config)
        hold(self, held)
