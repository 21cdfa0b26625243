"""Regression: examples with one or more numbers each."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from zoo.config.task_facts import ARRAYS
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data.casts import as_float32, check_apart
from zoo.data.dataset import Dataset
from zoo.data.reading import Tally
from zoo.data.tabular import header, targets
from zoo.data.tabular.table import Table
from zoo.data.taken import Taken


def check(config: TrainConfig) -> None:
    """Raise UsageError unless the data have the columns that the options name; the table is not read."""
    if config.data is None:
        raise UsageError(
            "--task regression: expected --data, a table with a column of numbers or arrays, received none"
        )
    header.check_groups(config)
    if config.data.suffix.lower() == ARRAYS:
        if config.target_column is not None:
            raise UsageError(f"--target-column: expected with a table, {config.data} has arrays x and y")
        return
    if config.target_column is None:
        raise UsageError(
            f"--task regression: expected --target-column, the column to predict; the columns of {config.data.name} are"
            f" {few(header.columns_of(config.data))}"
        )
    header.check_used(config, config.target_column, "target_column")


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read examples and their numbers.

    Args:
        config: Names the data, the targets and how examples are split.
        taken: Form and vocabulary that the data take over.

    Raises:
        UsageError: Data that cannot be read, or targets that are no numbers or all the same.
    """
    like = taken.like
    names = like.targets if like else config.target_column or ()
    found = targets.examples(config, taken, names, partial(_values, trained=like is None))
    y = found.splits["train"].y.astype(np.float64)
    if like is None and (y.max(0) == y.min(0)).any():
        same = found.names[int((y.max(0) == y.min(0)).argmax())]
        raise UsageError(f"{config.data}: expected a target of different numbers, {same!r} is {y[0].max():g} in all")
    return found.data(
        taken,
        name=config.data_name,
        class_names=(),
        task="regression",
        targets=found.names,
        means=tuple(float(mean) for mean in y.mean(0)),
        deviations=tuple(float(deviation) for deviation in y.std(0)),
        quantiles=tuple(config.quantiles or ()),
    )


def _values(table: Table, names: Sequence[str], tally: Tally, trained: bool) -> np.ndarray:
    """Return columns of numbers, (rows, names) float32.

    Raises:
        UsageError: Numbers that float32 does not hold, or does not tell apart.
    """
    found = []
    for name in names:
        where, values = f"{table.path}, column {name!r}", table.numbers(name)
        found.append(as_float32(where, values))
        if trained:
            check_apart(where, values)
    return np.stack(found, axis=1)
