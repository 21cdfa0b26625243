"""Batches of training beside what an attack on them needs: their labels, and where it begins."""

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
    """Batches of ((x, y, start), y) or ((x, y, start), y, weight), see `zoo.objectives.adversarial.Attacked`.

    Args:
        batches: of (x, y) or (x, y, weight).
        attack: what it begins with.
        seed: of random starts, which are a pure function of it and the global step: the same on every engine and number
            of replicas, and for a run that resumes.
        first: the global step of the first batch.
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
    """Return where an attack begins, (batch, ...) float32 in [-1, 1] times eps: at the examples, or anywhere near."""
    if attack.start == "clean":
        return np.zeros(shape, np.float32)
    return 2 * rng.random(shape, np.float32) - 1


def training_batches(
    split: Split, attack: Attack, *, seed: int, start: int, **options: Any
) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return the steps of `pipeline.training_batches` from `start`, each with what an attack needs."""
    plain = training_arrays(split, seed=seed, start=start, **options)
    return for_engine(AttackedBatches(plain, attack, seed=seed, first=start))
