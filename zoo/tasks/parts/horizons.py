"""Forecasts of what follows a table, for `zoo.predict`."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.errors import UsageError
from zoo.data.reading import Tally
from zoo.data.series.form import SeriesForm
from zoo.data.series.rows import Rows, of_table
from zoo.data.series.source import chosen_of
from zoo.data.tabular import table as tables


@dataclass(frozen=True)
class Asked:
    """The ends of the series of a table.

    Args:
        x: Past (series, lookback, columns) float32, or a pair of it and the known columns of the future.
        names: Name of each series, empty for a single one.
        times: Times or numbers of the steps that are forecast, for each series.
    """

    x: Any
    names: tuple[str, ...]
    times: tuple[tuple[str, ...], ...]

    def __len__(self) -> int:
        return len(self.names)


def read(text: str, form: SeriesForm) -> Asked:
    """Return the last steps of each series of a table, and the known columns of the steps that follow.

    The future begins after the last row that has a value to forecast; later rows give the known columns of the future.

    Args:
        text: Path of the table.
        form: Form of the run.

    Raises:
        UsageError: A table that cannot be read, with too short a past, or without the future of a known column.
    """
    path = Path(text)
    if not path.is_file():
        raise UsageError(f"TABLE {text}: expected a table of series, found {'a folder' if path.is_dir() else 'none'}")
    tally = Tally()
    table = tables.read(path, tally=tally, columns=form.used)
    rows = of_table(table, chosen_of(form), tally, step=form.step, longest_gap=form.horizon)
    for note in tally.notes:
        print(f"{path}: {note}", file=sys.stderr)
    filled, own = rows.filled(np.array(form.means)), len(form.columns)
    present = np.isfinite(rows.truth[:, :own]).any(axis=1)
    pasts, futures, times = [], [], []
    for number, name in enumerate(rows.names):
        mine = np.flatnonzero(rows.series == number)
        of = f"series {name!r} of " if name else ""
        last = mine[present[mine]]
        if not len(last):
            raise UsageError(f"TABLE {text}: expected values of {form.columns[0]!r}, {of}the table has none")
        end = int(last[-1]) + 1
        past = np.arange(end - form.lookback, end)
        if past[0] < mine[0] or rows.parts[past[0]] != rows.parts[end - 1]:
            have = int((rows.parts[mine[mine < end]] == rows.parts[end - 1]).sum())
            raise UsageError(
                f"TABLE {text}: expected at least the {form.lookback:,} steps that this run forecasts from, received"
                f" {have:,} at the end of {of or 'the '}table"
            )
        pasts.append(filled[past])
        futures.append(_future(text, rows, mine[mine >= end], form))
        times.append(_times(rows, end - 1, form))
    x = np.stack(pasts)
    return Asked((x, np.stack(futures)) if form.known else x, rows.names, tuple(times))


def _future(text: str, rows: Rows, after: np.ndarray, form: SeriesForm) -> np.ndarray:
    """Return the known columns of the steps that are forecast, (horizon, known)."""
    found = rows.truth[after[: form.horizon], len(form.columns) :]
    if form.known and (len(found) < form.horizon or not np.isfinite(found).all()):
        whole = int(np.isfinite(found).all(axis=1).sum())
        raise UsageError(
            f"TABLE {text}: expected {form.horizon:,} rows after the last value of {form.columns[0]!r}, with"
            f" {', '.join(form.known)} and nothing to forecast, received {whole:,}"
        )
    return found


def _times(rows: Rows, last: int, form: SeriesForm) -> tuple[str, ...]:
    """Return the times of the steps after a row."""
    if rows.times is None or rows.step is None:
        return tuple(f"step +{i}" for i in range(1, form.horizon + 1))
    times = [str(time).replace("T", " ") for time in rows.step.following(rows.times[last], form.horizon)]
    whole = all(time.endswith(" 00:00:00") for time in times)
    return tuple(time.removesuffix(" 00:00:00") if whole else time for time in times)


def answers(asked: Asked, forecasts: np.ndarray, form: SeriesForm) -> list[dict[str, Any]]:
    """Return a row for each step of each series: its time, and a value for each column, or for each of its quantiles.

    Args:
        asked: Series that were forecast.
        forecasts: Forecasts (series, horizon, columns), or (series, horizon, columns, quantiles).
        form: Form of the run.
    """
    names = [f"{column} {q:g}" for column in form.columns for q in form.quantiles] or list(form.columns)
    flat = forecasts.reshape(*forecasts.shape[:2], -1)
    return [
        {
            "input": f"{series} {time}".strip(),
            **({"series": series} if series else {}),
            "time": time,
            "names": names,
            "values": [float(value) for value in values],
        }
        for series, times, steps in zip(asked.names, asked.times, flat, strict=True)
        for time, values in zip(times, steps, strict=True)
    ]
