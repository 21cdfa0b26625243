"""Recovery from a drift, on simple curves."""

import pytest

from benchmarks.online import recovery

BEFORE = [(500, 0.9), (1000, 0.98)]


@pytest.mark.parametrize(("after", "lowest", "recovered"), [
    ([(1500, 0.97), (2000, 0.8), (2500, 0.95), (3000, 0.965), (3500, 0.99)], 0.8, 2000),
    ([(1500, 0.8), (2000, 0.9)], 0.8, None),
    ([(1500, 0.97), (2000, 0.985)], 0.97, 500),
])  # fmt: skip
def test_recovery_is_counted_from_the_drift_to_the_first_row_near_the_level_after_the_lowest(after, lowest, recovered):
    assert recovery(BEFORE + after, 1000) == {"level": 0.98, "lowest": lowest, "recovered": recovered}
