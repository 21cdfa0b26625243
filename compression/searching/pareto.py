"""Which files of a search are worth having: the Pareto front, the winner, the one that comes closest. Pure functions.

A row has bytes, gzip_bytes, latency_ms and accuracy of one file, the accuracy on validation examples.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from compression.searching.budget import Budget

Row = Mapping[str, Any]


def front(rows: Sequence[Row], costs: Sequence[str]) -> list[Row]:
    """Return the rows that no other is better than in one thing and at least as good as in all, cheapest first.

    Args:
        rows: of measured files.
        costs: which numbers should be small: bytes, gzip_bytes or latency_ms. Accuracy should be large.
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
    """Return the row to ship: of those within the budget the most accurate, the cheaper of two equal ones.

    A budget that bounds the accuracy alone asks for the cheapest.
    """
    within = [row for row in rows if all(excess <= 0 for excess in budget.excesses(row).values())]
    if set(budget.limits) <= {"min_accuracy"}:
        return min(within, key=lambda row: (row[costs[0]], -row["accuracy"]), default=None)
    return max(within, key=lambda row: (row["accuracy"], -row[costs[0]]), default=None)


def closest(rows: Sequence[Row], budget: Budget) -> Row | None:
    """Return the row that is least beyond the budget: the sum over its limits of the share too much."""
    return min(rows, key=lambda row: sum(max(e, 0) for e in budget.excesses(row).values()), default=None)


def hypervolume(points: Sequence[tuple[float, float]], reference: tuple[float, float]) -> float:
    """Return the area that points of two numbers dominate, both of which should be small (Zitzler & Thiele, 1999).

    Args:
        points: of a front or of any files.
        reference: the worst of both; points beyond it count nothing.
    """
    area, lowest = 0.0, reference[1]
    for x, y in sorted(points):
        if x < reference[0] and y < lowest:
            area += (reference[0] - x) * (lowest - y)
            lowest = y
    return area
