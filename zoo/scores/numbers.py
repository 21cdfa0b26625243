"""Scores of predicted numbers: RMSE, MAE and R2, and of quantiles the pinball loss and how often they hold."""

from typing import Any

import numpy as np

from zoo.scores import intervals


def scores(outputs: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return root mean squared error, mean absolute error and R2, the share of the variance that is explained.

    Args:
        outputs: Predicted numbers, (examples, ...).
        y: True numbers, of as many values.
    """
    error = outputs.reshape(len(y), -1).astype(np.float64) - y.reshape(len(y), -1)
    spread = float(np.square(y.astype(np.float64) - y.astype(np.float64).mean(0)).sum())
    found = {"rmse": float(np.sqrt(np.square(error).mean())), "mae": float(np.abs(error).mean())}
    return found | ({"r2": float(1 - np.square(error).sum() / spread)} if spread else {})


def intervals_of(outputs: np.ndarray, y: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of `scores`. The bootstrap draws examples.

    Args:
        outputs: Predicted numbers, (examples, ...).
        y: True numbers, of as many values.
    """
    truth = y.reshape(len(y), -1).astype(np.float64)
    error = outputs.reshape(len(y), -1) - truth
    width = truth.shape[1]
    centred = truth - truth.mean(0)  # keeps the sums of squares small
    terms = np.concatenate(
        [np.square(error).sum(1, keepdims=True), np.abs(error).sum(1, keepdims=True), centred, np.square(centred)],
        axis=1,
    )
    count = len(y)

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        spread = (sums[:, 2 + width :] - np.square(sums[:, 2 : 2 + width]) / count).sum(1)
        found = {"rmse": np.sqrt(sums[:, 0] / (count * width)), "mae": sums[:, 1] / (count * width)}
        return found | ({"r2": 1 - sums[:, 0] / spread} if (spread > 0).all() else {})

    return intervals.of_sums(terms, figures)


def covered(outputs: np.ndarray, y: np.ndarray) -> float:
    """Return the share of numbers between the lowest and the highest predicted quantile.

    Args:
        outputs: Predicted quantiles in order, (examples, targets, quantiles).
        y: True numbers, (examples, targets).
    """
    return float(((outputs[..., 0] <= y) & (y <= outputs[..., -1])).mean())


def by_column(outputs: np.ndarray, y: np.ndarray, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return the scores of each of several targets.

    Args:
        outputs: Predicted numbers, (examples, targets).
        y: True numbers, (examples, targets).
        names: Names of the targets.
    """
    return [{"column": name, **scores(outputs[:, i], y[:, i])} for i, name in enumerate(names)]
