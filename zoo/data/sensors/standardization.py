"""Means and deviations of the features of training examples, which models standardise by."""

import numpy as np

from zoo.data.dataset import DataSpec, Split
from zoo.data.reading import Tally
from zoo.data.stored.column import parts

# Smallest deviation that is divided by, as a share of the largest value of its feature.
LEAST = 1e-6


def of_split(spec: DataSpec, train: Split, tally: Tally) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each feature, the last axis of vectors and series; nothing for others.

    A feature that does not vary has the deviation 1.

    Args:
        spec: Form of the data.
        train: Training examples.
        tally: Takes a note about features that do not vary.
    """
    if spec.kind not in ("vector", "sequence") or spec.per_step or not len(train):
        return (), ()
    count, total, squares = 0, 0.0, 0.0
    center = np.asarray(train.x[:1], np.float64).reshape(-1, train.x.shape[-1]).mean(0)
    for part in parts(train.x):
        values = np.asarray(train.x[part], np.float64).reshape(-1, train.x.shape[-1]) - center
        count, total, squares = count + len(values), total + values.sum(0), squares + np.square(values).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    still = std <= LEAST * np.maximum(np.abs(mean + center), np.finfo(np.float32).tiny)
    if still.any():
        tally.notes.append(f"{int(still.sum()):,} of {len(still):,} features do not vary in the training examples")
    std = np.where(still, 1.0, std)
    return tuple(map(_rounded, mean + center)), tuple(map(_rounded, std))


def _rounded(value: float) -> float:
    """Return a number with the digits that float32 holds, so that configurations stay short."""
    return float(f"{value:.7g}")
