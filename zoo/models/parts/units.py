"""Layers at the ends of a model that takes and gives numbers in their own units, such as degrees and kilowatts.

Columns have different units, so one scale and zero point for all of them would leave some with a few steps. An integer
file therefore computes these layers in float32, and rounds what is between them.
"""

import keras
from keras import ops

from zoo.models.parts.floating import InFloat

# Added to the variance of a window, so that a constant one is not divided by 0; as in RevIN (Kim et al., 2022).
EPSILON = 1e-5


@keras.saving.register_keras_serializable("zoo")
class Standardized(InFloat):
    """Take the first or the last columns, subtract the mean of each and divide by its deviation.

    The columns are taken here, so that an integer file takes all of them in float32.

    Args:
        means: Mean of each column over the training data.
        deviations: Standard deviation of each column.
        last: Whether the columns are the last ones.

    Input shape: (batch, time, all columns).
    Output shape: (batch, time, columns).
    """

    def __init__(self, means: tuple[float, ...], deviations: tuple[float, ...], last: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.means, self.deviations, self.last = tuple(means), tuple(deviations), last

    def call(self, x):
        own = len(self.means)
        if x.shape[-1] > own:
            x = x[..., -own:] if self.last else x[..., :own]
        means, factors = (ops.convert_to_tensor(each, x.dtype) for each in (self.means, self._factors()))
        return (x - means) * factors

    def _factors(self):
        return [1 / deviation for deviation in self.deviations]

    def get_config(self):
        return super().get_config() | {"means": self.means, "deviations": self.deviations, "last": self.last}


@keras.saving.register_keras_serializable("zoo")
class Restored(InFloat):
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
class WindowNormalized(InFloat):
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
class WindowRestored(InFloat):
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
class Added(InFloat):
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
