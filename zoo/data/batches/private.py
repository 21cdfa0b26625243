"""Batches of DP-SGD: each example in each step with the same probability, and the noise of the step beside them.

The accountant counts on Poisson sampling, in which a step has more or fewer examples than the batch that is expected.
Batches of one shape have places for the largest of the training; those that are left have no example.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.batches.numpy import shifted
from zoo.data.batches.steps import for_engine
from zoo.data.dataset import Split
from zoo.data.images import scaled

if TYPE_CHECKING:
    import tensorflow as tf


class PrivateBatches(keras.utils.PyDataset):
    """Batches of ((x, y, present, drawn), y, weight), see `zoo.objectives.private.Private`.

    Sampling and noise are a pure function of the key and the global step: the same on every engine, and for a run that
    resumes. Weights are such that the weighted mean over the places is the mean over the examples.

    Args:
        split: the training examples.
        key: who knows it can take the noise away.
        batch_size: examples that are expected in a step.
        total: steps of the whole training.
        parameters: numbers of noise in a step.
        multiple: of which the places are one.
        start: first global step.
        stop: one past the last.
        seed: of moved images.
        shift: move each image by up to this many pixels along both sides.
    """

    def __init__(
        self,
        split: Split,
        *,
        key: bytes,
        batch_size: int,
        total: int,
        parameters: int,
        multiple: int,
        start: int,
        stop: int,
        seed: int,
        shift: int,
    ):
        super().__init__()
        self.split, self.key, self.parameters = split, key, parameters
        self.start, self.stop, self.seed, self.shift = start, stop, seed, shift
        self.counts = generator(key, "counts", 0).binomial(len(split), batch_size / len(split), total)
        self.places = -(-max(int(self.counts.max()), 1) // multiple) * multiple

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        step = self.start + index
        count = int(self.counts[step])
        # So many, and any of them: as if each had been drawn by itself.
        chosen = generator(self.key, "examples", step).choice(len(self.split), count, replace=False)
        found = self.split.take(np.concatenate([chosen, np.zeros(self.places - count, chosen.dtype)]))
        x = scaled(found.x)
        if self.shift:
            x = shifted(x, self.shift, self.seed, step)
        present = (np.arange(self.places) < count).astype(np.float32)
        drawn = generator(self.key, "noise", step).standard_normal(self.parameters, np.float32)
        return (x, found.y, present, drawn), found.y, present * np.float32(self.places / max(count, 1))


def generator(key: bytes, what: str, step: int) -> np.random.Generator:
    """Return the random numbers that a global step takes for one purpose."""
    digest = hashlib.blake2b(f"{what} {step}".encode(), key=key, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def training_batches(split: Split, **options: Any) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return the global steps of `PrivateBatches`, on TensorFlow as a `tf.data.Dataset`."""
    return for_engine(PrivateBatches(split, **options))
