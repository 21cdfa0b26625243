"""What a forecasting model depends on: the columns of its series, their scale, and the time of a step."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.data.series.times import Step


@dataclass(frozen=True)
class SeriesForm:
    """Form of series and of their windows; a part of `DataSpec`.

    Args:
        columns: Columns that are forecast.
        known: Columns whose future is known.
        lookback: Number of past steps that a forecast is made from.
        horizon: Number of steps that are forecast.
        quantiles: Quantiles that are forecast; none for the mean.
        season: Number of steps in a season, for the seasonal-naive forecast.
        means: Mean of each column over the training part, first those that are forecast.
        deviations: Standard deviation of each column, likewise; 1 for a constant column.
        step: Time from one row to the next; None where rows are counted.
        time_column: Column with the time; None where rows are in order.
        group_column: Column that tells the series apart; None for a single one.
        names: Names of the series; empty for a single one.
        scales: Mean change over a season of each forecast column of each series in the training part, the denominator
            of MASE; 0 where it is unknown.
    """

    columns: tuple[str, ...]
    known: tuple[str, ...]
    lookback: int
    horizon: int
    quantiles: tuple[float, ...]
    season: int
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    step: Step | None = None
    time_column: str | None = None
    group_column: str | None = None
    names: tuple[str, ...] = ()
    scales: tuple[tuple[float, ...], ...] = ()

    @property
    def own_deviations(self) -> tuple[float, ...]:
        """Deviations of the columns that are forecast."""
        return self.deviations[: len(self.columns)]

    @property
    def used(self) -> tuple[str, ...]:
        """Columns of a table that are read."""
        return (*self.columns, *self.known, *(name for name in (self.time_column, self.group_column) if name))

    def scales_of(self, series: np.ndarray) -> np.ndarray:
        """Return the denominators of MASE, (windows, columns), NaN where they are unknown.

        Args:
            series: Index of the series of each window; -1 for one that training did not have.
        """
        known = np.array([*self.scales, [0.0] * len(self.columns)], np.float64)
        found = known[series]
        return np.where(found > 0, found, np.nan)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SeriesForm":
        """Return the form that `dataclasses.asdict` made values of."""
        found = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        found["scales"] = tuple(map(tuple, found["scales"]))
        return cls(**found | {"step": Step(**found["step"]) if found["step"] else None})

    def described(self) -> dict[str, Any]:
        """Return the form for the description of a file."""
        found = dataclasses.asdict(self)
        named = {name: list(found[name]) for name in ("columns", "known", "quantiles", "means", "deviations")}
        return named | {"season": self.season, "step": str(self.step) if self.step else "one row"}
