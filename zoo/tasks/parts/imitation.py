"""Imitation: a small generator learns to draw the images of another from the same codes (Aguinaldo et al., 2019).

Compression makes the examples, codes and images, from a trained generator.
"""

from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.figures import Intervals
from zoo.data import Dataset, DataSpec
from zoo.data.batches.steps import StepBatches, for_engine
from zoo.reports.page import Page
from zoo.tasks import base
from zoo.tasks.base import Task

BATCH = 500  # images that are drawn at once
# Equal images have an infinite ratio, which JSON cannot represent.
HIGHEST = 100.0


class Imitation(Task):
    """Draw the images that another generator draws from the same codes."""

    name = "imitation"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return dict(config.settings)

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return {"loss": keras.losses.MeanSquaredError()}

    def training_batches(self, config: TrainConfig, data: Dataset, batch_size: int, start: int, stop: int) -> Any:
        train = data.train

        def make(chosen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            return train.x[chosen], train.y[chosen]

        return for_engine(
            StepBatches(make, len(train), batch_size=batch_size, seed=config.seed, start=start, stop=stop)
        )

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row["loss"],)

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        examples = data.split(split)
        drawn = model.predict(examples.x, batch_size=BATCH, verbose=0)
        return {"psnr": psnr(np.asarray(drawn, np.float32), examples.y), "examples": len(examples)}, {}

    def page(self, data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> Page:
        tiles = [(f"{scores['psnr']:.2f} dB", f"to the original's images ({scores['examples']:,} codes)")]
        return Page("imitation of a generator", tiles, [], (("Loss", "loss"),))

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return f"{test['psnr']:.2f} dB to the original's images, {test['examples']:,} codes"

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        return DataSpec("example", "vector", input_shape or (64,), (), task=self.name)

    def example_batch(self, config: TrainConfig, spec: DataSpec, batch_size: int) -> tuple[Any, ...]:
        return tuple(keras.KerasTensor((batch_size, *shape), "float32") for shape in (spec.input_shape, base.IMAGE))


def psnr(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Return the peak signal-to-noise ratio of pixels in [0, 1], in dB: -10 log10 of the mean squared difference."""
    mean = np.square(mine.astype(np.float64) - theirs).mean()
    return float(min(-10 * np.log10(max(mean, np.finfo(np.float64).tiny)), HIGHEST))


TASK = Imitation()
