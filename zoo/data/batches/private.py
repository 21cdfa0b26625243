"""Batches for DP-SGD: Poisson-sampled examples, and the noise of each step.

The privacy accountant assumes Poisson sampling: each example is in each step with the same probability, so the number
of examples in a step varies. All batches have the shape of the largest one of the training, and unused places are
marked as empty.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.batches.ahead import ahead
from zoo.data.batches.steps import for_engine
from zoo.data.dataset import Split
from zoo.data.images import scaled

if TYPE_CHECKING:
    import tensorflow as tf


class PrivateBatches(keras.utils.PyDataset):
    """Batches ((x, y, present, drawn), y, weight); see `zoo.objectives.private.Private`.

    Sampling and noise are a pure function of the key and the global step, so they are the same with every backend and
    after a resume. With the weights, the mean over the places equals the mean over the examples.

    Args:
        split: Training examples.
        key: Secret key of sampling and noise. Whoever knows it can remove the noise.
        batch_size: Expected number of examples in a step.
        total: Number of steps in the whole training.
        parameters: Number of noise values in a step.
        multiple: Divisor of the number of places in a batch.
        start: First global step.
        stop: Global step after the last one.
        augment: Random changes of images; the step stands for the epoch, in which Poisson sampling may draw an example
            twice.
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
        augment: Augmenter | None,
    ):
        super().__init__()
        self.split, self.key, self.parameters = split, key, parameters
        self.start, self.stop, self.augment = start, stop, augment
        self.counts = generator(key, "counts", 0).binomial(len(split), batch_size / len(split), total)
        self.places = -(-max(int(self.counts.max()), 1) // multiple) * multiple

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        step = self.start + index
        count = int(self.counts[step])
        # A binomial count and a uniform choice of that many examples are equivalent to Poisson sampling.
        chosen = generator(self.key, "examples", step).choice(len(self.split), count, replace=False)
        places = np.concatenate([chosen, np.zeros(self.places - count, chosen.dtype)])
        found = self.split.take(places)
        x = scaled(found.x)
        if self.augment:
            x, _ = self.augment.on_arrays(x, found.y, places, step)
        present = (np.arange(self.places) < count).astype(np.float32)
        drawn = generator(self.key, "noise", step).standard_normal(self.parameters, np.float32)
        return (x, found.y, present, drawn), found.y, present * np.float32(self.places / max(count, 1))


def generator(key: bytes, what: str, step: int) -> np.random.Generator:
    """Return the random generator of a global step for one purpose.

    Args:
        key: Secret key.
        what: Name of the purpose.
        step: Global step.
    """
    digest = hashlib.blake2b(f"{what} {step}".encode(), key=key, digest_size=16).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest, "little")))


def training_batches(split: Split, **options: Any) -> tf.data.Dataset | keras.utils.PyDataset:
    """Return `PrivateBatches`, on TensorFlow as a `tf.data.Dataset`.

    Args:
        split: Training examples.
        options: Further arguments of `PrivateBatches`.
    """
    return for_engine(ahead(PrivateBatches(split, **options), split, options["batch_size"]))
