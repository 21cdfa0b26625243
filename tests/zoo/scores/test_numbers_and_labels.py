"""Scores of numbers and of several labels, beside those of scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics

from zoo.objectives.losses import NumberLoss, OrdinalLoss
from zoo.scores import labels, numbers
from zoo.scores.forecasts import pinball
from zoo.tasks.ordinal import distances

RNG = np.random.default_rng(0)
Y = RNG.normal(3, 2, (200, 2))
P = Y + RNG.normal(0, 1, (200, 2))


def test_scores_of_numbers_are_those_of_scikit_learn():
    found = numbers.scores(P[:, 0], Y[:, 0])
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(Y[:, 0], P[:, 0]))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(Y[:, 0], P[:, 0]))
    assert found["r2"] == pytest.approx(metrics.r2_score(Y[:, 0], P[:, 0]))
    within = numbers.intervals_of(P[:, 0], Y[:, 0])
    assert all(low < found[name] < high for name, (low, high) in within.items()) and len(within) == 3
    rows = numbers.by_column(P, Y, ("a", "b"))
    assert [row["column"] for row in rows] == ["a", "b"] and rows[0]["rmse"] == found["rmse"]
    assert "r2" not in numbers.scores(P[:, 0], np.ones(200))


def test_the_loss_is_squared_error_and_pinball_in_units_of_the_deviations():
    levels, units = (0.1, 0.9), (2.0, 50.0)
    outputs = RNG.normal(0, 3, (200, 6)).astype("float32")
    found = np.asarray(NumberLoss(units, levels)(Y.astype("float32"), outputs))
    asked = outputs[:, 2:].reshape(200, 2, 2)
    expected = np.mean(((outputs[:, :2] - Y) / units) ** 2) + np.mean(
        [
            metrics.mean_pinball_loss(Y[:, i], asked[:, i, j], alpha=level) / units[i]
            for i in range(2)
            for j, level in enumerate(levels)
        ]
    )
    assert found == pytest.approx(expected, rel=1e-5)
    assert pinball(Y, asked, levels)[:, 0, 0].mean() == pytest.approx(
        metrics.mean_pinball_loss(Y[:, 0], asked[:, 0, 0], alpha=0.1)
    )
    assert numbers.covered(np.stack([Y - 1, Y + 1], -1), Y) == 1


def test_scores_of_labels_are_those_of_scikit_learn():
    y, answers = RNG.random((300, 5)) < 0.3, RNG.random((300, 5)) < 0.4
    found = labels.scores(answers, y)
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(y, answers, average="micro"))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(y, answers, average="macro"))
    assert found["exact_match"] == pytest.approx(metrics.accuracy_score(y, answers))
    p = RNG.random((300, 5))
    assert labels.mean_average_precision(p, y) == pytest.approx(metrics.average_precision_score(y, p, average="macro"))
    within = labels.intervals_of(found, answers, y)
    assert all(low < found[name] < high for name, (low, high) in within.items())
    rows = labels.by_label(answers, y, tuple("abcde"), np.full(5, 0.5))
    assert np.mean([row["f1"] for row in rows]) == pytest.approx(found["macro_f1"])


def test_thresholds_are_those_with_the_best_micro_f1():
    y = RNG.random((2000, 3)) < (0.1, 0.5, 0.3)
    # Probabilities that are right about the order of examples, on a scale of their own for each label.
    cuts = np.array([0.1, 0.6, 0.3])
    p = np.where(y, cuts + (1 - cuts) * RNG.random(y.shape), cuts * RNG.random(y.shape))
    chosen = labels.thresholds(p, y)
    np.testing.assert_allclose(chosen, cuts, atol=0.02)
    assert labels.scores(p > chosen, y)["micro_f1"] > 0.98 > labels.scores(p > 0.5, y)["micro_f1"]
    assert labels.thresholds(p, np.zeros_like(y)).tolist() == [0.5] * 3
    few = labels.thresholds(p[:40], y[:40])
    assert len(set(few)) == 1  # labels with few examples share one


def test_a_far_miss_costs_more_than_a_near_one():
    sure = 4 * np.eye(4, dtype="float32")
    y = np.zeros(4, np.int32)
    found = (
        np.asarray(OrdinalLoss()(y[:1], sure[:1])),
        *(np.asarray(OrdinalLoss()(y[:1], sure[[i]])) for i in (1, 2, 3)),
    )
    assert found[0] < found[1] < found[2] < found[3]
    p = np.exp(sure) / np.exp(sure).sum(1, keepdims=True)
    score = np.square(np.cumsum(p - np.eye(4)[0], axis=1)).sum(1)  # ranked probability score
    np.testing.assert_allclose(found, score - np.log(p[:, 0]), rtol=1e-5)
    assert distances(np.array([0, 1, 2, 3]), np.array([0, 1, 2, 1])) == pytest.approx(
        {"rank_error": 0.5, "kappa": metrics.cohen_kappa_score([0, 1, 2, 1], [0, 1, 2, 3], weights="quadratic")}
    )
