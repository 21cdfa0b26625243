"""The rows of series: in order of time, with a row for each missing step, and one series after another."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.console.errors import UsageError, few, short
from zoo.data.casts import check_apart
from zoo.data.reading import Tally
from zoo.data.series.times import Step, clock_of, of_numbers, step_of
from zoo.data.tabular.table import Table


@dataclass(frozen=True)
class Chosen:
    """Columns of a table that series are made of.

    Args:
        columns: Columns that are forecast.
        known: Columns whose future is known.
        time: Column with the time; None if the rows are in order.
        group: Column that tells the series apart; None for a single one.
    """

    columns: tuple[str, ...]
    known: tuple[str, ...] = ()
    time: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Rows:
    """Series, one after another.

    Args:
        truth: Values (rows, columns) float32, forecast columns first, NaN where one is missing.
        positions: Number of the time step of each row, the same for all series, (rows,) int64.
        series: Index of the series of each row, (rows,).
        parts: Number of the part without a long gap that each row belongs to, (rows,).
        names: Names of the series, empty strings for a single one.
        times: Time of each row, datetime64 of seconds, or of microseconds if seconds do not tell rows apart; None
            where rows are counted.
        step: Time from one row to the next; None where rows are counted.
    """

    truth: np.ndarray
    positions: np.ndarray
    series: np.ndarray
    parts: np.ndarray
    names: tuple[str, ...]
    times: np.ndarray | None
    step: Step | None

    def filled(self, means: np.ndarray) -> np.ndarray:
        """Return the values with each missing one replaced by the last before it, or by a mean if there is none.

        Args:
            means: Mean of each column.
        """
        known = np.isfinite(self.truth)
        if known.all():
            return self.truth
        begins = np.flatnonzero(np.diff(self.series, prepend=-1))
        first = np.repeat(begins, np.diff([*begins, len(self.series)]))  # first row of each row's series
        places = np.where(known, np.arange(len(known))[:, None], -1)
        last = np.maximum.accumulate(places, axis=0)
        before = last >= first[:, None]
        found = np.take_along_axis(self.truth, np.maximum(last, 0), axis=0)
        return np.where(before, found, means.astype(np.float32))

    def starts(self, length: int) -> np.ndarray:
        """Return the first row of every window of this length that lies within one part."""
        begins = np.arange(max(0, len(self.parts) - length + 1))
        return begins[self.parts[begins] == self.parts[begins + length - 1]] if len(begins) else begins

    def time(self, row: int) -> str:
        """Return the time of a row for titles, or its number."""
        if self.times is None:
            return f"step {int(self.positions[row]) + 1:,}"
        text = str(self.times[row]).replace("T", " ")
        return text.removesuffix(" 00:00:00") if self.step and self.step.season in (7, 12, 52) else text


def of_table(
    table: Table, chosen: Chosen, tally: Tally, *, step: Step | None = None, longest_gap: int, skip_bad: bool = False
) -> Rows:
    """Return the series of a table.

    Rows are put in order of time. Steps without a row, up to `longest_gap` of them in a row, become rows of missing
    values; a longer gap ends a part of a series, and no window reaches across it.

    Args:
        table: Table with the columns.
        chosen: What its columns are.
        tally: Takes what was found, changed and assumed.
        step: Time from one row to the next, if a run has it already.
        longest_gap: Largest number of steps that are filled.
        skip_bad: Whether to leave out all but the first of rows with the same time, instead of refusing them.

    Raises:
        UsageError: A time or a name of a series that is missing, or several rows of a series at one time.
    """
    numbers = {name: table.numbers(name) for name in (*chosen.columns, *chosen.known)}
    for name, column in numbers.items():
        check_apart(f"{table.path}, column {name!r}", column[np.isfinite(column)])
    values = np.stack(list(numbers.values()), axis=1).astype(np.float32)
    names, series = _groups(table, chosen)
    times = None if chosen.time is None else _cut(_times(table, chosen.time, tally), series, chosen.time, tally)
    order = np.lexsort((np.arange(len(series)) if times is None else times, series))
    if times is not None and any((np.diff(times[series == i]) < np.timedelta64(0)).any() for i in range(len(names))):
        tally.notes.append("rows were not in order of time and were put in order")
    values, series = values[order], series[order]
    if times is not None:
        times = times[order]
        keep = _once(table, chosen, times, series, names, order, tally, skip_bad)
        values, series, times = values[keep], series[keep], times[keep]
    positions, step = _positions(chosen, times, series, len(names), step, tally)
    return _without_gaps(values, positions, series, names, times, step, longest_gap, tally)


def _groups(table: Table, chosen: Chosen) -> tuple[tuple[str, ...], np.ndarray]:
    """Return the names of the series, in order of their first rows, and the index of each row."""
    if chosen.group is None:
        return ("",), np.zeros(len(table), np.int64)
    texts = table.texts(chosen.group)
    missing = np.flatnonzero(texts == "")
    if len(missing):
        raise UsageError(
            f"{table.path}, line {table.lines[missing[0]]}: expected the name of a series in column {chosen.group!r},"
            " received nothing"
        )
    found: dict[str, int] = {}
    series = np.array([found.setdefault(text, len(found)) for text in texts], np.int64)
    return tuple(found), series


def _times(table: Table, name: str, tally: Tally) -> np.ndarray:
    """Return the times of the rows, datetime64 of microseconds."""
    if (missing := table.missing(name)).any():
        raise UsageError(
            f"{table.path}, line {table.lines[missing.argmax()]}: expected a time in column {name!r}, received nothing"
        )
    if table.kind(name) != "numbers":
        return table.times(name)
    values = table.numbers(name)
    if (found := of_numbers(values)) is None:
        raise UsageError(
            f"--time-column {name}: expected dates such as 2024-12-31 or 2024-12-31 23:59:00, years, numbers such as"
            f" 20241231, or the time since 1970, received {short(float(values[0]))}; leave --time-column out, and name"
            " the columns to forecast with --columns, if the rows are in order of time"
        )
    times, form = found
    if form != "years":
        tally.notes.append(f"numbers in {name!r} are read as {form}")
    return times


def _cut(times: np.ndarray, series: np.ndarray, name: str, tally: Tally) -> np.ndarray:
    """Return times in whole seconds, unless times of a series would become the same; what is cut off is told."""
    seconds = times.astype("datetime64[s]")
    if (seconds == times).all():
        return seconds
    if _distinct(seconds, series) < _distinct(times, series):
        return times
    tally.notes.append(f"times in {name!r} are cut to whole seconds")
    return seconds


def _distinct(times: np.ndarray, series: np.ndarray) -> int:
    """Return the number of different pairs of a series and a time."""
    order = np.lexsort((times, series))
    same = (np.diff(times[order]) == np.timedelta64(0)) & (np.diff(series[order]) == 0)
    return len(times) - int(same.sum())


def _once(
    table: Table,
    chosen: Chosen,
    times: np.ndarray,
    series: np.ndarray,
    names: tuple[str, ...],
    order: np.ndarray,
    tally: Tally,
    skip_bad: bool,
) -> np.ndarray:
    """Return the rows to keep, such that each time of a series is there once."""
    again = np.zeros(len(times), bool)
    again[1:] = (np.diff(times) == np.timedelta64(0)) & (np.diff(series) == 0)
    if not again.any():
        return ~again
    if skip_bad:
        tally.left_out["rows of a time that another row has"] += int(again.sum())
        return ~again
    place = int(np.flatnonzero(again)[0])
    groups = _groups_apart(table, times, order) if chosen.group is None else []
    groups = groups or [name for name in table.names if table.kind(name) == "texts" and name != chosen.group]
    cure = f"name the column that tells the series apart with --group-column, such as {few(groups)}" if groups else ""
    of = f" of series {names[series[place]]!r}" if chosen.group else ""
    raise UsageError(
        f"{table.path}, line {table.lines[order[place]]}: expected one row at each time{of}, received several at"
        f" {str(times[place]).replace('T', ' ')}; {cure or 'leave all but the first out with --skip-bad'}"
    )


def _groups_apart(table: Table, times: np.ndarray, order: np.ndarray) -> list[str]:
    """Return the column with the fewest values that tells rows of the same time apart, if there is one.

    Args:
        table: Table.
        times: Times of the rows in order, (rows,).
        order: Row of the table of each.
    """
    found = {}
    for name in table.names:
        values, codes = np.unique(table.texts(name).astype(str)[order], return_inverse=True)
        if 2 * len(values) <= len(times) == _distinct(times, codes):
            found[name] = len(values)
    return [min(found, key=found.get)] if found else []


def _positions(
    chosen: Chosen, times: np.ndarray | None, series: np.ndarray, count: int, step: Step | None, tally: Tally
) -> tuple[np.ndarray, Step | None]:
    """Return the number of the time step of each row, and the time of a step."""
    begins = np.searchsorted(series, np.arange(count))
    counted = np.arange(len(series)) - begins[series]
    if times is None:
        return counted, None
    share = 1.0
    if step is None:
        step, share = step_of([times[series == i] for i in range(count)])
    if step is None:
        if len(series) > count:
            tally.notes.append(
                f"times in {chosen.time!r} are irregular ({share:.0%} of the steps have the most frequent length); rows"
                " are counted instead"
            )
        return counted, None
    positions, exact = step.positions(times, times.min())
    again = (np.diff(positions) == 0) & (np.diff(series) == 0)
    if not exact.all() or again.any():
        rows = int((~exact).sum()) or int(again.sum())
        tally.notes.append(
            f"{rows:,} times in {chosen.time!r} are not whole steps of {step} apart from the first; rows are counted"
            " instead"
        )
        return counted, None
    return positions, step


def _without_gaps(
    values: np.ndarray,
    positions: np.ndarray,
    series: np.ndarray,
    names: tuple[str, ...],
    times: np.ndarray | None,
    step: Step | None,
    longest: int,
    tally: Tally,
) -> Rows:
    """Return rows with one for each missing step of a short gap, and a new part after a long one."""
    same = np.diff(series, prepend=-1) == 0
    gaps = np.where(same, np.diff(positions, prepend=0) - 1, 0)
    short_gaps, long_gaps = (gaps > 0) & (gaps <= longest), gaps > longest
    parts = np.cumsum(~same | long_gaps) - 1
    if long_gaps.any():
        tally.notes.append(
            f"{int(long_gaps.sum()):,} gaps of more than {longest:,} missing steps, which no window reaches across"
        )
    if short_gaps.any():
        added = int(gaps[short_gaps].sum())
        tally.changed[f"missing steps of {step} added as missing values"] += added
        shift = np.cumsum(np.where(short_gaps, gaps, 0)) + np.arange(len(series))
        size = int(shift[-1]) + 1
        whole = np.full((size, values.shape[1]), np.nan, np.float32)
        whole[shift] = values
        source = np.searchsorted(shift, np.arange(size))  # the row after each missing step
        behind = shift[source] - np.arange(size)
        positions, series, parts = positions[source] - behind, series[source], parts[source]
        if times is not None and step is not None:
            times = _times_of(times.min(), positions, step)
        values = whole
    found = Rows(values, positions, series, parts, names, times, step)
    missing = int(np.isnan(values).sum())
    if missing:
        tally.notes.append(
            f"{missing:,} of {values.size:,} values are missing: in the past of a window the last one before stands for"
            " it, in its future it is not counted"
        )
    return found


def _times_of(first: np.datetime64, positions: np.ndarray, step: Step) -> np.ndarray:
    """Return the times of positions."""
    if step.unit != "months":
        return first + positions * step.size * np.timedelta64(1, "s" if step.unit == "seconds" else "us")
    within = first - first.astype("datetime64[M]").astype(first.dtype)
    return (first.astype("datetime64[M]") + positions * step.size).astype(first.dtype) + within


def choose(
    path: Path,
    table: Table,
    *,
    columns: tuple[str, ...] | None,
    known: tuple[str, ...] | None,
    time: str | None,
    group: str | None,
    tally: Tally,
) -> Chosen:
    """Return what the columns of a table are; what is not given is found by their types, and told.

    Args:
        path: Path of the table.
        table: Table.
        columns: Names of the columns to forecast; None for all columns of numbers.
        known: Names of the columns whose future is known.
        time: Name of the column with the time; None for the only column of dates.
        group: Name of the column that tells the series apart.
        tally: Takes what was assumed.

    Raises:
        UsageError: Several columns of dates, or no column to forecast.
    """
    dates = [name for name in table.names if table.kind(name) == "times" and name != group]
    if time is None and len(dates) > 1:
        raise UsageError(f"--time-column: expected the one of {', '.join(dates)} that orders the rows of {path.name}")
    if time is None and dates:
        time = dates[0]
        tally.notes.append(f"time is taken from column {time!r}, the only one of dates")
    if time is None:
        tally.notes.append("there is no column of dates: rows are taken to be in order, one step apart")
    known = known or ()
    own = {time, group, *known}
    numbers = tuple(name for name in table.names if table.kind(name) == "numbers" and name not in own)
    chosen = columns or numbers
    if twice := [name for name in chosen if name in own]:
        raise UsageError(f"--columns {twice[0]}: expected columns to forecast, received one that has another role")
    if not chosen:
        raise UsageError(f"{path}: expected columns of numbers to forecast, received {few(list(table.names))}")
    if columns is None and (clock := clock_of(table, chosen)):
        raise UsageError(
            f"{path}: column {clock!r} is called a time and runs one way: expected it as --time-column {clock}, or the"
            f" columns to forecast as --columns, such as {few([name for name in chosen if name != clock]) or clock}"
        )
    if rest := [name for name in table.names if name not in {*chosen, *own}]:
        tally.notes.append(f"columns that are not used: {few(rest)}")
    return Chosen(tuple(chosen), tuple(known), time, group)


def only_series(rows: Rows, names: tuple[str, ...]) -> Rows:
    """Return rows whose series are numbered as in a run; -1 for one that it does not have.

    Args:
        rows: Rows of a table.
        names: Names of the series of the run.
    """
    place = {name: i for i, name in enumerate(names)}
    numbers = np.array([place.get(name, -1) for name in rows.names], np.int64)
    return dataclasses.replace(rows, series=numbers[rows.series])
