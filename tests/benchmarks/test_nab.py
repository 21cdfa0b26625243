"""The score of the Numenta Anomaly Benchmark, against published and closed-form values."""

import numpy as np
import pytest

from benchmarks import nab
from benchmarks.anomaly import labelled, zscores

WINDOW = [(500, 549)]


def detector(alarms, windows=WINDOW, points=1000):
    scores = np.zeros(points)
    scores[list(alarms)] = 1
    return nab.Labelled(scores, windows)


def test_a_perfect_detector_has_100_and_a_silent_one_0():
    assert nab.score({"a": detector([500]), "b": detector([300, 700], [(300, 340), (700, 720)])}, 0.5) == 100
    assert nab.score({"a": detector([])}, 0.5) == 0


def test_the_sigmoid_has_the_values_of_the_paper():
    # Lavin and Ahmad (2015), figure 3: a false alarm a little behind the window counts -0.8093.
    assert nab.sigmoid(0.45) == pytest.approx(-0.8093, abs=1e-4)
    assert nab.sigmoid(-1.0) == pytest.approx(2 / (1 + np.exp(-5)) - 1)
    assert nab.sigmoid(0.0) == 0 and nab.sigmoid(3.1) == -1


def test_the_example_of_the_paper_is_reproduced():
    """A false alarm before the window, the first point of it, one at 0.45 of its width behind it, and one far behind.

    The paper has 0.9999 for the detection and a total of 0.6909; its code divides by the weight of the first point.
    """
    windows = [(500, 600)]
    found = nab.raw(detector([200, 500, 510, 645, 990], windows), 0.5)
    assert found == pytest.approx(0.6909 + (1 - 0.9999), abs=2e-4)


def test_only_the_earliest_detection_of_a_window_counts():
    late, both = (nab.raw(detector(alarms), 0.5) for alarms in ([540], [500, 540]))
    assert both == 1 and late == pytest.approx(float(nab.sigmoid(-10 / 50) / nab.sigmoid(-1.0)))


def test_probation_is_not_scored():
    assert nab.probation(1000) == 150 and nab.probation(100_000) == 750
    assert nab.raw(detector([10, 500]), 0.5) == 1


def test_the_best_threshold_is_found():
    random = np.random.default_rng(0)
    scores = random.random(2000)
    scores[1200] = 5
    found, threshold = nab.best({"a": nab.Labelled(scores, [(1200, 1250)])})
    assert found == 100 and 1 < threshold <= 5


def test_the_rolling_z_score_is_that_of_the_past_alone():
    values = np.random.default_rng(0).normal(size=400)
    found = zscores(values, past=50)
    i = 300
    assert found[i] == pytest.approx(abs(values[i] - values[250:300].mean()) / values[250:300].std())
    changed = values.copy()
    changed[301:] = 99
    assert zscores(changed, past=50)[i] == found[i]


def test_windows_are_found_by_their_times():
    times = [f"2014-01-01 00:{minute:02}:00" for minute in range(10)]
    ends = [["2014-01-01 00:02:00.000000", "2014-01-01 00:05:00.000000"]]
    assert labelled(times, np.zeros(10), ends) == [(2, 5)]
