"""Ordered classes: one label for each example, where a near miss is better than a far one."""

import dataclasses
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.console.figures import Intervals, written
from zoo.data import Dataset, DataSpec
from zoo.objectives.losses import OrdinalLoss
from zoo.tasks.classification import Classification


class Ordinal(Classification):
    """One of several classes that have an order, for each example."""

    name = "ordinal"

    def arguments(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        if config.focal_gamma:
            raise UsageError(
                f"--focal-gamma {config.focal_gamma:g}: expected 0 with --task ordinal, whose loss has none"
            )
        return super().arguments(config, spec)

    def compiled_with(self, config: TrainConfig, spec: DataSpec) -> dict[str, Any]:
        return super().compiled_with(config, spec) | {"loss": OrdinalLoss(config.label_smoothing)}

    def rank(self, row: dict[str, Any]) -> tuple[float, ...]:
        return (-row.get("val_loss", row["loss"]),)

    def measure(self, model: keras.Model, data: Dataset, split: str = "test") -> tuple[dict[str, Any], dict[str, Any]]:
        found, shown = super().measure(model, data, split)
        return found | distances(shown["logits"].argmax(-1), data.split(split).y), shown

    def headline(self, test: dict[str, Any], within: Intervals) -> str:
        return (
            f"mean distance {written(test, 'rank_error', within)} ranks, quadratic weighted kappa"
            f" {written(test, 'kappa', within)}, {super().headline(test, within)}"
        )

    def example_spec(self, input_shape: tuple[int, ...] | None = None, size: int | None = None) -> DataSpec:
        return dataclasses.replace(super().example_spec(input_shape, size), task=self.name)


def distances(answers: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the mean distance of answers from the truth in ranks, and the quadratic weighted kappa (Cohen, 1968).

    Args:
        answers: Class indices that were answered, (examples,).
        y: True class indices, (examples,).
    """
    from sklearn.metrics import cohen_kappa_score

    far = float(np.abs(answers.astype(np.int64) - y).mean())
    same = len(np.unique(np.concatenate([answers, y]))) < 2
    kappa = 1.0 if same else float(cohen_kappa_score(y, answers, weights="quadratic"))
    return {"rank_error": far, "kappa": kappa}


TASK = Ordinal()
