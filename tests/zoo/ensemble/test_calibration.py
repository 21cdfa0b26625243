"""Calibration compared with slow references, closed forms and data of known temperature."""

import numpy as np
import pytest

from zoo.console.errors import UsageError
from zoo.ensemble import calibration
from zoo.runs.inference import probabilities


def logs_of(p):
    return np.log(np.asarray(p, np.float64))


def slow_ece(p, y, count=15):
    """Return the expected calibration error by the definition of Guo et al. (2017), example by example."""
    total = 0.0
    for b in range(count):
        members = [i for i in range(len(p)) if b / count < max(p[i]) <= (b + 1) / count]
        if members:
            right = sum(int(np.argmax(p[i]) == y[i]) for i in members) / len(members)
            sure = sum(max(p[i]) for i in members) / len(members)
            total += len(members) / len(p) * abs(right - sure)
    return total


def test_ece_is_that_of_the_slow_definition():
    rng = np.random.default_rng(0)
    logits, y = rng.normal(0, 2, (500, 4)), rng.integers(0, 4, 500)
    found = calibration.measured(logits, y)
    assert found["ece"] == pytest.approx(slow_ece(probabilities(logits), y), abs=1e-12)
    assert found["ece"] > 0.1  # the labels are independent of the logits
    steps = calibration.measured(logits.reshape(50, 10, 4), y.reshape(50, 10))  # one label per time step
    assert steps == pytest.approx(found)


def test_scores_of_one_probability_have_closed_forms():
    p = np.tile([0.8, 0.15, 0.05], (10, 1))
    y = np.array([0] * 5 + [1] * 5)  # half of the predictions are right
    found = calibration.measured(logs_of(p), y)
    assert found["ece"] == pytest.approx(0.8 - 0.5)
    assert found["nll"] == pytest.approx(-(np.log(0.8) + np.log(0.15)) / 2)
    squares = (0.2**2 + 0.15**2 + 0.05**2, 0.8**2 + 0.85**2 + 0.05**2)
    assert found["brier"] == pytest.approx(sum(squares) / 2)
    assert calibration.measured(logs_of(p), np.array([0] * 8 + [1, 2]))["ece"] == pytest.approx(0, abs=1e-12)


def test_a_border_belongs_to_the_bin_below_it():
    found = calibration.bins(np.array([[0.5, 0.5], [0.75, 0.25], [1, 0]]), np.array([0, 1, 0]), count=4)
    np.testing.assert_allclose(found, [[0, 0, 0], [0.5, 1, 1], [0.75, 0, 1], [1, 1, 1]])


@pytest.mark.parametrize("true", [0.01, 0.6, 1.0, 2.5, 50])
def test_the_temperature_that_labels_were_drawn_at_is_found(true):
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 4 * true, (20_000, 5)).astype("float32")
    y = (logits / true + rng.gumbel(size=logits.shape)).argmax(-1)  # drawn from the softmax at that temperature
    found = calibration.fitted_temperature(logits, y)
    assert found == pytest.approx(true, rel=0.03)
    losses = [calibration.measured(logits / t, y)["nll"] for t in (0.999 * found, found, 1.001 * found)]
    assert min(losses) == losses[1]
    assert calibration.measured(logits / found, y)["ece"] < 0.01


def test_no_temperature_fits_a_model_that_is_never_wrong():
    with pytest.raises(UsageError, match="expected at least one misclassified validation example, all 3 are"):
        calibration.fitted_temperature(np.eye(3), np.arange(3))


def test_no_temperature_fits_a_model_that_knows_nothing():
    logits = np.array([[2.0, 0, 0], [2, 0, 0], [2, 0, 0]])
    with pytest.raises(UsageError, match="no temperature fits better than equal probabilities"):
        calibration.fitted_temperature(logits, np.arange(3))  # right once in three, as by chance
    assert calibration.fitted_temperature(logits, np.array([0, 0, 1])) > 1
