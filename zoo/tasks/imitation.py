"""Imitation: a small generator learns to draw what another draws of the same codes (Aguinaldo et al., 2019).

No set is for it: compression makes the examples, codes and images, of a trained generator.
"""

from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals
from zoo.data import Dataset, DataSpec
from zoo.data.batches.steps import StepBatches, for_engine
from zoo.reports.page import Page
from zoo.runs.folder import RunFolder
from zoo.tasks.base import callbacks, gathered, measured_with, remarks

__all__ = ["callbacks", "gathered", "measured_with", "remarks"]

USED_BY = ("compression.compress",)
BATCH = 500  # images that are drawn at once
# Images without a difference have an infinite ratio, which is no number of a JSON file.
HIGHEST = 100.0


def arguments(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the constructor arguments of a model of the zoo, as they are."""
    return dict(config.settings)


def build_shape(spec: DataSpec) -> tuple[int | None, ...]:
    """Return what a generator is built for: codes."""
    return (None, *spec.input_shape)


def compiled_with(config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
    """Return the loss: the mean squared difference of pixels."""
    return {"loss": keras.losses.MeanSquaredError()}


def training_batches(config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
    """Return the global steps from `start` to before `stop`."""
    train = data.train

    def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return train.x[chosen], train.y[chosen]

    return for_engine(StepBatches(make, len(train), batch_size=batch_size, seed=config.seed, start=start, stop=stop))


def validation_batches(data: Dataset, stride: int) -> None:
    """Return none: the last epoch is kept."""


def rank(row: dict[str, Any]) -> tuple[float, ...]:
    """Return what epochs are compared by: the loss."""
    return (-row["loss"],)


def measure(model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return how near a split's images are to the original's, and nothing else to show."""
    examples = data.split(split)
    drawn = model.predict(examples.x, batch_size=BATCH, verbose=0)
    return {"psnr": psnr(np.asarray(drawn, np.float32), examples.y), "examples": len(examples)}, {}


def psnr(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of pixels in [0, 1], in dB: -10 log10 of the mean squared difference."""
    mean = np.square(mine.astype(np.float64) - theirs).mean()
    return float(min(-10 * np.log10(max(mean, np.finfo(np.float64).tiny)), HIGHEST))


def save(run: RunFolder, data: Dataset, shown: dict[str, Any]) -> None:
    """Write nothing: the scores are all there is."""


def page(data: Dataset, found: dict[str, Any], shown: dict[str, Any]) -> Page:
    """Return what a report shows."""
    tiles = [(f"{found['psnr']:.2f} dB", f"to the original's images ({found['examples']:,} codes)")]
    return Page("imitation of a generator", tiles, [], (("Loss", "loss"),))


def headline(test: dict[str, Any], within: Intervals) -> str:
    """Return the scores that matter in one line."""
    return f"{test['psnr']:.2f} dB to the original's images, {test['examples']:,} codes"
