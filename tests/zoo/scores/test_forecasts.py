"""Scores of forecasts, against loops over their definitions and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import mean_absolute_error, mean_pinball_loss, mean_squared_error

from zoo.data.series.naive import naive_scales, seasonal_naive
from zoo.objectives.forecast_loss import QuantileLoss, SquaredError
from zoo.scores.forecasts import Sums, middle

RNG = np.random.default_rng(0)
Y = RNG.normal(5, 3, (7, 4, 2))
FORECASTS = Y + RNG.normal(0, 1, Y.shape)
DEVIATIONS = np.array([3.0, 0.5])


def sums(y=Y, forecasts=FORECASTS, quantiles=(), scales=(2.0, 4.0), parts=3):
    found = Sums(DEVIATIONS, quantiles)
    for part in np.array_split(np.arange(len(y)), parts):
        found.add(y[part], forecasts[part], np.tile(scales, (len(part), 1)))
    return found


def test_errors_are_those_of_standardized_values():
    flat, guessed = ((values / DEVIATIONS).reshape(-1, 2) for values in (Y, FORECASTS))
    found = sums().scores()
    assert found["mse"] == pytest.approx(mean_squared_error(flat, guessed))
    assert found["mae"] == pytest.approx(mean_absolute_error(flat, guessed))
    by_column = sums().by_column()
    np.testing.assert_allclose(by_column["raw"], np.abs(Y - FORECASTS).mean((0, 1)))
    np.testing.assert_allclose(sums().by_step(), (np.abs(Y - FORECASTS) / DEVIATIONS).mean((0, 2)))


def test_mase_is_the_error_over_the_mean_change_of_a_season():
    """Hyndman and Koehler (2006): |e_t| / mean(|y_i - y_(i-m)|) over the training values."""
    training = RNG.normal(size=(50, 2)).cumsum(0)
    season = 3
    changes = [[abs(training[i, c] - training[i - season, c]) for i in range(season, 50)] for c in range(2)]
    total, count = naive_scales(training, season)
    np.testing.assert_allclose(total / count, np.mean(changes, axis=1))
    found = sums(scales=total / count).scores()["mase"]
    assert found == pytest.approx((np.abs(Y - FORECASTS) / np.mean(changes, axis=1)).mean())


def test_the_naive_forecast_of_its_own_history_has_mase_1():
    wave = np.sin(np.arange(240) / 3)[:, None] + RNG.normal(0, 0.3, (240, 1))
    total, count = naive_scales(wave, 12)
    windows = np.stack([wave[i : i + 12] for i in range(228)])
    truth = np.stack([wave[i + 12 : i + 13] for i in range(228)])
    found = Sums(np.ones(1))
    found.add(truth, seasonal_naive(windows, 1, 12), np.full((228, 1), total / count))
    assert found.scores()["mase"] == pytest.approx(1)


def test_seasonal_naive_repeats_the_last_season():
    history = np.arange(10.0)[:, None]
    assert seasonal_naive(history, 5, 3)[:, 0].tolist() == [7, 8, 9, 7, 8]
    assert seasonal_naive(history, 2, 1)[:, 0].tolist() == [9, 9]


def test_missing_values_are_not_counted():
    y = Y.copy()
    y[0, 1, 0] = y[3, :, 1] = np.nan
    keep = np.isfinite(y)
    flat = (np.abs(Y - FORECASTS) / DEVIATIONS)[keep]
    assert sums(y).scores()["mae"] == pytest.approx(flat.mean())
    scaled = (np.abs(Y - FORECASTS) / np.array([2.0, 1.0]))[keep & np.array([True, False])]
    assert sums(y, scales=(2.0, np.nan)).scores()["mase"] == pytest.approx(scaled.mean())
    assert "mase" not in sums(y, scales=(np.nan, np.nan)).scores()


def test_quantile_loss_is_that_of_scikit_learn():
    quantiles = (0.1, 0.5, 0.8)
    forecasts = FORECASTS[..., None] + np.array([-1.0, 0.0, 1.0])
    found = sums(forecasts=forecasts, quantiles=quantiles)
    flat = (Y / DEVIATIONS).reshape(-1)
    expected = [
        mean_pinball_loss(flat, (forecasts[..., i] / DEVIATIONS).reshape(-1), alpha=q) for i, q in enumerate(quantiles)
    ]
    assert found.scores()["quantile_loss"] == pytest.approx(np.mean(expected))
    loss = QuantileLoss(quantiles, tuple(DEVIATIONS), dtype="float64")(Y, forecasts)
    assert float(loss) == pytest.approx(np.mean(expected))
    inside = (forecasts[..., 0] <= Y) & (forecasts[..., 2] >= Y)
    assert found.scores()["inside"] == pytest.approx(inside.mean())
    assert found.scores()["mae"] == sums().scores()["mae"]  # of the median
    assert middle((0.2, 0.45, 0.9)) == 1


def test_the_loss_counts_missing_targets_as_no_error():
    y = Y.astype("float32")
    y[0, 1, 0] = np.nan
    error = np.nan_to_num((y - FORECASTS) / DEVIATIONS)
    found = SquaredError(tuple(DEVIATIONS))(y, FORECASTS.astype("float32"))
    assert float(found) == pytest.approx((error**2).mean(), rel=1e-5)
