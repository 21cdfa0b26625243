"""Areas under ROC curves and thresholds, against scikit-learn and closed forms."""

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from zoo.scores import roc, votes


@pytest.mark.parametrize("seed", range(20))
def test_areas_are_those_of_scikit_learn_also_with_ties(seed):
    random = np.random.default_rng(seed)
    scores, anomalous = np.round(random.normal(size=120), seed % 3), random.random(120) < 0.3
    scores[anomalous] += 0.7
    assert roc.auc(scores, anomalous) == pytest.approx(roc_auc_score(anomalous, scores), abs=1e-12)
    for most in (0.1, 0.5):
        expected = roc_auc_score(anomalous, scores, max_fpr=most)
        assert roc.partial_auc(scores, anomalous, most) == pytest.approx(expected, abs=1e-12)


def test_areas_of_known_detectors():
    anomalous = np.array([False] * 10 + [True] * 10)
    perfect = np.arange(20.0)
    assert roc.auc(perfect, anomalous) == 1 and roc.auc(-perfect, anomalous) == 0
    assert roc.partial_auc(perfect, anomalous) == 1
    assert roc.auc(np.zeros(20), anomalous) == 0.5 and roc.partial_auc(np.zeros(20), anomalous) == pytest.approx(0.5)


def test_the_area_of_two_normal_distributions_is_that_of_their_distance():
    random = np.random.default_rng(0)
    scores = np.concatenate([random.normal(0, 1, 40_000), random.normal(1, 1, 40_000)])
    # P(x < y) for y - x with the distribution N(1, 2): Phi(1 / sqrt(2)).
    assert roc.auc(scores, np.arange(80_000) >= 40_000) == pytest.approx(0.76025, abs=0.005)


@pytest.mark.parametrize(("rate", "expected"), [(0.0, 99), (0.009, 99), (0.01, 98), (0.05, 94), (0.1, 89)])
def test_a_threshold_lets_no_more_than_its_share_through(rate, expected):
    normal = np.random.default_rng(0).permutation(100).astype(float)
    limit = roc.threshold(normal, rate)
    assert limit == expected and (normal > limit).mean() <= rate


def test_scores_without_anomalies_have_no_area():
    found = roc.figures(np.arange(10.0), np.zeros(10, bool), 7.5)
    assert found == {"false_alarms": 0.2}
    assert roc.figures(np.arange(10.0), np.ones(10, bool), 7.5) == {"detected": 0.2}


def test_intervals_contain_the_score_and_are_those_of_the_bootstrap():
    random = np.random.default_rng(0)
    anomalous = np.arange(300) >= 200
    scores = random.normal(size=300) + anomalous
    found = roc.figures(scores, anomalous, 1.0)
    within = roc.intervals(scores, anomalous, found)
    assert within.keys() == found.keys()
    assert all(low < found[name] < high for name, (low, high) in within.items())
    # Hanley and McNeil (1982): the standard error of an area for two distributions of these sizes.
    area = found["auc"]
    q1, q2 = area / (2 - area), 2 * area**2 / (1 + area)
    error = np.sqrt((area * (1 - area) + 99 * (q1 - area**2) + 199 * (q2 - area**2)) / (100 * 200))
    low, high = within["auc"]
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.25)


def test_a_recording_has_the_class_of_most_windows_and_of_equal_ones_the_more_probable():
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.9, 0.1], [0.45, 0.55]])
    recordings = np.array([7, 7, 7, 9, 9])
    names, found = votes.votes(p, recordings)
    assert names.tolist() == [7, 9] and found.tolist() == [1, 0]
    assert votes.scores(p, np.array([1, 1, 1, 1, 1]), recordings) == {"recording_accuracy": 0.5, "recordings": 2}
