"""Prequential accuracy agrees with numpy, a synthetic drift is located, and the errors are the whole state."""

import numpy as np
import pytest

from zoo.online.prequential import WINDOW, Prequential

pytest.importorskip("river")


def errors(*parts, seed=0):
    """Return random errors; each part is given as (count, probability of an error)."""
    random = np.random.default_rng(seed)
    return np.concatenate([random.random(count) < p for count, p in parts])


def test_accuracy_is_numpys():
    found, given = Prequential(), errors((2500, 0.2))
    assert found.accuracy is found.windowed is None
    for start in range(0, 2500, 32):
        found.add(given[start : start + 32])
    assert found.accuracy == pytest.approx(1 - given.mean())
    assert found.windowed == pytest.approx(1 - given[-WINDOW:].mean())


def test_a_drift_is_found_after_it_and_soon_and_nothing_where_there_is_none():
    changes = Prequential().add(errors((3000, 0.03), (500, 0.4)))
    assert len(changes) == 1
    (change,) = changes
    assert 3000 < change["example"] <= 3100
    assert 0 < change["window"] <= 600  # its buckets double in size
    assert change["accuracy_before"] == pytest.approx(0.97, abs=0.02)
    assert change["accuracy_after"] < change["accuracy_before"] - 0.03
    assert sum(len(Prequential().add(errors((5000, 0.1), seed=seed))) for seed in range(10)) <= 1


def test_a_rise_of_accuracy_is_a_change_as_well():
    (change,) = Prequential().add(errors((2000, 0.5), (500, 0.02)))
    assert change["accuracy_after"] > change["accuracy_before"]


@pytest.mark.parametrize("cut", [0, 1, 1000, 3010, 3090, 3333])
def test_it_goes_on_from_its_arrays_as_if_it_had_not_stopped(cut):
    given = errors((3000, 0.03), (600, 0.5))
    whole, first = Prequential(), Prequential()
    expected = whole.add(given)
    found = first.add(given[:cut])
    second = Prequential.of(first.arrays())
    found += second.add(given[cut:])
    assert found == expected
    assert (second.accuracy, second.windowed) == (whole.accuracy, whole.windowed)
    for name, array in whole.arrays().items():
        np.testing.assert_array_equal(second.arrays()[name], array)
