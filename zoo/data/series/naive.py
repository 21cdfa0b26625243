"""The seasonal-naive forecast, which every forecast stands beside."""

import numpy as np


def seasonal_naive(history: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Return the value of the same place in the last season of the past, (..., horizon, columns).

    Args:
        history: Past values (..., time, columns), at least a season of them.
        horizon: Number of steps to forecast.
        season: Number of steps in a season; 1 repeats the last value.
    """
    time = history.shape[-2]
    return history[..., time - season + np.arange(horizon) % season, :]


def naive_scales(values: np.ndarray, season: int) -> np.ndarray:
    """Return the sums and the numbers of |y_t - y_(t - season)| of each column, (2, columns), without missing values.

    Args:
        values: Values without a gap, (time, columns), NaN where one is missing.
        season: Number of steps in a season.
    """
    changes = np.abs(values[season:] - values[:-season]) if len(values) > season else values[:0]
    return np.stack([np.nansum(changes, axis=0, dtype=np.float64), np.isfinite(changes).sum(0).astype(np.float64)])
