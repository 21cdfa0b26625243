"""DLinear: trend and remainder of a series, each continued by one linear layer over time (Zeng et al., 2023).

Differs from the paper in `normalization`: by default each window is brought to mean 0 and variance 1 before, and its
forecast back after (RevIN, Kim et al., 2022), which follows a level that drifts. `normalization=none` is the paper's.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.forecaster import Forecaster
from zoo.models.parts.layers import check_positive


@keras.saving.register_keras_serializable("zoo")
class DLinear(Forecaster):
    """Moving average and remainder, a linear layer from past to future for each, and their sum.

    Args:
        horizon: Number of steps to forecast.
        means: Mean of each column; see `Forecaster`.
        deviations: Standard deviation of each column.
        known: Number of known columns.
        quantiles: Quantiles to forecast; none for the mean.
        window: Number of steps of the moving average, an odd number.
        individual: Whether each column has its own linear layers.
        normalization: "instance", "last" or "none".
        known_units: Width of the hidden layer for known columns.

    Input shape and output shape: see `Forecaster`.

    Raises:
        ValueError: If a size is not positive, or the window is even.

    Reference: Zeng, Chen, Zhang and Xu: Are Transformers effective for time series forecasting? AAAI 2023.
    """

    def __init__(
        self,
        horizon: int = 96,
        means: tuple[float, ...] = (0.0,),
        deviations: tuple[float, ...] = (1.0,),
        known: int = 0,
        quantiles: tuple[float, ...] = (),
        window: int = 25,
        individual: bool = False,
        normalization: Literal["instance", "last", "none"] = "instance",
        known_units: int = 16,
        **kwargs,
    ):
        super().__init__("dlinear", horizon, means, deviations, known, quantiles, normalization, known_units, **kwargs)
        check_positive("dlinear", window=window)
        if window % 2 == 0:
            raise ValueError(f"dlinear: window: expected an odd number, received {window}")
        self.window = window
        self.individual = individual
        made = self.horizon * self.answers
        self.trend, self.remainder = (
            layers.EinsumDense("bcl,clh->bch", (self.targets, made), bias_axes="ch", dtype=self.dtype_policy, name=name)
            if individual
            else layers.Dense(made, dtype=self.dtype_policy, name=name)
            for name in ("trend", "remainder")
        )

    def build_forecast(self, lookback):
        for layer in (self.trend, self.remainder):
            layer.build((None, self.targets, lookback))

    def forecast(self, x, training=None):
        half = self.window // 2
        shape = (ops.shape(x)[0], half, self.targets)
        ends = [ops.broadcast_to(x[:, :1], shape), x, ops.broadcast_to(x[:, -1:], shape)]
        mean = ops.average_pool(ops.concatenate(ends, axis=1) if half else x, self.window, 1, "valid")
        mean, rest = (ops.transpose(each, (0, 2, 1)) for each in (mean, x - mean))  # (batch, targets, time)
        y = self.trend(mean) + self.remainder(rest)  # (batch, targets, horizon * answers)
        y = ops.reshape(y, (-1, self.targets, self.horizon, self.answers))
        return ops.transpose(y, (0, 2, 1, 3))

    def get_config(self):
        return super().get_config() | {"window": self.window, "individual": self.individual}
