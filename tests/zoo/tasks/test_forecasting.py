"""Forecasts of a process whose best forecast is known, and the whole road of a run."""

import json

import numpy as np
import pytest

from zoo import predict
from zoo.config.train_config import TrainConfig
from zoo.training.loop import train

PHI, STEPS = 0.8, 4


@pytest.fixture(scope="module")
def autoregressive(tmp_path_factory):
    """A run on y_t = 0.8 y_(t-1) + e_t, e_t of variance 1."""
    folder, rng = tmp_path_factory.mktemp("process"), np.random.default_rng(0)
    y, noise = np.zeros(6000), rng.normal(size=6000)
    for t in range(1, len(y)):
        y[t] = PHI * y[t - 1] + noise[t]
    (folder / "y.csv").write_text("y\n" + "".join(f"{value:.6f}\n" for value in y))
    config = TrainConfig(
        model="dlinear", data=folder / "y.csv", horizon=STEPS, lookback=8, epochs=6, batch_size=64, learning_rate=0.01,
        settings={"normalization": "none", "window": 3}, output=folder / "run", test_split=0.4,
    )  # fmt: skip
    return train(config, verbose=False), folder, y


def test_forecasts_of_a_linear_process_are_as_good_as_the_best(autoregressive):
    """The error of the best forecast h steps ahead has the variance (1 - phi^2h) / (1 - phi^2)."""
    result, _, y = autoregressive
    test = result.metrics["test"]
    variance = (1 - PHI ** (2 * np.arange(1, STEPS + 1))) / (1 - PHI**2)
    scale = np.std(y[: int(len(y) * 0.6 * 0.9)])
    assert test["mse"] == pytest.approx(variance.mean() / scale**2, rel=0.05)
    assert test["naive_mse"] > 1.2 * test["mse"]


def test_the_next_steps_of_a_table_are_those_of_the_best_forecast(autoregressive, capsys):
    result, folder, y = autoregressive
    assert predict.main([str(result.run.path), str(folder / "y.csv"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    found = [row["values"][0] for row in rows]
    np.testing.assert_allclose(found, y[-1] * PHI ** np.arange(1, STEPS + 1), atol=0.25)
    assert [row["time"] for row in rows] == [f"step +{i}" for i in range(1, STEPS + 1)]


def test_too_short_a_table_is_refused(autoregressive, capsys):
    result, folder, _ = autoregressive
    (folder / "short.csv").write_text("y\n1\n2\n3\n")
    assert predict.main([str(result.run.path), str(folder / "short.csv")]) == 2
    assert "expected at least the 8 steps that this run forecasts from, received 3" in capsys.readouterr().err
