"""Batches of images and captions: in training each image with one of its captions, drawn anew each epoch."""

import functools
from typing import Any

import keras
import numpy as np

from zoo.data.batches.numpy import EvaluationBatches, shifted
from zoo.data.batches.pipeline import on_tensorflow
from zoo.data.batches.steps import StepBatches, for_engine
from zoo.data.dataset import Split
from zoo.data.images import scaled
from zoo.data.sources.captions import NONE


def training_batches(
    split: Split, ids: np.ndarray, *, batch_size: int, seed: int, start: int, stop: int, shift: int = 0
) -> Any:
    """Return the global steps from `start` to before `stop`, each image with one of its captions, drawn anew each time.

    Args:
        split: the training examples.
        ids: of every caption, (captions, time).
        batch_size: examples in a step, over all replicas.
        seed: of the order and of the draws.
        start: first global step.
        stop: one past the last.
        shift: move each image by up to this many pixels.

    Returns:
        batches ((images, ids), targets).
    """
    make = functools.partial(_drawn, split, ids, shift)
    batches = StepBatches(make, len(split), batch_size=batch_size, seed=seed, start=start, stop=stop)
    return for_engine(batches)


def _drawn(split: Split, ids: np.ndarray, shift: int, indices: np.ndarray, rng: np.random.Generator) -> tuple:
    found = split.take(indices)
    of_each = found.y[:, 1:]
    chosen = rng.integers((of_each != NONE).sum(axis=1))
    x = scaled(found.x)
    if shift:
        x = shifted(x, shift, seed=int(rng.integers(2**32)), step=0)
    return (x, ids[of_each[np.arange(len(x)), chosen]]), found.y[:, 0]


def evaluation_batches(split: Split, ids: np.ndarray, *, batch_size: int, stride: int = 1) -> Any:
    """Return every image once, in order, with the first of its captions, as ((images, ids), targets, weights).

    Batches are filled up with pairs of target -1, which a loss takes for none, so that all have one shape.
    """
    return for_engine(_Evaluation(split, ids, batch_size, stride))


class _Evaluation(keras.utils.PyDataset):
    def __init__(self, split: Split, ids: np.ndarray, batch_size: int, stride: int):
        super().__init__()
        distribution = keras.distribution.distribution() if not on_tensorflow() else None
        multiple = distribution.device_mesh.shape[0] if distribution else 1
        self.batches = EvaluationBatches(split, batch_size=batch_size, multiple=multiple, stride=stride)
        self.ids = ids

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple:
        x, y, weight = self.batches[index]
        return (x, self.ids[y[:, 1]]), np.where(weight > 0, y[:, 0], -1).astype(np.int32), weight
