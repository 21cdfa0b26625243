"""Data for forecasting: the windows of series, in the order of time, without a leak from one split into another.

The splits are at moments of time, the same for all series: every target of the training split lies before every target
of the validation split, and that before every target of the test split. The past that a forecast is made from may
reach back into the split before, as it would in use.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.dataset import Dataset, DataSpec, Split
from zoo.data.reading import Tally
from zoo.data.series.form import SeriesForm
from zoo.data.series.naive import naive_scales
from zoo.data.series.rows import Chosen, Rows, choose, of_table, only_series
from zoo.data.series.windows import Windows, marks_of
from zoo.data.tabular import table as tables
from zoo.data.taken import Taken

NAMES = ("train", "validation", "test")
# Horizon where steps have no season, and how many horizons and seasons the past has by default.
HORIZON, HORIZONS, SEASONS = 12, 3, 2


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read series, and return their windows.

    Args:
        config: Names the table, its columns and how it is split.
        taken: Form that the series take over, that of a run.

    Returns:
        Data set whose splits have x, windows (examples, lookback, columns) float32, a pair of them and the known
        columns of the future (examples, horizon, known) if there are any; and y, (examples, horizon, columns), NaN
        where a value is missing.

    Raises:
        UsageError: A table without the columns, or with too few rows for the lookback and the horizon.
    """
    like, tally = taken.like, taken.tally
    rows, form = read(config, like.series if like else None, tally)
    tally.unit = "windows"
    cuts = _cuts(config, rows, tally)
    form = form if like else _measured(config, form, rows, cuts)
    splits = _splits(config, rows, form, cuts, tally)
    shape = (form.lookback, len(form.columns) + len(form.known))
    spec = DataSpec(config.data_name, "series", shape, (), task="forecasting", series=form)
    return Dataset(spec, *splits)


def read(config: TrainConfig, form: SeriesForm | None, tally: Tally) -> tuple[Rows, SeriesForm]:
    """Return the rows of a table, and their form, whose means and scales are not measured yet if none is given."""
    table = tables.read(config.data, skip_bad=config.skip_bad, tally=tally)
    if form is not None:
        return of_run(table, form, tally, skip_bad=config.skip_bad), form
    for name in ("time_column", "group_column"):
        if (value := getattr(config, name)) is not None:
            tables.header.refuse_absent(config.data, table.names, [value], f"--{name.replace('_', '-')}")
    listed = {name: _listed(config, table, name) for name in ("columns", "known_columns")}
    chosen = choose(
        config.data, table, columns=listed["columns"], known=listed["known_columns"], time=config.time_column,
        group=config.group_column, tally=tally,
    )  # fmt: skip
    longest = config.horizon or HORIZON
    rows = of_table(table, chosen, tally, longest_gap=longest, skip_bad=config.skip_bad)
    season = config.season or (rows.step.season if rows.step else 1)
    horizon = config.horizon or (season if season > 1 else HORIZON)
    lookback = config.lookback or max(HORIZONS * horizon, SEASONS * season)
    if config.horizon is None or config.lookback is None:
        tally.notes.append(f"forecasts of {horizon:,} steps are made from {lookback:,} (--horizon, --lookback)")
    if season > lookback:
        tally.notes.append(
            f"the season of {season:,} steps is longer than the lookback of {lookback:,}: the naive forecast repeats"
            " the last value instead"
        )
        season = 1
    form = SeriesForm(
        chosen.columns, chosen.known, lookback, horizon, tuple(config.quantiles or ()), season, (), (), rows.step,
        chosen.time, chosen.group, rows.names if chosen.group else (),
    )  # fmt: skip
    return rows, form


def of_run(table: Any, form: SeriesForm, tally: Tally, *, skip_bad: bool = False) -> Rows:
    """Return the rows of a table in the form of a run.

    Raises:
        UsageError: The table lacks a column of the run.
    """
    tables.header.refuse_absent(table.path, table.names, form.used)
    rows = of_table(table, chosen_of(form), tally, step=form.step, longest_gap=form.horizon, skip_bad=skip_bad)
    if not form.names:
        return rows
    if other := [name for name in rows.names if name not in form.names]:
        tally.notes.append(f"{len(other):,} series that training did not have, such as {other[0]}: they have no MASE")
    return only_series(rows, form.names)


def chosen_of(form: SeriesForm) -> Chosen:
    """Return what the columns of a table are, by the form of a run."""
    return Chosen(form.columns, form.known, form.time_column, form.group_column)


def _listed(config: TrainConfig, table: Any, name: str) -> tuple[str, ...] | None:
    """Return the columns that an option names, which may be patterns."""
    given = getattr(config, name)
    return given and tuple(tables.header.matching(config.data, given, f"--{name.replace('_', '-')}"))


def _cuts(config: TrainConfig, rows: Rows, tally: Tally) -> tuple[int, int, int]:
    """Return the positions at which validation, test and what is left out begin."""
    steps = np.unique(rows.positions)
    if config.split_rows is not None:
        numbers = np.cumsum(config.split_rows)
        if numbers[-1] > len(steps):
            raise UsageError(
                f"--split-rows {','.join(map(str, config.split_rows))}: expected at most the {len(steps):,} steps of"
                f" {config.data_name}, received {numbers[-1]:,}"
            )
        if left := len(steps) - int(numbers[-1]):
            tally.notes.append(f"{left:,} steps after those of --split-rows are not used")
        for name, count in zip(NAMES, config.split_rows, strict=True):
            tally.made[name] = f"{count:,} steps"
        counts = [int(number) for number in numbers]
    else:
        test = round(len(steps) * config.test_split)
        validation = round((len(steps) - test) * config.validation_split)
        counts = [len(steps) - test - validation, len(steps) - test, len(steps)]
        said = {"validation": (validation, f"{validation:,} steps"), "test": (test, f"the last {test:,} steps")}
        tally.made.update({name: words for name, (count, words) in said.items() if count})
    ends = [*steps, steps[-1] + 1]
    return tuple(int(ends[count]) for count in counts)


def _measured(config: TrainConfig, form: SeriesForm, rows: Rows, cuts: Sequence[int]) -> SeriesForm:
    """Return a form with means, deviations and scales of the training part."""
    own = rows.positions < cuts[0]
    values = rows.truth[own].astype(np.float64)
    columns = (*form.columns, *form.known)
    if empty := [name for name, column in zip(columns, values.T, strict=True) if not np.isfinite(column).any()]:
        raise UsageError(f"{config.data_name}: expected values of {empty[0]!r} in the training part, received none")
    means, deviations = np.nanmean(values, axis=0), np.nanstd(values, axis=0)
    deviations = np.where(deviations > 1e-9 * np.maximum(1, np.abs(means)), deviations, 1.0)
    scales = np.zeros((max(1, len(form.names)), 2, len(form.columns)))
    truth = rows.truth[:, : len(form.columns)]
    for part in np.unique(rows.parts[own]):
        inside = own & (rows.parts == part)
        scales[rows.series[inside][0]] += naive_scales(truth[inside], form.season)
    found = scales[:, 0] / np.maximum(scales[:, 1], 1)
    return dataclasses.replace(
        form, means=tuple(means.tolist()), deviations=tuple(deviations.tolist()),
        scales=tuple(tuple(row) for row in found.tolist()),
    )  # fmt: skip


def _splits(
    config: TrainConfig, rows: Rows, form: SeriesForm, cuts: Sequence[int], tally: Tally
) -> tuple[Split, Split, Split]:
    """Return the windows of each split."""
    filled, own = rows.filled(np.array(form.means)), len(form.columns)
    length = form.lookback + form.horizon
    starts = rows.starts(length)
    first, last = rows.positions[starts + form.lookback], rows.positions[starts + length - 1]
    begins, found, used = (-1 << 62, cuts[0], cuts[1]), [], 0
    truth = rows.truth[:, :own]
    for begin, end in zip(begins, cuts, strict=True):
        chosen = starts[(first >= begin) & (last < end)]
        used += len(chosen)
        history = Windows(filled, chosen, form.lookback, source=rows)
        future = Windows(filled[:, own:], chosen, form.horizon, form.lookback) if form.known else None
        y = Windows(truth, chosen, form.horizon, form.lookback)
        x = (history, future) if form.known else history
        found.append(Split(x, y, marks_of(rows.truth, chosen)))
    tally.left_out["whose targets are in two splits, or in none"] += len(starts) - used
    _check_sizes(config, rows, form, cuts, found)
    return tuple(found)


def _check_sizes(
    config: TrainConfig, rows: Rows, form: SeriesForm, cuts: Sequence[int], found: Sequence[Split]
) -> None:
    """Raise UsageError if the training part has no window, or a part that was asked for is too short for one."""
    steps = np.unique(rows.positions)
    counts = [int(((steps >= low) & (steps < high)).sum()) for low, high in zip((steps[0], *cuts), cuts, strict=False)]
    if not len(found[0]) and cuts[0] > steps[0]:
        raise UsageError(
            f"--horizon {form.horizon} --lookback {form.lookback}: expected {form.lookback + form.horizon:,} steps"
            f" without a long gap in the training part, received {counts[0]:,} of {len(steps):,} in all; choose"
            " smaller ones"
        )
    for name, split, count in zip(NAMES[1:], found[1:], counts[1:], strict=True):
        if count and not len(split):
            raise UsageError(
                f"--{name}-split: expected at least the {form.horizon:,} steps of --horizon in the {name} part,"
                f" received {count:,}; give it more, or choose a smaller --horizon"
            )
