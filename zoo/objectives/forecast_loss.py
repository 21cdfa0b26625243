"""Losses of forecasts, in standard deviations of each column, registered with Keras because saved models refer to them.

A value that is missing in the data is NaN in the target: it adds nothing, and no gradient.
"""

from typing import Any

import keras
from keras import ops


def _present(y_true: Any, deviations: tuple[float, ...]) -> tuple[Any, Any, Any]:
    """Return the targets with 0 for missing values, 1 where they are present, and factors of the columns."""
    known = ops.cast(ops.equal(y_true, y_true), y_true.dtype)
    factors = ops.convert_to_tensor([1 / deviation for deviation in deviations], y_true.dtype)
    return ops.where(ops.equal(y_true, y_true), y_true, ops.zeros_like(y_true)), known, factors


@keras.saving.register_keras_serializable("zoo")
class SquaredError(keras.losses.Loss):
    """Mean over steps and columns of ((y - forecast) / deviation)^2.

    Args:
        deviations: Standard deviation of each column.

    Targets: (batch, horizon, columns), NaN where a value is missing. Forecasts: the same shape.
    """

    def __init__(self, deviations: tuple[float, ...] = (1.0,), name: str = "mse", **kwargs):
        super().__init__(name=name, **kwargs)
        self.deviations = tuple(deviations)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y, known, factors = _present(y_true, self.deviations)
        error = (y - y_pred) * known * factors
        return ops.mean(error * error, axis=(-2, -1))

    def get_config(self) -> dict:
        return super().get_config() | {"deviations": self.deviations}


@keras.saving.register_keras_serializable("zoo")
class QuantileLoss(keras.losses.Loss):
    """Mean over steps, columns and quantiles of the pinball loss (Koenker & Bassett, 1978), in deviations.

    The pinball loss of the quantile q is max(q e, (q - 1) e), where e is the value minus the forecast.

    Args:
        quantiles: Quantiles, in (0, 1).
        deviations: Standard deviation of each column.

    Targets: (batch, horizon, columns), NaN where a value is missing. Forecasts: (batch, horizon, columns, quantiles).
    """

    def __init__(
        self,
        quantiles: tuple[float, ...] = (0.5,),
        deviations: tuple[float, ...] = (1.0,),
        name: str = "quantile_loss",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        self.quantiles, self.deviations = tuple(quantiles), tuple(deviations)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        y, known, factors = _present(y_true, self.deviations)
        shares = ops.convert_to_tensor(self.quantiles, y_pred.dtype)
        error = (y[..., None] - y_pred) * (known * factors)[..., None]
        return ops.mean(ops.maximum(shares * error, (shares - 1) * error), axis=(-3, -2, -1))

    def get_config(self) -> dict:
        return super().get_config() | {"quantiles": self.quantiles, "deviations": self.deviations}
