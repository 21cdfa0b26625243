"""What a task has nothing more to say of than most."""

from typing import Any

import keras

from zoo.config.train_config import TrainConfig
from zoo.data import Dataset
from zoo.data.batches.pipeline import Gathered
from zoo.runs.folder import RunFolder


def callbacks(config: TrainConfig, run: RunFolder, data: Dataset) -> list[keras.callbacks.Callback]:
    """Return none: `fit` measures all there is."""
    return []


def gathered(config: TrainConfig, data: Dataset, batch_size: int) -> Gathered | None:
    """Return None: batches are handed over."""
    return None


def measured_with(config: TrainConfig) -> dict[str, Any]:
    """Return nothing: the data and the model are all that `measure` takes."""
    return {}


def remarks(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return nothing: the scores say it all."""
    return {}
