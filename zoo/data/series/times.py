"""The time of the rows of a series, the time from one to the next, and the season that it suggests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zoo.data.tabular.table import Table

# Names of columns of time, in lower case and without marks between words; and those of numbers that run one way.
TIMES = ("time", "timestamp", "date", "datetime")
CLOCKS = (*TIMES, "year")
# Years that a column of whole numbers is taken for.
YEARS = (1000, 2999)
# Units of time since 1970: the numbers that are taken for each, from 1973 to 5138, and its microseconds.
EPOCHS = {"seconds": (1e8, 1e11, 1e6), "milliseconds": (1e11, 1e14, 1e3), "microseconds": (1e14, 1e17, 1)}
# Share of the changes that have one sign in a column that runs one way.
ONE_WAY = 0.9
_UNITS = {"seconds": np.timedelta64(1, "s"), "microseconds": np.timedelta64(1, "us")}
MINUTE, HOUR, DAY, WEEK = 60, 3600, 86_400, 604_800
_NAMES = ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (1, "second"))
_SHORT_NAMES = ((1_000_000, "second"), (1000, "millisecond"), (1, "microsecond"))
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
    unit: Literal["seconds", "microseconds", "months"] = "seconds"

    def __str__(self) -> str:
        if self.unit == "months":
            count, name = (self.size // 12, "year") if self.size % 12 == 0 else (self.size, "month")
        else:
            names = _SHORT_NAMES if self.unit == "microseconds" else _NAMES
            count, name = next((self.size // each, name) for each, name in names if self.size % each == 0)
        return f"{count} {name}{'s' * (count > 1)}"

    @property
    def season(self) -> int:
        """Number of steps in a season: a day of steps below a day, a week of days, a year of weeks and months."""
        if self.unit == "months":
            return max(1, 12 // self.size)
        if self.unit == "microseconds":
            return 1
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
        passed, length = times - first, self.size * _UNITS[self.unit]
        return passed // length, passed % length == np.timedelta64(0)

    def following(self, last: np.datetime64, count: int) -> np.ndarray:
        """Return the times of the next steps, (count,) of seconds or, if the unit is shorter, of microseconds.

        Args:
            last: Time of the last step.
            count: Number of steps.
        """
        each = np.arange(1, count + 1) * self.size
        if self.unit == "months":
            last = last.astype("datetime64[s]")
            return (last.astype("datetime64[M]") + each).astype("datetime64[s]") + _within_month(last)
        return last.astype(f"datetime64[{'s' if self.unit == 'seconds' else 'us'}]") + each * _UNITS[self.unit]

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values that the constructor takes."""
        return {"size": self.size, "unit": self.unit}


def _within_month(times: Any) -> Any:
    return (times - times.astype("datetime64[M]").astype(times.dtype)).astype("timedelta64[s]")


def step_of(series: Sequence[np.ndarray]) -> tuple[Step | None, float]:
    """Return the most frequent step of some series, and the share of all steps that it has.

    Args:
        series: Increasing times of each series, (rows,), all of seconds or all of microseconds.

    Returns:
        The step, None if no series has two rows, or if the most frequent one is rare; and its share.
    """
    unit = "seconds" if all(times.dtype == "datetime64[s]" for times in series) else "microseconds"
    changes = np.concatenate([np.diff(times) // _UNITS[unit] for times in series] or [np.zeros(0, np.int64)])
    changes = changes.astype(np.int64)
    if not len(changes):
        return None, 0.0
    if unit == "seconds" and (changes >= 28 * DAY).all() and (found := _months(series)):
        return found, 1.0
    sizes, counts = np.unique(changes, return_counts=True)
    best = int(counts.argmax())
    share = counts[best] / counts.sum()
    return (Step(int(sizes[best]), unit) if share >= REGULAR else None), float(share)


def _months(series: Sequence[np.ndarray]) -> Step | None:
    """Return the step of times that are always at the same day and time of a month, None for others."""
    within = np.concatenate([_within_month(times) for times in series])
    if (within != within[0]).any():
        return None
    changes = np.concatenate([np.diff(times.astype("datetime64[M]")).astype(int) for times in series])
    sizes, counts = np.unique(changes, return_counts=True)
    best = int(counts.argmax())
    return Step(int(sizes[best]), "months") if counts[best] / counts.sum() >= REGULAR else None


def plain(name: str) -> str:
    """Return the name of a column in lower case and without marks between words."""
    return "".join(letter for letter in name.lower() if letter.isalnum())


def clock_of(table: Table, names: Sequence[str]) -> str | None:
    """Return the first of some columns that is called a time and whose numbers run one way; None if there is none.

    Args:
        table: Table.
        names: Columns of numbers.
    """
    return next((name for name in names if plain(name) in CLOCKS and _runs_one_way(table.numbers(name))), None)


def _runs_one_way(values: np.ndarray) -> bool:
    changes = np.diff(values[np.isfinite(values)])
    return bool(changes.any()) and max((changes >= 0).mean(), (changes <= 0).mean()) >= ONE_WAY


def of_numbers(values: np.ndarray) -> tuple[np.ndarray, str] | None:
    """Return numbers as times, datetime64 of microseconds, and what they are taken for; None for other numbers.

    Args:
        values: Finite numbers (rows,): years, months such as 202412, days such as 20241231, or the time since 1970.
    """
    for unit, (low, high, factor) in EPOCHS.items():
        if low <= values.min() and values.max() < high:
            return np.rint(values * factor).astype(np.int64).astype("datetime64[us]"), f"{unit} since 1970"
    if (values != np.rint(values)).any():
        return None
    whole = values.astype(np.int64)
    first = np.ones_like(whole)
    forms = {
        "years": (whole, first, first),
        "months such as 202412": (whole // 100, whole % 100, first),
        "days such as 20241231": (whole // 10_000, whole // 100 % 100, whole % 100),
    }
    for form, (years, months, days) in forms.items():
        month = ((years - 1970) * 12 + months - 1).astype("datetime64[M]")
        day = month.astype("datetime64[D]") + (days - 1)
        valid = (years >= YEARS[0]) & (years <= YEARS[1]) & (months >= 1) & (months <= 12)
        if (valid & (days >= 1) & (day.astype("datetime64[M]") == month)).all():
            return day.astype("datetime64[us]"), form
    return None
