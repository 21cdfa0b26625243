import pytest

from benchmarks.overhead import BATCH, MODELS, PREDICTED, PROBES, WAYS, predictions, table

PARAMETERS = {"simplenet": 100_000, "large": 400_000, "cnn": 90_000, "lstm": 200_000}
ALONE = {"simplenet": 0.004, "large": 0.006, "cnn": 0.05, "lstm": 0.1}  # seconds of a step
FIXED, BY_BYTE = 0.003, 2e-9


def result(added):
    """Return a result in which a step takes longer by `added(model)` seconds, but for the strategy none."""
    rows = []
    for model in MODELS:
        for way in WAYS:
            seconds = ALONE[model] + (0 if way == "none" else added(model))
            rows.append({"name": f"{model}, {way}", "parameters": PARAMETERS[model], "rounds": [BATCH / seconds] * 3})
    return {"measured": rows}


def test_a_fixed_time_and_a_time_for_each_byte_are_found():
    found = predictions(result(lambda model: FIXED + BY_BYTE * 4 * PARAMETERS[model]))
    assert [(row["way"], row["model"]) for row in found] == [
        (way, model) for way in PREDICTED for model in MODELS if model not in PROBES
    ]
    for row in found:
        assert (row["fixed"], row["by_byte"]) == pytest.approx((FIXED, BY_BYTE))
        assert row["predicted"] == pytest.approx(row["measured"])
        assert row["predicted"] < 1


def test_bytes_never_make_a_step_faster():
    found = predictions(result(lambda model: 0.002 if model == "large" else 0.003))
    assert all(row["by_byte"] == 0 and row["fixed"] == pytest.approx(0.003) for row in found)


def test_the_table_has_the_ratio_of_prediction_and_measurement():
    lines = table(result(lambda model: FIXED + BY_BYTE * 4 * PARAMETERS[model]))
    assert f"| {PREDICTED[0]} | cnn | 0.93 | 0.93 | 1.00 |" in lines
