"""Windows of new recordings, in the form of a run on windows of sensors."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import DataSpec
from zoo.data.reading import Tally
from zoo.data.sensors import recordings, windows
from zoo.data.tabular import header


def is_recording(text: str, spec: DataSpec) -> bool:
    """Return whether an input of a run is a table of samples, from which windows are cut."""
    return spec.hop > 0 and header.is_table(Path(text))


def of_file(path: Path, spec: DataSpec, config: TrainConfig) -> tuple[list[str], np.ndarray]:
    """Return the names of the windows of a file, with their group and their rows, and the windows themselves.

    What is left out and assumed is told on standard error. Labels are not read.

    Args:
        path: Table of samples.
        spec: Form of the run's data.
        config: Configuration of the run, which names the column of time and the groups.

    Returns:
        Names, such as "new.csv who=s1[0:100]", and windows (windows, time, columns).

    Raises:
        UsageError: A table that cannot be read, lacks a column, or is shorter than a window.
    """
    known = header.columns_of(path)
    group = config.group_column if config.group_column in known else None
    given = dataclasses.replace(
        config, data=path, columns=spec.columns, label_column=None, group_column=group, rate=spec.rate or config.rate
    )
    tally = Tally()
    read = recordings.read_all(given, path, tally, by_label=False)
    source = windows.cut(read, spec.input_shape[0], spec.hop, tally)
    good = np.flatnonzero(~source.incomplete())
    if not len(good):
        raise UsageError(
            f"INPUT {path}: expected {spec.input_shape[0]} samples in a row or more without missing values, received"
            " fewer"
        )
    lost = len(source) - len(good)
    told = [f"{count:,} {what}" for what, count in tally.changed.items() if count]
    told += [f"{lost:,} windows with missing values left out"] * bool(lost)
    told += [note for note in tally.notes if "label" not in note]
    if told:
        print(f"INPUT {path}: {'; '.join(told)}", file=sys.stderr)
    begins = np.array([recording.begin for recording in read.recordings]) - source.begins[:-1]
    first, where = source.starts[good] + begins[source.where[good]], source.where[good]
    owners = [f"{path} {group}={recording.group}" if group else str(path) for recording in read.recordings]
    names = [f"{owners[i]}[{start}:{start + source.length}]" for i, start in zip(where, first.tolist(), strict=True)]
    return names, source.gathered(good)


def recordings_of(names: Sequence[str]) -> list[str]:
    """Return file and group of each window by the names that `of_file` gave them, and other inputs unchanged."""
    return [name.rpartition("[")[0] or name for name in names]
