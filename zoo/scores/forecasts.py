"""Scores of forecasts.

Squared and absolute errors are of standardized values, in standard deviations of each column over the training part,
as in published tables of several columns. MASE is free of units: the absolute error over that of the seasonal-naive
forecast one season ahead within the training part (Hyndman & Koehler, 2006).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np


def pinball(y: np.ndarray, forecasts: np.ndarray, quantiles: Sequence[float]) -> np.ndarray:
    """Return the pinball loss of each forecast of a quantile, (..., quantiles); see `QuantileLoss`."""
    error = y[..., None] - forecasts
    shares = np.asarray(quantiles)
    return np.maximum(shares * error, (shares - 1) * error)


@dataclass
class Sums:
    """Sums of errors over windows, by step and column, so that a split need not be held in memory.

    Args:
        deviations: Standard deviation of each column.
        quantiles: Quantiles that are forecast; none for the mean.
    """

    deviations: np.ndarray
    quantiles: Sequence[float] = ()
    counts: Any = 0
    sums: dict[str, Any] = field(default_factory=dict)
    windows: int = 0

    def add(self, y: np.ndarray, forecasts: np.ndarray, scales: np.ndarray) -> None:
        """Add windows.

        Args:
            y: Truth (windows, horizon, columns), NaN where it is missing.
            forecasts: Forecasts of the same shape, with quantiles (windows, horizon, columns, quantiles).
            scales: Mean seasonal-naive change of each window's series and column, (windows, columns); NaN where
                it is unknown.
        """
        y, known = y.astype(np.float64), np.isfinite(y)
        central = forecasts[..., middle(self.quantiles)] if len(self.quantiles) else forecasts
        error = np.where(known, y - central, 0.0)
        absolute = np.abs(error)
        with np.errstate(invalid="ignore"):
            scaled = absolute / scales[:, None, :]
        found = {
            "squared": (error / self.deviations) ** 2,
            "absolute": absolute / self.deviations,
            "scaled": np.where(np.isfinite(scaled), scaled, 0.0),
            "scaled_counts": (known & np.isfinite(scaled)).astype(np.float64),
            "raw": absolute,
        }
        if len(self.quantiles):
            filled = np.where(known, y, 0.0)
            losses = pinball(filled, forecasts, self.quantiles) / self.deviations[:, None]
            found["quantile"] = np.where(known, losses.mean(-1), 0.0)
            low, high = forecasts[..., 0], forecasts[..., -1]
            found["inside"] = (known & (y >= low) & (y <= high)).astype(np.float64)
        for name, values in found.items():
            self.sums[name] = self.sums.get(name, 0) + values.sum(0)
        self.counts = self.counts + known.sum(0)
        self.windows += len(y)

    def scores(self) -> dict[str, float]:
        """Return the scores over all steps and columns: mse, mae and mase; of quantiles, their loss and coverage.

        There is no mase if the training part has no change over a season.
        """
        found = {"mse": self._mean("squared"), "mae": self._mean("absolute")}
        if counts := self.sums["scaled_counts"].sum():
            found["mase"] = float(self.sums["scaled"].sum() / counts)
        if len(self.quantiles):
            found |= {"quantile_loss": self._mean("quantile"), "inside": self._mean("inside")}
        return found

    def by_column(self) -> dict[str, np.ndarray]:
        """Return mse, mae, mase, and `raw`, the mean absolute error in the units of the data, of each column."""
        counts = self.counts.sum(0)
        return {
            "mse": _ratio(self.sums["squared"].sum(0), counts),
            "mae": _ratio(self.sums["absolute"].sum(0), counts),
            "mase": _ratio(self.sums["scaled"].sum(0), self.sums["scaled_counts"].sum(0)),
            "raw": _ratio(self.sums["raw"].sum(0), counts),
        }

    def by_step(self) -> np.ndarray:
        """Return the mae of each step of the horizon, (horizon,)."""
        return _ratio(self.sums["absolute"].sum(1), self.counts.sum(1))

    def _mean(self, name: str) -> float:
        return float(self.sums[name].sum() / max(self.counts.sum(), 1))


def _ratio(total: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return sums over numbers of values, 0 where there is none."""
    return total / np.maximum(count, 1)


def middle(quantiles: Sequence[float]) -> int:
    """Return the index of the quantile that is nearest to the median."""
    return int(np.argmin(np.abs(np.asarray(quantiles) - 0.5)))
