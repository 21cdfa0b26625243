"""Batches whose targets are their inputs, for models that reconstruct what they are given."""

import dataclasses
from typing import Any

import keras
import numpy as np

from zoo.data.batches.pipeline import Gathered, on_tensorflow


class Reconstructed(keras.utils.PyDataset):
    """Batches in numpy with their inputs as targets; weights stay.

    Args:
        batches: Batches (x, y) or (x, y, weight).
    """

    def __init__(self, batches: keras.utils.PyDataset):
        super().__init__()
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return _inputs_twice(*self.batches[index])


def reconstructed(batches: Any) -> Any:
    """Return batches of `zoo.data.batches.pipeline` with their inputs as targets."""
    return batches.map(_inputs_twice) if on_tensorflow() else Reconstructed(batches)


def reconstructed_in_step(gathered: Gathered | None) -> Gathered | None:
    """Return batches that a step gathers by itself with their inputs as targets; None stays None."""
    if gathered is None:
        return None
    take = gathered.take
    return dataclasses.replace(gathered, take=lambda index: _inputs_twice(*take(index)))


def _inputs_twice(x: Any, y: Any, *weights: Any) -> tuple[Any, ...]:
    return (x, x, *weights)
