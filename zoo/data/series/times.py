"""The time from one row of a series to the next, and the season that it suggests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

_SECOND = np.timedelta64(1, "s")
MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 604_800
_NAMES = ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second"))
# Share of the steps that must be the most frequent one; below it, rows are counted instead of time.
REGULAR = 0.5


@dataclass(frozen=True)
class Step:
    """The time from one row to the next.

    Args:
        size: Number of units.
        unit: Unit; months have different lengths.
    """

    size: int
    unit: Literal["seconds", "months"] = "seconds"

    def __str__(self) -> str:
        if self.unit == "months":
            count, name = (self.size // 12, "year") if self.size % 12 == 0 else (self.size, "month")
        else:
            count, name = next((self.size // each, name) for each, name in _NAMES if self.size % each == 0)
        return f"{count} {name}{'s' * (count > 1)}"

    @property
    def season(self) -> int:
        """Number of steps in a season: a day of steps below a day, a week of days, a year of weeks and months."""
        if self.unit == "months":
            return max(1, 12 // self.size)
        if self.size < DAY:
            return DAY // self.size if DAY % self.size == 0 else 1
        return {DAY: 7, WEEK: 52}.get(self.size, 1)

    def positions(self, times: np.ndarray, first: np.datetime64) -> tuple[np.ndarray, np.ndarray]:
        """Return the number of whole steps since a first time, and whether it is exact, (rows,) each.

        Args:
            times: Times (rows,).
            first: Time of the position 0.
        """
        if self.unit == "months":
            months = times.astype("datetime64[M]").astype(np.int64) - first.astype("datetime64[M]").astype(np.int64)
            return months // self.size, (months % self.size == 0) & (_within_month(times) == _within_month(first))
        seconds = (times - first) // _SECOND
        return seconds // self.size, seconds % self.size == 0

    def following(self, last: np.datetime64, count: int) -> np.ndarray:
        """Return the times of the next steps, (count,) of seconds.

        Args:
            last: Time of the last step.
            count: Number of steps.
        """
        each = np.arange(1, count + 1) * self.size
        if self.unit == "months":
            last = last.astype("datetime64[s]")
            return (last.astype("datetime64[M]") + each).astype("datetime64[s]") + _within_month(last)
        return last.astype("datetime64[s]") + each * _SECOND

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values that the constructor takes."""
        return {"size": self.size, "unit": self.unit}


def _within_month(times: Any) -> Any:
    return (times - times.astype("datetime64[M]").astype(times.dtype)).astype("timedelta64[s]")


def step_of(series: Sequence[np.ndarray]) -> tuple[Step | None, float]:
    """Return the most frequent step of some series, and the share of all steps that it has.

    Args:
        series: Increasing times of each series, (rows,).

    Returns:
        The step, None if no series has two rows, or if the most frequent one is rare; and its share.
    """
    changes = np.concatenate([np.diff(times) // _SECOND for times in series] or [np.zeros(0, np.int64)]).astype(int)
    if not len(changes):
        return None, 0.0
    if (changes >= 28 * DAY).all() and (found := _months(series)):
        return found, 1.0
    sizes, counts = np.unique(changes, return_counts=True)
    best = int(counts.argmax())
    share = counts[best] / counts.sum()
    return (Step(int(sizes[best])) if share >= REGULAR else None), float(share)


def _months(series: Sequence[np.ndarray]) -> Step | None:
    """Return the step of times that are always at the same day and time of a month, None for others."""
    within = np.concatenate([_within_month(times) for times in series])
    if (within != within[0]).any():
        return None
    changes = np.concatenate([np.diff(times.astype("datetime64[M]")).astype(int) for times in series])
    sizes, counts = np.unique(changes, return_counts=True)
    best = int(counts.argmax())
    return Step(int(sizes[best]), "months") if counts[best] / counts.sum() >= REGULAR else None
