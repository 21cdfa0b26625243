"""The batches of `zoo.data.batches.pipeline` in plain numpy, for Keras on JAX, which has no tf.data of its own.

Every shape is the same in every batch, as compiled steps and several devices want it: where examples do not divide,
evaluation is filled up with examples of weight zero.
"""

from typing import Any

import keras
import numpy as np

from zoo.data.dataset import Split
from zoo.data.images import scaled


class TrainingBatches(keras.utils.PyDataset):
    """The global steps from `start` to before `start + len(self)`; arguments as of `batches.training_batches`.

    Args:
        order: a function of an epoch that returns the indices of its steps' examples, (steps, batch_size).
        steps: in an epoch.
    """

    def __init__(
        self,
        split: Split,
        *,
        order: Any,
        steps: int,
        seed: int,
        start: int,
        stop: int,
        class_weights: np.ndarray | None,
        shift: int,
    ):
        super().__init__()
        self.split, self.order, self.steps, self.seed = split, order, steps, seed
        self.start, self.stop, self.class_weights, self.shift = start, stop, class_weights, shift
        self._epoch: tuple[int, np.ndarray] | None = None  # the order of the epoch that was asked for last

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        step = self.start + index
        epoch = step // self.steps
        if self._epoch is None or self._epoch[0] != epoch:
            self._epoch = (epoch, self.order(epoch))
        batch = self.split.take(self._epoch[1][step % self.steps])
        x = scaled(batch.x)
        if self.shift:
            x = shifted(x, self.shift, self.seed, step)
        return (x, batch.y) if self.class_weights is None else (x, batch.y, self.class_weights[batch.y])


class EvaluationBatches(keras.utils.PyDataset):
    """Every example once, in order, as (x, y, weight) of one shape.

    The weights of examples are such that a weighted mean over all batches, those filled up among them, is the mean
    over the examples: (examples + filled) / examples, and 0 for what fills up.

    Args:
        split: the examples.
        batch_size: at most.
        multiple: of which the batch is one, the devices that share it.
        stride: of which the number of batches is a multiple, the steps in one execution.
    """

    def __init__(self, split: Split, *, batch_size: int, multiple: int, stride: int = 1):
        super().__init__()
        self.split, self.stride = split, stride
        self.batch = min(-(-batch_size // multiple), -(-len(split) // multiple)) * multiple

    def __len__(self) -> int:
        return -(-len(self.split) // (self.batch * self.stride)) * self.stride

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        places = np.arange(index * self.batch, (index + 1) * self.batch)
        found = self.split.take(np.minimum(places, len(self.split) - 1))
        weight = (places < len(self.split)) * (len(self) * self.batch / len(self.split))
        return scaled(found.x), found.y, weight.astype(np.float32)


def shifted(images: np.ndarray, most: int, seed: int, step: int) -> np.ndarray:
    """Return (batch, height, width, channels) images, each moved by up to `most` pixels along both sides."""
    count, height, width = images.shape[:3]
    padded = np.pad(images, [(0, 0), (most, most), (most, most), (0, 0)])
    rng = np.random.Generator(np.random.Philox(key=[seed, step]))
    rows, columns = rng.integers(0, 2 * most + 1, (2, count))
    each = np.arange(count)[:, None, None]
    return padded[each, rows[:, None, None] + np.arange(height)[:, None], columns[:, None, None] + np.arange(width)]
