"""Several labels: examples to each of which any number of labels applies."""

from collections.abc import Sequence

import numpy as np

from zoo.config.task_facts import ARRAYS
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few
from zoo.data.casts import check_class_names
from zoo.data.dataset import Dataset
from zoo.data.reading import Tally
from zoo.data.tabular import header, targets
from zoo.data.tabular.table import Table
from zoo.data.taken import Taken


def check(config: TrainConfig) -> None:
    """Raise UsageError unless the data have the columns that the options name; the table is not read."""
    if config.data is None:
        raise UsageError("--task multilabel: expected --data, a table with columns of labels or arrays, received none")
    header.check_groups(config)
    if config.data.suffix.lower() == ARRAYS:
        if config.label_columns is not None:
            raise UsageError(f"--label-columns: expected with a table, {config.data} has arrays x and y")
        return
    if config.label_columns is None:
        raise UsageError(
            "--task multilabel: expected --label-columns, names or patterns of columns with 0 and 1; the columns of"
            f" {config.data.name} are {few(header.columns_of(config.data))}"
        )
    names = header.matching(config.data, config.label_columns, "--label-columns")
    if len(names) < 2:
        raise UsageError(f"--label-columns: expected two columns or more, received {names[0]!r} alone")
    header.check_used(config, names, "label_columns")


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read examples and their labels.

    Args:
        config: Names the data, the labels and how examples are split.
        taken: Form and vocabulary that the data take over.

    Raises:
        UsageError: Data that cannot be read, or labels other than 0 and 1.
    """
    like = taken.like
    if like is not None:
        names: Sequence[str] = like.class_names
    else:
        names = header.matching(config.data, config.label_columns, "--label-columns") if config.label_columns else ()
    found = targets.examples(config, taken, names, _values)
    for split, examples in found.splits.items():
        _check(f"{config.data}, {split} split", examples.y, found.names)
    if like is None:
        counts = found.splits["train"].y.sum(0)
        for name, count in zip(found.names, counts, strict=True):
            if not 0 < count < len(found.splits["train"]):
                what = "none" if not count else "all"
                taken.tally.notes.append(f"{what} of the training examples have the label {name!r}")
    check_class_names(config.data_name, found.names)
    return found.data(taken, name=config.data_name, class_names=found.names, task="multilabel")


def _values(table: Table, names: Sequence[str], tally: Tally) -> np.ndarray:
    """Return columns of 0 and 1, or of true and false, (rows, names) float32."""
    return np.stack([table.numbers(name) for name in names], axis=1).astype(np.float32)


def _check(where: str, y: np.ndarray, names: Sequence[str]) -> None:
    bad = ~np.isin(y, (0, 1))
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise UsageError(
            f"{where}: expected 0 or 1 in {names[column]!r}, received {y[row, column]:g} in example {row:,}"
        )
    if y.shape[1] < 2:
        raise UsageError(f"{where}: expected two labels or more, received the shape {y.shape}")
