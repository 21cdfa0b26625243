"""Networks with what belongs to their outputs: the units of numbers, the thresholds of labels."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.floating import InFloat
from zoo.models.parts.layers import logits_dtype


class Wrapped(ZooModel):
    """A network of the zoo inside a model that knows what its outputs mean.

    Args:
        network: Model that gives the outputs, or its serialized configuration.
    """

    def __init__(self, network: keras.Model | dict[str, Any], **kwargs):
        super().__init__(**kwargs)
        self.network = keras.saving.deserialize_keras_object(network) if isinstance(network, dict) else network

    def build(self, input_shape):
        if not self.network.built:
            self.network.build(input_shape)
        self.built = True

    def call(self, x, training=None):
        return self.network(x, training=training)

    def get_config(self):
        return super().get_config() | {"network": keras.saving.serialize_keras_object(self.network)}


@keras.saving.register_keras_serializable("zoo")
class Units(InFloat):
    """Multiply by deviations and add means, in float32 in every file: one scale would leave small units no steps.

    Args:
        scale: Factor of each output.
        offset: What is added to each of them.
    """

    def __init__(self, scale: Sequence[float], offset: Sequence[float], **kwargs):
        super().__init__(**kwargs)
        self.scale, self.offset = list(scale), list(offset)

    def call(self, y):
        scale, offset = (ops.convert_to_tensor(values, y.dtype) for values in (self.scale, self.offset))
        return y * scale + offset

    def get_config(self):
        return super().get_config() | {"scale": self.scale, "offset": self.offset}


@keras.saving.register_keras_serializable("zoo")
class Regressor(Wrapped):
    """A network that learns standardised numbers, and gives them in their own units.

    Numbers of one unit are given as integers by a file of integers, those of several units in float32.

    Args:
        network: Model that gives standardised numbers.
        means: Mean of each output over the training examples.
        deviations: Standard deviation of each output.

    Input shape: that of the network.
    Output shape: (batch, outputs), in the units of the training examples.
    """

    def __init__(self, network, means: tuple[float, ...], deviations: tuple[float, ...], **kwargs):
        super().__init__(network, **kwargs)
        self.means, self.deviations = tuple(means), tuple(deviations)
        same = len(set(zip(self.means, self.deviations, strict=True))) == 1
        kind = layers.Rescaling if same else Units
        self.units = kind(list(self.deviations), list(self.means), dtype=logits_dtype(self.dtype_policy), name="units")

    def call(self, x, training=None):
        return self.units(super().call(x, training=training))

    def get_config(self):
        return super().get_config() | {"means": self.means, "deviations": self.deviations}


@keras.saving.register_keras_serializable("zoo")
class Labeller(Wrapped):
    """A network that gives the logit of each of several labels, with the probability from which on a label is answered.

    Args:
        network: Model that gives logits.
        thresholds: Threshold of each label, between 0 and 1; chosen after training.

    Input shape: that of the network.
    Output shape: (batch, labels), logits.
    """

    def __init__(self, network, thresholds: tuple[float, ...], **kwargs):
        super().__init__(network, **kwargs)
        self.thresholds = tuple(thresholds)

    def get_config(self):
        return super().get_config() | {"thresholds": self.thresholds}
