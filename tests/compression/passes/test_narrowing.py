import numpy as np
import pytest

from compression.passes.narrowing import Narrowing
from compression.passes.pruning import lamp

WIDTHS = {"early": 16, "late": 64}
SCORES = {path: np.linspace(1, 2, width) for path, width in WIDTHS.items()}


def narrowing(values):
    """Return a narrowing of two layers, and the list of all widths that it measured.

    Args:
        values: Function from the number of channels of both layers to what a file takes.
    """
    asked = []

    def measure(counts):
        asked.append(dict(counts))
        whole = WIDTHS | counts
        return {name: np.array(each, float) for name, each in values(whole["early"], whole["late"]).items()}

    return Narrowing(WIDTHS, dict.fromkeys(WIDTHS, 1), SCORES, measure), asked


def test_importance_is_relative_to_the_channels_that_are_left():
    np.testing.assert_allclose(lamp([3, 1, 2]), [1 / 14, 4 / 13, 1])


def test_nothing_is_removed_within_the_limits():
    found, asked = narrowing(lambda early, late: {"cycles": [early + late]})
    assert found.within({"cycles": 80}) == WIDTHS
    assert asked[0] == {}


def test_the_layer_whose_channels_save_more_is_narrowed():
    found, _ = narrowing(lambda early, late: {"cycles": [1000 * early + late]})
    counts = found.within({"cycles": 10_064})
    assert counts["early"] <= 10
    assert counts["late"] == 64


def test_channels_outside_the_peak_of_memory_stay():
    found, _ = narrowing(lambda early, late: {"arena_bytes": [100 * early, 10 * late, 64]})
    assert found.within({"arena_bytes": 1000}) == {"early": 10, "late": 64}
    both = found.within({"arena_bytes": 320})
    assert both == {"early": 3, "late": 32}


def test_several_limits_are_kept_at_once():
    found, _ = narrowing(lambda early, late: {"arena_bytes": [100 * early, 5 * late], "cycles": [50 * late]})
    counts = found.within({"arena_bytes": 800, "cycles": 1600})
    assert counts == {"early": 8, "late": 32}


def test_limits_hold_for_what_is_measured_not_for_what_is_predicted():
    found, asked = narrowing(lambda early, late: {"cycles": [early * late]})
    counts = found.within({"cycles": 300})
    assert 200 < counts["early"] * counts["late"] <= 300
    assert len(asked) > 4  # the network, both halves, and more than one choice


def test_the_lowest_widths_are_returned_for_limits_that_no_choice_keeps():
    found, _ = narrowing(lambda early, late: {"cycles": [1000 + early + late]})
    assert found.within({"cycles": 500}) == {"early": 1, "late": 1}


@pytest.mark.parametrize("steps", [[1, 2], [5, 4, 3]])
def test_files_with_other_steps_are_compared_by_their_largest(steps):
    def values(early, late):
        return {"arena_bytes": [10 * early, 1, 2, 3] if (early, late) == (16, 64) else [10 * early, *steps]}

    found, _ = narrowing(values)
    assert found.within({"arena_bytes": 100})["early"] == 10
