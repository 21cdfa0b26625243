"""Batches of images and captions. In training, each image comes with one of its captions, sampled in each epoch."""

import functools
from typing import Any

import keras
import numpy as np

from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.batches.ahead import ahead
from zoo.data.batches.numpy import EvaluationBatches
from zoo.data.batches.pipeline import on_tensorflow
from zoo.data.batches.steps import StepBatches, for_engine
from zoo.data.dataset import Split
from zoo.data.images import scaled
from zoo.data.sources.captions import NONE


def training_batches(
    split: Split,
    ids: np.ndarray,
    *,
    batch_size: int,
    seed: int,
    start: int,
    stop: int,
    augment: Augmenter | None = None,
) -> Any:
    """Return the batches of global steps `start` to `stop - 1`, each image with a randomly chosen caption.

    Args:
        split: Training examples.
        ids: Token ids of every caption, (captions, time).
        batch_size: Number of examples in a step, over all replicas.
        seed: Random seed of the order and of the choice of captions.
        start: First global step.
        stop: Global step after the last one.
        augment: Random changes of images.

    Returns:
        Batches ((images, ids), targets).
    """
    make = functools.partial(_drawn, split, ids, augment)
    batches = StepBatches(make, len(split), batch_size=batch_size, seed=seed, start=start, stop=stop)
    return for_engine(ahead(batches, split, batch_size))


def _drawn(
    split: Split, ids: np.ndarray, augment: Augmenter | None, indices: np.ndarray, rng: np.random.Generator
) -> tuple:
    found = split.take(indices)
    of_each = found.y[:, 1:]
    chosen = rng.integers((of_each != NONE).sum(axis=1))
    x = scaled(found.x)
    if augment:  # a number drawn for the step stands for the epoch
        x, _ = augment.on_arrays(x, found.y[:, 0], indices, int(rng.integers(2**31)))
    return (x, ids[of_each[np.arange(len(x)), chosen]]), found.y[:, 0]


def evaluation_batches(split: Split, ids: np.ndarray, *, batch_size: int, stride: int = 1) -> Any:
    """Return every image once, in order, with its first caption, as batches ((images, ids), targets, weights).

    The last batch is padded to the common shape with pairs of target -1, which the loss ignores.

    Args:
        split: Examples to evaluate.
        ids: Token ids of every caption, (captions, time).
        batch_size: Largest number of examples in a batch.
        stride: Divisor of the number of batches: the steps of one execution.
    """
    return for_engine(_Evaluation(split, ids, batch_size, stride))


class _Evaluation(keras.utils.PyDataset):
    def __init__(self, split: Split, ids: np.ndarray, batch_size: int, stride: int):
        super().__init__()
        distribution = keras.distribution.distribution() if not on_tensorflow() else None
        multiple = distribution.device_mesh.shape[0] if distribution else 1
        batches = EvaluationBatches(split, batch_size=batch_size, multiple=multiple, stride=stride)
        self.batches = ahead(batches, split, batch_size)
        self.ids = ids

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple:
        x, y, weight = self.batches[index]
        return (x, self.ids[y[:, 1]]), np.where(weight > 0, y[:, 0], -1).astype(np.int32), weight
