"""Budgets, Pareto front and hypervolume against slow reference implementations."""

import itertools

import numpy as np
import pytest

from compression.searching import pareto
from compression.searching.budget import Budget
from zoo.console.errors import UsageError


@pytest.mark.parametrize(
    ("limits", "sentence"),
    [
        ({"max_bytes": 0}, "--max-bytes: expected more than 0, received 0"),
        ({"max_latency_ms": -1.0}, "--max-latency-ms: expected more than 0, received -1"),
        ({"min_accuracy": 98.5}, "up to 1, received 98.5; 98.5 % is 0.985"),
        ({"min_accuracy": 0.0}, "--min-accuracy: expected a share above 0"),
        ({"max_bytes": 1000, "max_gzip_bytes": 1000}, "contradict each other"),
        ({"max_arena": 0}, "--max-arena: expected more than 0, received 0"),
        ({"max_bytes": 1000, "target": "tflm"}, "--target tflm: expected together with --max-arena"),
        ({"max_cycles": 1000, "target": "edgetpu"}, "--target edgetpu: expected an accelerator with --max-cycles"),
    ],
)
def test_invalid_budgets_are_refused(limits, sentence):
    with pytest.raises(UsageError, match=sentence):
        Budget(**limits)


def row(bytes, accuracy, **others):
    return {"bytes": bytes, "gzip_bytes": bytes, "latency_ms": 1.0, "accuracy": accuracy, **others}


def test_an_excess_is_a_share_of_the_limit_or_of_the_allowed_error():
    budget = Budget(max_bytes=1000, min_accuracy=0.98)
    found = budget.excesses(row(1500, 0.97))
    assert found == {"max_bytes": pytest.approx(0.5), "min_accuracy": pytest.approx(0.5)}
    assert all(excess <= 0 for excess in budget.excesses(row(1000, 0.98)).values())


def test_the_device_of_a_budget_follows_its_limits():
    assert Budget(max_bytes=1000).device is None
    assert Budget(max_arena=1000).device == "tflm"
    assert Budget(max_arena=1000, max_cycles=1000).device == "ethos-u55-128"
    budget = Budget(max_cycles=1000, target="ethos-u85-256")
    assert str(budget) == "--max-cycles 1,000 on ethos-u85-256"
    assert budget.excesses(row(1, 0.5, cycles=1200)) == {"max_cycles": pytest.approx(0.2)}


def dominated(one, rows, costs):
    """Return whether another row is at least as good in all measurements and better in one."""
    return any(
        other["accuracy"] >= one["accuracy"]
        and all(other[cost] <= one[cost] for cost in costs)
        and (other["accuracy"] > one["accuracy"] or any(other[cost] < one[cost] for cost in costs))
        for other in rows
    )


@pytest.mark.parametrize("costs", [["bytes"], ["bytes", "latency_ms"]])
def test_the_front_has_the_rows_that_no_other_dominates(costs):
    rng = np.random.default_rng(0)
    for _ in range(30):  # few distinct values, so that there are equal rows and equal costs
        rows = [
            row(int(rng.integers(1, 8)), int(rng.integers(0, 6)) / 10, latency_ms=float(rng.integers(1, 5)))
            for _ in range(20)
        ]
        expected = {(*(r[c] for c in costs), r["accuracy"]) for r in rows if not dominated(r, rows, costs)}
        found = [(*(r[c] for c in costs), r["accuracy"]) for r in pareto.front(rows, costs)]
        assert sorted(found) == sorted(expected)


def test_the_winner_is_the_most_accurate_within_the_budget_or_the_cheapest_if_only_accuracy_is_limited():
    rows = [row(900, 0.97), row(1000, 0.99), row(1100, 0.995), row(500, 0.98)]
    assert pareto.winner(rows, Budget(max_bytes=1000), ["bytes"]) == rows[1]
    assert pareto.winner(rows, Budget(max_bytes=1000, min_accuracy=0.96), ["bytes"]) == rows[1]
    assert pareto.winner(rows, Budget(min_accuracy=0.98), ["bytes"]) == rows[3]
    assert pareto.winner(rows, Budget(max_bytes=400), ["bytes"]) is None
    assert pareto.closest(rows, Budget(max_bytes=400)) == rows[3]
    assert pareto.closest([], Budget(max_bytes=400)) is None


def test_the_hypervolume_is_the_area_of_the_union_of_boxes():
    from optuna._hypervolume import compute_hypervolume  # independent implementation

    rng = np.random.default_rng(1)
    for _ in range(20):
        points, reference = rng.uniform(0, 1.2, (12, 2)), (1.0, 0.9)
        inside = points[(points < reference).all(1)]
        expected = compute_hypervolume(inside, np.array(reference)) if len(inside) else 0.0
        assert pareto.hypervolume([tuple(p) for p in points], reference) == pytest.approx(expected)
    assert pareto.hypervolume([(0.5, 0.5), (0.25, 0.75)], (1, 1)) == pytest.approx(0.25 + 0.0625)
    assert not any(pareto.hypervolume(p, (1, 1)) for p in itertools.permutations([(2.0, 0.1), (0.1, 2.0)]))
