"""What all forecasting models share: series in their own units, windows of any level, and known columns."""

from typing import Any, Literal

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import check_positive
from zoo.models.parts.units import Added, Restored, Standardized, WindowNormalized, WindowRestored

Normalization = Literal["instance", "last", "none"]


class Forecaster(ZooModel):
    """A model that forecasts the next steps of one or more columns.

    Columns are standardized by the training data. With known columns, whose future is known, such as the day of the
    week or a planned price, the model is a regression with errors that follow a process of their own (Hyndman &
    Athanasopoulos, 2021, chapter 10): a small network gives the effect of the known columns at each step; it is
    subtracted from the past, what remains is forecast, and the effect of the future is added. A subclass forecasts
    what remains, in `forecast`.

    Args:
        owner: Name of the model, for messages.
        horizon: Number of steps to forecast.
        means: Mean of each column, targets first, then known columns.
        deviations: Standard deviation of each column.
        known: Number of known columns.
        quantiles: Quantiles to forecast, in (0, 1), increasing; none for the mean.
        normalization: How each window is normalized, and its forecast restored: "instance", "last" or "none"; see
            `WindowNormalized`.
        known_units: Width of the hidden layer for known columns.

    Input shape: (batch, time, columns) in the units of the data; with known columns a tuple of that and the known
        columns of the future (batch, horizon, known).
    Output shape: (batch, horizon, targets), with quantiles (batch, horizon, targets, quantiles), in the units of the
        data.

    Raises:
        ValueError: If a size is not positive, or an argument is out of range.
    """

    def __init__(
        self,
        owner: str,
        horizon: int,
        means: tuple[float, ...],
        deviations: tuple[float, ...],
        known: int,
        quantiles: tuple[float, ...],
        normalization: Normalization,
        known_units: int,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive(owner, horizon=horizon, targets=len(means) - known, known_units=known_units)
        if len(means) != len(deviations) or not all(deviation > 0 for deviation in deviations):
            raise ValueError(f"{owner}: deviations: expected a positive number for each of {len(means)} columns,"
                             f" received {deviations}")  # fmt: skip
        if normalization not in ("instance", "last", "none"):
            raise ValueError(f"{owner}: normalization: expected instance, last or none, received {normalization!r}")
        if list(quantiles) != sorted(set(quantiles)) or not all(0 < q < 1 for q in quantiles):
            raise ValueError(f"{owner}: quantiles: expected increasing numbers between 0 and 1, received {quantiles}")
        self.horizon = horizon
        self.means, self.deviations = tuple(means), tuple(deviations)
        self.known = known
        self.quantiles = tuple(quantiles)
        self.normalization = normalization
        self.known_units = known_units
        self.targets = len(means) - known
        self.answers = max(1, len(self.quantiles))  # numbers for each target and step
        policy, own = self.dtype_policy, self.targets
        self.standardized = Standardized(self.means[:own], self.deviations[:own], dtype=policy, name="standardized")
        self.restored = Restored(self.means[:own], self.deviations[:own], dtype=policy, name="restored")
        self.normalized = self.denormalized = None
        if normalization != "none":
            self.normalized = WindowNormalized(normalization, dtype=policy, name="window_normalized")
            self.denormalized = WindowRestored(dtype=policy, name="window_restored")
        if known:
            self.known_standardized = Standardized(
                self.means[own:], self.deviations[own:], True, dtype=policy, name="known_standardized"
            )
            self.known_hidden = layers.Dense(known_units, "relu", dtype=policy, name="known_hidden")
            self.known_effect = layers.Dense(own, dtype=policy, name="known_effect")
            self.explained = Added(-1, dtype=policy, name="explained")
            self.expected = Added(dtype=policy, name="expected")

    def build(self, input_shape):
        several = isinstance(input_shape[0], tuple | list)
        history = tuple(input_shape[0] if several else input_shape)
        if len(history) != 3 or history[-1] != self.targets + self.known or several != bool(self.known):
            columns = f"{self.targets + self.known} columns" + (" and their known future" if self.known else "")
            raise ValueError(f"{self.name}: expected windows (time, columns) of {columns}, received {input_shape}")
        if self.known:
            self.known_hidden.build((None, None, self.known))
            self.known_effect.build((None, None, self.known_units))
        self.build_forecast(history[1])
        self.built = True

    def build_forecast(self, lookback: int) -> None:
        """Build the layers of the subclass.

        Args:
            lookback: Number of time steps of a window.
        """
        raise NotImplementedError

    def forecast(self, x, training=None):
        """Return the forecast (batch, horizon, targets, answers) of windows (batch, time, targets)."""
        raise NotImplementedError

    def call(self, x, training=None):
        history, future = x if self.known else (x, None)
        z = self.standardized(history)
        if self.known:
            z = self.explained(z, self._effects(history))
        if self.normalized:
            z, centre, spread = self.normalized(z)
        y = self.forecast(z, training=training)
        y = in_order(y) if self.quantiles else ops.squeeze(y, -1)
        if self.normalized:
            y = self.denormalized(y, centre, spread)
        if self.known:
            y = self.expected(y, self._effects(future))
        return self.restored(y)

    def _effects(self, known):
        return self.known_effect(self.known_hidden(self.known_standardized(known)))

    def get_config(self):
        return super().get_config() | {
            "horizon": self.horizon,
            "means": self.means,
            "deviations": self.deviations,
            "known": self.known,
            "quantiles": self.quantiles,
            "normalization": self.normalization,
            "known_units": self.known_units,
        }


def in_order(y):
    """Return quantiles (..., quantiles) of which none is below the one before it."""
    parts = [y[..., :1]]
    for i in range(1, y.shape[-1]):
        parts.append(ops.maximum(parts[-1], y[..., i : i + 1]))
    return ops.concatenate(parts, axis=-1)


@keras.saving.register_keras_serializable("zoo")
class NetworkForecaster(Forecaster):
    """A network for sequences that forecasts: its outputs are all steps of all columns at once.

    Args:
        network: Model from windows (batch, time, targets) to (batch, horizon * targets * answers), where answers are
            the quantiles or 1; or its serialized configuration.
        horizon: Number of steps to forecast.
        means: Mean of each column; see `Forecaster`.
        deviations: Standard deviation of each column.
        known: Number of known columns.
        quantiles: Quantiles to forecast; none for the mean.
        normalization: "instance", "last" or "none".
        known_units: Width of the hidden layer for known columns.

    Input shape and output shape: see `Forecaster`.
    """

    def __init__(
        self,
        network: keras.Model | dict[str, Any],
        horizon: int = 96,
        means: tuple[float, ...] = (0.0,),
        deviations: tuple[float, ...] = (1.0,),
        known: int = 0,
        quantiles: tuple[float, ...] = (),
        normalization: Normalization = "instance",
        known_units: int = 16,
        **kwargs,
    ):
        super().__init__(
            "forecaster", horizon, means, deviations, known, quantiles, normalization, known_units, **kwargs
        )
        self.network = keras.saving.deserialize_keras_object(network) if isinstance(network, dict) else network

    def build_forecast(self, lookback):
        if not self.network.built:
            self.network.build((None, lookback, self.targets))

    def forecast(self, x, training=None):
        y = self.network(x, training=training)
        return ops.reshape(y, (-1, self.horizon, self.targets, self.answers))

    def get_config(self):
        return super().get_config() | {"network": keras.saving.serialize_keras_object(self.network)}
