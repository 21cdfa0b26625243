"""Layers at the ends of a model that takes and gives numbers in their own units, such as degrees and kilowatts.

Columns have different units, so one scale and zero point for all of them would leave some with a few steps. An integer
file therefore computes these layers in float32, and rounds what is between them.
"""

import keras
from keras import layers, ops

# Added to the variance of a window, so that a constant one is not divided by 0; as in RevIN (Kim et al., 2022).
EPSILON = 1e-5


class InUnits(layers.Layer):
    """A layer that stays in float32 in integer files."""


@keras.saving.register_keras_serializable("zoo")
class Standardized(InUnits):
    """Subtract a mean from each column and divide by its deviation.

    Args:
        means: Mean of each column over the training data.
        deviations: Standard deviation of each column.

    Input shape and output shape: (batch, time, columns).
    """

    def __init__(self, means: tuple[float, ...], deviations: tuple[float, ...], **kwargs):
        super().__init__(**kwargs)
        self.means, self.deviations = tuple(means), tuple(deviations)

    def call(self, x):
        means, factors = (ops.convert_to_tensor(each, x.dtype) for each in (self.means, self._factors()))
        return (x - means) * factors

    def _factors(self):
        return [1 / deviation for deviation in self.deviations]

    def get_config(self):
        return super().get_config() | {"means": self.means, "deviations": self.deviations}


@keras.saving.register_keras_serializable("zoo")
class Restored(InUnits):
    """Multiply each column by its deviation and add its mean.

    Args:
        means: Mean of each column.
        deviations: Standard deviation of each column.

    Input shape and output shape: (batch, time, columns), or with quantiles (batch, time, columns, quantiles).
    """

    def __init__(self, means: tuple[float, ...], deviations: tuple[float, ...], **kwargs):
        super().__init__(**kwargs)
        self.means, self.deviations = tuple(means), tuple(deviations)

    def call(self, y):
        shape = (len(self.means), *([1] * (len(y.shape) - 3)))
        means, deviations = (
            ops.reshape(ops.convert_to_tensor(each, y.dtype), shape) for each in (self.means, self.deviations)
        )
        return y * deviations + means

    def get_config(self):
        return super().get_config() | {"means": self.means, "deviations": self.deviations}


@keras.saving.register_keras_serializable("zoo")
class WindowNormalized(InUnits):
    """Bring each window to mean 0 and variance 1, or to last value 0, column by column (RevIN, Kim et al., 2022).

    Args:
        kind: "instance" for mean and variance, "last" for the last value.

    Input shape: (batch, time, columns).
    Returns:
        The normalized window, its centre and its spread, (batch, 1, columns) each.
    """

    def __init__(self, kind: str = "instance", **kwargs):
        super().__init__(**kwargs)
        self.kind = kind

    def call(self, x):
        if self.kind == "last":
            centre = x[:, -1:]
            return x - centre, centre, ops.ones_like(centre)
        centre = ops.mean(x, axis=1, keepdims=True)
        apart = x - centre
        spread = ops.sqrt(ops.mean(apart * apart, axis=1, keepdims=True) + EPSILON)
        return apart / spread, centre, spread

    def get_config(self):
        return super().get_config() | {"kind": self.kind}


@keras.saving.register_keras_serializable("zoo")
class WindowRestored(InUnits):
    """Undo `WindowNormalized` on a forecast.

    Call arguments:
        y: Forecast (batch, time, columns), or (batch, time, columns, quantiles).
        centre: Centre of the window, (batch, 1, columns).
        spread: Spread of the window, (batch, 1, columns).
    """

    def call(self, y, centre, spread):
        if len(y.shape) == 4:
            centre, spread = centre[..., None], spread[..., None]
        return y * spread + centre


@keras.saving.register_keras_serializable("zoo")
class Added(InUnits):
    """Add the effects of known columns to series or forecasts, or subtract them.

    Args:
        sign: 1 to add, -1 to subtract.
    """

    def __init__(self, sign: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.sign = sign

    def call(self, x, effects):
        effects = effects[..., None] if len(x.shape) == 4 else effects
        return x + effects if self.sign > 0 else x - effects

    def get_config(self):
        return super().get_config() | {"sign": self.sign}
