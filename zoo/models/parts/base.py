"""The base classes of the zoo's models, whose saved file records frozen weights, and the width of each layer."""

import warnings
from typing import Any

import keras
from keras import layers

from zoo.introspection.layers import in_order, with_itself
from zoo.introspection.variables import hold, named

HELD = "not_trained"
# Layers that have a number of channels, or of units, of their own.
WIDE = (layers.Conv2D, layers.Conv2DTranspose, layers.Dense)


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


class NarrowedModel(ZooModel):
    """A model that records the number of channels of each of its layers.

    A subclass takes the number of channels of every layer from `width`, and calls `check_widths` when all are made.

    Args:
        widths: Channels of every convolution and units of every Dense layer, without the output layers, in the order of
            their use; empty: the usual ones. Channel pruning makes them smaller.

    Raises:
        ValueError: Widths of another network.
    """

    def __init__(self, widths: tuple[int, ...] = (), **kwargs: Any):
        super().__init__(**kwargs)
        self.widths = tuple(widths)
        self.usual_widths = ()

    def width(self, usual: int) -> int:
        """Return the channels of the next layer: the usual ones, or those in `widths`."""
        self.usual_widths = (*self.usual_widths, usual)
        place = len(self.usual_widths) - 1
        return self.widths[place] if place < len(self.widths) else usual

    def check_widths(self) -> None:
        """Raise ValueError for widths of another network."""
        expected = len(self.usual_widths)
        if self.widths and len(self.widths) != expected:
            raise ValueError(f"{type(self).__name__}: widths: expected {expected} numbers, received {len(self.widths)}")

    def outputs_of_width(self) -> tuple[layers.Layer, ...]:
        """Return the output layers, whose width the data decide."""
        return (self.head,)

    def get_config(self):
        last = self.outputs_of_width()
        wide = [layer for layer in in_order(self) if isinstance(layer, WIDE) and not any(layer is x for x in last)]
        present = tuple(getattr(layer, "filters", None) or layer.units for layer in wide)
        return super().get_config() | {"widths": () if present == self.usual_widths else present}
