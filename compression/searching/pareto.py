"""Select files of a search: the Pareto front, the winner and the file closest to the budget. Pure functions.

A row has the bytes, gzip_bytes, latency_ms and validation accuracy of one file.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compression.searching.budget import Budget

Row = Mapping[str, Any]


def front(rows: Sequence[Row], costs: Sequence[str]) -> list[Row]:
    """Return the Pareto front, the rows that no other row dominates, cheapest first.

    Args:
        rows: Rows of measured files.
        costs: Measurements to minimise: bytes, gzip_bytes or latency_ms. Accuracy is maximised.
    """
    ordered = sorted(rows, key=lambda row: (*(row[cost] for cost in costs), -row["accuracy"]))
    found: list[Row] = []
    for row in ordered:
        if not any(_at_least_as_good(other, row, costs) for other in found):
            found.append(row)
    return [row for row in found if not any(_at_least_as_good(o, row, costs) for o in found if o is not row)]


def _at_least_as_good(one: Row, other: Row, costs: Sequence[str]) -> bool:
    return one["accuracy"] >= other["accuracy"] and all(one[cost] <= other[cost] for cost in costs)


def winner(rows: Sequence[Row], budget: Budget, costs: Sequence[str]) -> Row | None:
    """Return the most accurate row within the budget, the cheaper one of equals; None if no row is within the budget.

    If the budget limits only the accuracy, return the cheapest row within it.
    """
    within = [row for row in rows if all(excess <= 0 for excess in budget.excesses(row).values())]
    if set(budget.limits) <= {"min_accuracy"}:
        return min(within, key=lambda row: (row[costs[0]], -row["accuracy"]), default=None)
    return max(within, key=lambda row: (row["accuracy"], -row[costs[0]]), default=None)


def closest(rows: Sequence[Row], budget: Budget) -> Row | None:
    """Return the row with the smallest sum of excesses over the limits of the budget."""
    return min(rows, key=lambda row: sum(max(e, 0) for e in budget.excesses(row).values()), default=None)


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the hypervolume of points with two values to minimise (Zitzler & Thiele, 1999).

    Args:
        points: Points of a front or of any files.
        reference: Reference point; points beyond it do not count.
    """
    area, lowest = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < lowest:
            area += (reference[0] - x) * (lowest - y)
            lowest = y
    return area
