"""Recordings: stretches of evenly spaced samples without gaps, read from tables and arrays.

A file holds one recording or several. A new one begins where the group changes, where time has a gap or goes back and,
for classes, where the label changes.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data import npz
from zoo.data.casts import check_apart
from zoo.data.reading import Tally
from zoo.data.series.times import clock_of
from zoo.data.sources.folders import SPLITS, class_name
from zoo.data.tabular import header
from zoo.data.tabular.table import Table, read
from zoo.system.files import is_hidden

ARRAYS = ".npz"
# Longest run of missing values that is filled by a straight line, in samples.
FILLED = 3
# Step of time, in steps of the recording, from which there is a gap; and largest difference of two rates.
GAP, SAME_RATE = 1.5, 0.02
# Units of time in seconds, and the words in the name of a column that mean them.
UNITS = {
    "seconds": (1, ("s", "sec", "secs", "second", "seconds")),
    "milliseconds": (1e-3, ("ms", "msec", "msecs", "millis", "millisecond", "milliseconds")),
    "microseconds": (1e-6, ("us", "usec", "usecs", "micros", "microsecond", "microseconds")),
    "nanoseconds": (1e-9, ("ns", "nsec", "nsecs", "nanos", "nanosecond", "nanoseconds")),
}
# Numbers from which times are counted from 1970 in smaller units: in seconds, these are years after 5138.
SINCE_1970 = {"nanoseconds": 1e17, "microseconds": 1e14, "milliseconds": 1e11}


@dataclass(frozen=True)
class Recording:
    """Samples at even distances.

    Args:
        name: File, and where it begins in it.
        values: Samples, (time, columns) float32; NaN where values are missing.
        labels: Label of each sample, (time,) objects of texts, "" where there is none; None without labels.
        group: Group that stays in one split; empty without groups.
        split: Split that the folders name, "all" if they name none.
        source: Number of its file.
        begin: Row of the file that it begins with.
    """

    name: str
    values: np.ndarray
    labels: np.ndarray | None
    group: str
    split: str
    source: int
    begin: int

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Read:
    """What was read.

    Args:
        recordings: Recordings in the order of the files.
        columns: Names of the columns of their values.
        rate: Samples in a second, if the time says it; otherwise 0.
        breaks: Notes on where the time ends recordings.
    """

    recordings: list[Recording]
    columns: tuple[str, ...]
    rate: float
    breaks: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Choice:
    """Columns of the tables, and what they mean."""

    columns: tuple[str, ...]
    label: str | None
    group: str | None
    time: str | None


@dataclass
class _Counts:
    """What is told of all files together."""

    gaps: int = 0
    longest_gap: float = 0.0
    back: int = 0
    repeated: int = 0
    filled: int = 0
    others: int = 0


def is_readable(path: Path) -> bool:
    """Return whether a path names a table or arrays."""
    return header.is_table(path) or path.suffix.lower() == ARRAYS


def read_all(config: TrainConfig, path: Path, tally: Tally, by_label: bool = True) -> Read:
    """Read the recordings of a file or a folder.

    Args:
        config: Names the columns and the rate, and whether bad lines are left out.
        path: A table or an .npz file; or a folder of them, by class, by split, or neither.
        tally: Takes what was left out and changed.
        by_label: Whether a new recording begins where the label changes.

    Raises:
        UsageError: Files that cannot be read, or lack a column. The message names the file.
    """
    files = _files(path, tally)
    tables, notes = [], Counter()
    for file, _, _ in files:
        own = Tally()
        tables.append(
            _of_npz(file) if file.suffix.lower() == ARRAYS else read(file, skip_bad=config.skip_bad, tally=own)
        )
        tally.left_out.update(own.left_out)
        notes.update(note.replace(file.name, "the table") if len(files) > 1 else note for note in own.notes)
    choice = _chosen(config, tables, any(label for _, label, _ in files), tally)
    used = (*choice.columns, choice.label, choice.group, choice.time)
    tally.notes += [f"{note}{f' (in {count:,} files)' if count > 1 else ''}" for note, count in notes.items()
                    if "column" not in note or any(repr(name) in note for name in used if name)]  # fmt: skip
    unit = _unit(tables, choice.time)
    times = [_times(table, choice.time, unit) for table in tables]
    steps = [_step(seconds) for seconds in times]
    wanted = _common_step(config, steps)
    counts, found = _Counts(), []
    for number, ((file, label, split), table, seconds, step) in enumerate(
        zip(files, tables, times, steps, strict=True)
    ):
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        found += _cut(name, number, table, choice, (label, split), (seconds, step, wanted), by_label, counts)
    breaks = _tell(counts, wanted, choice.time, unit, tally)
    return Read(found, choice.columns, 1 / wanted if wanted else 0.0, breaks)


def _files(path: Path, tally: Tally) -> list[tuple[Path, str, str]]:
    """Return the files to read, the class that their folder names, and their split."""
    if not path.is_dir():
        if not is_readable(path):
            raise UsageError(f"{path}: expected recordings in a table that ends in {header.ENDINGS}, or in {ARRAYS}")
        return [(path, "", "all")]
    found, others = [], 0
    folders = [part for part in sorted(path.iterdir()) if part.is_dir() and not is_hidden(part.name)]
    named = {part: SPLITS.get(part.name.lower()) for part in folders}
    splits = {part: split for part, split in named.items() if split} if "train" in named.values() else {}
    if splits and len(splits) < len(folders):
        strange = next(part for part in folders if part not in splits)
        raise UsageError(f"{strange}: expected a folder of a split beside train, such as validation or test")
    for root, split in splits.items() or [(path, "all")]:
        for file in sorted(part for part in root.rglob("*") if part.is_file()):
            inside = file.relative_to(root).parts
            if any(is_hidden(part) for part in inside):
                continue
            if not is_readable(file):
                others += 1
                continue
            found.append((file, class_name(root / inside[0]) if len(inside) > 1 else "", split))
    tally.left_out["that are no tables or arrays"] += others
    if not found:
        raise UsageError(
            f"{path}: expected recordings in files that end in {header.ENDINGS}, or in {ARRAYS}, found none"
        )
    return found


def _of_npz(path: Path) -> Table:
    """Return the arrays of an .npz file as a table: each of one axis is a column, those of two have several."""
    _, names = npz.read(path, ())
    arrays, _ = npz.read(path, names)
    found: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.ndim == 3:
            raise UsageError(
                f"{path}: {name}: expected samples (time,) or (time, columns), received windows of shape {array.shape};"
                " leave --window out for windows that are ready"
            )
        if array.ndim not in (1, 2):
            raise UsageError(f"{path}: {name}: expected samples (time,) or (time, columns), received {array.shape}")
        columns = {name: array} if array.ndim == 1 else {f"{name}{i}": array[:, i] for i in range(array.shape[1])}
        found |= {key: _typed(values) for key, values in columns.items()}
    lengths = {name: len(values) for name, values in found.items()}
    if len(set(lengths.values())) != 1:
        listed = few([f"{name} ({length:,})" for name, length in lengths.items()]) or "none"
        raise UsageError(f"{path}: expected arrays of as many samples, received {listed}")
    return Table(path, found, np.arange(1, 1 + next(iter(lengths.values()))))


def _typed(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "U":
        texts = np.empty(len(values), object)
        texts[:] = values.tolist()
        return texts
    found = values.astype(np.float64)
    return np.where(np.isfinite(found), found, np.nan)


def _chosen(config: TrainConfig, tables: Sequence[Table], by_folder: bool, tally: Tally) -> _Choice:
    """Return the columns that are read, which every file must have."""
    first = tables[0]
    label, group, time = config.label_column, config.group_column, config.time_column
    for name, option in ((label, "--label-column"), (group, "--group-column"), (time, "--time-column")):
        if name is not None:
            header.refuse_absent(first.path, first.names, [name], option)
    if label is None and not by_folder and "label" in first.names:
        label = "label"
    if time is None:
        dates = [name for name in first.names if first.kind(name) == "times"]
        time = dates[0] if len(dates) == 1 else None
        if time is not None:
            tally.notes.append(f"column {time!r} is taken for the time")
    meant = {label, group, time}
    given = tuple(config.columns or ())
    if given:
        header.refuse_absent(first.path, first.names, given, "--columns")
        if twice := [name for name in given if name in meant]:
            raise UsageError(f"--columns: {twice[0]!r} is the column of the label, the group or the time as well")
    else:
        given = tuple(name for name in first.names if first.kind(name) == "numbers" and name not in meant)
        if not given:
            raise UsageError(f"--columns: expected columns of numbers in {first.path}, its columns are {first.told()}")
        if clock := clock_of(first, given):
            raise UsageError(
                f"{first.path}: column {clock!r} is called a time and runs one way: expected it as --time-column"
                f" {clock}, or the sensors as --columns, such as {few([name for name in given if name != clock])}"
            )
        tally.notes.append(f"the sensors are the columns {', '.join(given)}")
    for table in tables[1:]:
        header.refuse_absent(table.path, table.names, [name for name in (*given, label, group, time) if name])
    return _Choice(given, label, group, time)


def _unit(tables: Sequence[Table], column: str | None) -> str:
    """Return the unit of a column of numbers that are times, by its name or its size; "" for dates and without one.

    Raises:
        UsageError: A row without its time, or dates in one table and numbers in another.
    """
    if column is None:
        return ""
    dates = [table.kind(column) == "times" for table in tables]
    for table, has_dates in zip(tables, dates, strict=True):
        if (absent := table.missing(column)).any():
            raise UsageError(
                f"{table.path}, line {table.lines[int(absent.argmax())]}: expected a time in every row, column"
                f" {column!r} lacks {int(absent.sum()):,} of {len(table):,}"
            )
        if has_dates != dates[0]:
            kinds = ("dates", "numbers") if dates[0] else ("numbers", "dates")
            raise UsageError(
                f"{table.path}, column {column!r}: expected {kinds[0]} as in {tables[0].path}, received {kinds[1]}"
            )
    if dates[0]:
        return ""
    words = re.findall("[a-z]+", re.sub("(?<=[a-z])(?=[A-Z])", " ", column).lower())
    named = [unit for unit, (_, meant) in UNITS.items() if set(words) & set(meant)]
    if len(named) == 1:
        return named[0]
    least = min((_ticks(table, column).min() for table in tables if len(table)), default=0)
    return next((unit for unit, size in SINCE_1970.items() if least >= size), "seconds")


def _times(table: Table, column: str | None, unit: str) -> np.ndarray | None:
    """Return the time of each row in seconds, None without a column of it."""
    if column is None:
        return None
    if not unit:
        return table.times(column).astype("datetime64[us]").astype(np.int64) / 1e6
    ticks = _ticks(table, column)
    return (ticks - ticks[:1]) * UNITS[unit][0]


def _ticks(table: Table, column: str) -> np.ndarray:
    """Return a column of numbers; nanoseconds since 1970, which float64 does not hold, as int64."""
    texts = table.texts(column) if table.kind(column) == "texts" else ()
    if len(texts) and all(text.isdigit() and int(text) < 2**63 for text in texts):
        return np.array([int(text) for text in texts], np.int64)
    return table.numbers(column)


def _step(seconds: np.ndarray | None) -> float:
    """Return the usual distance of two samples, 0 if it is not known."""
    if seconds is None:
        return 0.0
    steps = np.diff(seconds)
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 0.0


def _common_step(config: TrainConfig, steps: Sequence[float]) -> float:
    """Return the distance of samples that all recordings are brought to, 0 if time is not known."""
    known = [step for step in steps if step]
    if config.rate:
        return 1 / config.rate
    if not known:
        return 0.0
    (usual, _), *_ = Counter(float(f"{step:.2g}") for step in known).most_common()
    return next(step for step in known if float(f"{step:.2g}") == usual)


def _cut(
    name: str,
    number: int,
    table: Table,
    choice: _Choice,
    folder: tuple[str, str],
    time: tuple[np.ndarray | None, float, float],
    by_label: bool,
    counts: _Counts,
) -> list[Recording]:
    """Return the recordings of a file.

    Args:
        name: Name of the file, for messages.
        number: Number of the file.
        table: Its content.
        choice: Columns and their meaning.
        folder: Class and split that its folder names.
        time: Time of each row, its usual distance in this file, and the distance to bring it to.
        by_label: Whether a new recording begins where the label changes.
        counts: Takes what is told.
    """
    seconds, step, wanted = time
    numbers = {column: table.numbers(column) for column in choice.columns}
    for column, own in numbers.items():
        check_apart(f"{table.path}, column {column!r}", own[np.isfinite(own)])
    values = np.stack(list(numbers.values()), axis=1).astype(np.float32)
    labels = table.texts(choice.label) if choice.label else None
    if labels is None and folder[0]:
        labels = np.full(len(table), folder[0], object)
    groups = table.texts(choice.group) if choice.group else None
    if seconds is not None:  # rows that repeat a time are left out
        kept = np.append(True, (np.diff(seconds) != 0) | _changed(groups, len(seconds)))
        counts.repeated += int((~kept).sum())
        seconds, values = seconds[kept], values[kept]
        labels, groups = (None if texts is None else texts[kept] for texts in (labels, groups))
    begins = _changed(groups, len(values))
    if by_label:
        begins = begins | _changed(labels, len(values))
    if seconds is not None:
        steps = np.diff(seconds)
        back, gap = (steps < 0) & ~begins, (steps > GAP * step) & ~begins
        counts.back += int(back.sum())
        counts.gaps += int(gap.sum())
        counts.longest_gap = max(counts.longest_gap, float(steps[gap].max(initial=0)))
        begins = begins | back | gap
    edges = [0, *(np.flatnonzero(begins) + 1).tolist(), len(values)]
    other = bool(wanted and step and abs(step / wanted - 1) > SAME_RATE)
    found = []
    for start, stop in zip(edges[:-1], edges[1:], strict=True):
        part, own = values[start:stop], None if labels is None else labels[start:stop]
        if other:
            part, own = _resampled(part, own, seconds[start:stop], wanted, step)
        part = _filled(part, counts)
        group = str(groups[start]) if groups is not None else ""
        found.append(Recording(f"{name}[{start}]", part, own, group, folder[1], number, start))
    counts.others += len(found) if other else 0
    return found


def _changed(values: np.ndarray | None, count: int = 0) -> np.ndarray:
    """Return whether each value differs from the one before it, (count - 1,)."""
    return np.zeros(max(count - 1, 0), bool) if values is None else values[1:] != values[:-1]


def _resampled(
    values: np.ndarray, labels: np.ndarray | None, seconds: np.ndarray, wanted: float, step: float
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return samples at another rate: on straight lines between those that there are, means of them if it is lower."""
    count = max(1, int(np.floor((seconds[-1] - seconds[0]) / wanted + 1e-6)) + 1)
    times = seconds[0] + wanted * np.arange(count)
    width = max(1, round(wanted / step))
    if width > 1:  # without the mean, what is faster than the new rate would appear as something slower
        kernel, ones = np.ones(width), np.convolve(np.ones(len(values)), np.ones(width), "same")
        values = np.stack([np.convolve(column, kernel, "same") / ones for column in values.T], axis=1)
    moved = np.stack([np.interp(times, seconds, column) for column in values.T], axis=1).astype(np.float32)
    nearest = np.clip(np.rint(np.interp(times, seconds, np.arange(len(seconds)))).astype(int), 0, len(seconds) - 1)
    return moved, None if labels is None else labels[nearest]


def _filled(values: np.ndarray, counts: _Counts) -> np.ndarray:
    """Return samples with short runs of missing values filled by straight lines."""
    missing = np.isnan(values)
    if not missing.any():
        return values
    values = values.copy()
    for column, absent in zip(values.T, missing.T, strict=True):
        if not absent.any() or absent.all():
            continue
        edges = np.diff(np.concatenate([[0], absent, [0]]).astype(int))
        places = np.flatnonzero(~absent)
        for start, stop in zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True):
            if stop - start <= FILLED and start > 0 and stop < len(column):
                column[start:stop] = np.interp(np.arange(start, stop), places, column[places])
                counts.filled += int(stop - start)
    return values


def _tell(counts: _Counts, wanted: float, column: str | None, unit: str, tally: Tally) -> tuple[str, ...]:
    """Add to the tally what was found in all files together, and return the notes on where recordings end."""
    ends = {
        f"gaps in time {column!r}, the longest of {counts.longest_gap:g} s; no window is across one": counts.gaps,
        f"times {column!r} that go back; a new recording begins there": counts.back,
    }
    breaks = tuple(f"{count:,} {what}" for what, count in ends.items() if count)
    tally.notes += breaks
    if counts.repeated:
        tally.notes.append(
            f"{counts.repeated:,} rows that repeat the time {column!r} of the row before, which are left out"
        )
    tally.changed[f"recordings at other rates brought to steps of {wanted:g} s"] += counts.others
    tally.changed[f"missing values in runs of up to {FILLED} filled by straight lines"] += counts.filled
    if unit:
        rate = f"{1 / wanted:,.6g} samples in a second" if wanted else "a single sample"
        tally.notes.append(f"times {column!r} are taken for {unit}: {rate}")
    if column is None:
        rate = f"{1 / wanted:g} evenly spaced samples in a second" if wanted else "evenly spaced samples"
        tally.notes.append(f"rows are taken for {rate} (--time-column names a column of time)")
    return breaks
