"""Ordered classes: examples of classes whose names are numbers, or whose order is given."""

import dataclasses

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError, few, nearest
from zoo.data.dataset import Dataset, Split
from zoo.data.sources import classes
from zoo.data.tabular.header import NUMBER
from zoo.data.taken import Taken


def load(config: TrainConfig, taken: Taken) -> Dataset:
    """Read examples and their classes, with indices in the order of the classes.

    Args:
        config: Names the data and the order.
        taken: Form and vocabulary that the data take over.

    Raises:
        UsageError: Data that cannot be read, classes without an order, or an order that is not of these classes.
    """
    data = classes.load(config, taken)
    names = data.spec.class_names
    if data.spec.per_step:
        raise UsageError(f"--task ordinal: expected one class for each example, {data.spec.name} has one for each step")
    if taken.like is not None:
        return data
    order = config.class_order
    if order is None:
        if not all(map(NUMBER.fullmatch, names)):
            raise UsageError(
                f"--task ordinal: expected --class-order, the classes from the lowest to the highest, as not all are"
                f" numbers: {few(names)}"
            )
        order = tuple(sorted(names, key=float))
    if sorted(order) != sorted(names):
        strange = next((name for name in order if name not in names), None)
        what = f"{strange!r}{nearest(strange, names)}" if strange else f"{len(order)} of {len(names)}"
        raise UsageError(f"--class-order: expected each of the classes {few(names)} once, received {what}")
    places = np.array([order.index(name) for name in names], np.int32)
    return dataclasses.replace(
        data,
        spec=dataclasses.replace(data.spec, class_names=tuple(order)),
        **{split: _moved(getattr(data, split), places) for split in ("train", "validation", "test")},
    )


def _moved(split: Split, places: np.ndarray) -> Split:
    return dataclasses.replace(split, y=places[split.y])
