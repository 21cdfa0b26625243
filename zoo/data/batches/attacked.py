"""Training batches for adversarial training: examples with their labels and the starting points of the attack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.config.attacks import Attack
from zoo.data.batches.pipeline import training_arrays
from zoo.data.batches.steps import for_engine, generator
from zoo.data.dataset import Split

if TYPE_CHECKING:
    import tensorflow as tf


class AttackedBatches(keras.utils.PyDataset):
    """Batches ((x, y, start), y) or ((x, y, start), y, weight); see `zoo.objectives.adversarial.Attacked`.

    Args:
        batches: Batches (x, y) or (x, y, weight).
        attack: Attack whose starting points are added.
        seed: Random seed of the starting points, which are a pure function of the seed and the global step. So they are
            the same with every backend and number of replicas, and after a resume.
        first: Global step of the first batch.
    """

    def __init__(self, batches: keras.utils.PyDataset, attack: Attack, *, seed: int, first: int):
        super().__init__()
        self.batches, self.attack, self.seed, self.first = batches, attack, seed, first

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        x, y, *weight = self.batches[index]
        start = starts(self.attack, x.shape, generator(self.seed, self.first + index))
        return ((x, y, start), y, *weight)


def starts(attack: Attack, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return the starting points of an attack as offsets in units of eps, in [-1, 1], float32.

    Args:
        attack: Attack, which starts at the clean examples or at random points near them.
        shape: Shape of the examples, (batch, ...).
        rng: Generator of the random points.
    """
    if attack.start == "clean":
        return np.zeros(shape, np.float32)
    return 2 * rng.random(shape, np.float32) - 1


def training_batches(
    split: Split, attack: Attack, *, seed: int, start: int, **options: Any
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return the batches of `pipeline.training_batches` with the inputs of an attack.

    Args:
        split: Training examples.
        attack: Attack of the adversarial training.
        seed: Random seed of the order and of the starting points.
        start: First global step.
        options: Further arguments of `pipeline.training_arrays`.
    """
    plain = training_arrays(split, seed=seed, start=start, **options)
    return for_engine(AttackedBatches(plain, attack, seed=seed, first=start))
