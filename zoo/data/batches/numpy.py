"""The batches of `zoo.data.batches.pipeline` in plain numpy, for Keras on JAX, where there is no tf.data.

All batches have the same shape, as compiled steps and several devices require. The last batch of an evaluation is
padded with examples of weight 0.
"""

from typing import Any

import keras
import numpy as np

from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.dataset import Split, mapped
from zoo.data.images import scaled


class TrainingBatches(keras.utils.PyDataset):
    """The training batches of global steps `start` to `stop - 1`.

    Args:
        split: Training examples.
        order: Function from an epoch to the indices of the examples of its steps, (steps, batch_size).
        steps: Number of steps in an epoch.
        start: First global step.
        stop: Global step after the last one.
        class_weights: Weight of each class, (classes,) float32; adds weights to the batches. None for no weights.
        augment: Random changes of images.
    """

    def __init__(
        self,
        split: Split,
        *,
        order: Any,
        steps: int,
        start: int,
        stop: int,
        class_weights: np.ndarray | None,
        augment: Augmenter | None,
    ):
        super().__init__()
        self.split, self.order, self.steps = split, order, steps
        self.start, self.stop, self.class_weights, self.augment = start, stop, class_weights, augment
        self._epoch: tuple[int, np.ndarray] | None = None  # the last epoch read, and its order

    def __len__(self) -> int:
        return self.stop - self.start

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        step = self.start + index
        epoch = step // self.steps
        last = self._epoch
        if last is None or last[0] != epoch:
            self._epoch = last = epoch, self.order(epoch)
        chosen = last[1][step % self.steps]
        batch = self.split.take(chosen)
        x, y = mapped(scaled, batch.x), mapped(np.asarray, batch.y)
        if self.augment:
            x, y = self.augment.on_arrays(x, y, chosen, epoch)
        if self.class_weights is None:
            return x, y
        mixed = self.augment is not None and self.augment.mixes
        return x, y, y @ self.class_weights if mixed else self.class_weights[y]


class EvaluationBatches(keras.utils.PyDataset):
    """Every example once, in order, as batches (x, y, weight) of one shape.

    A padding example has weight 0 and every other example the weight (examples + padding) / examples. So the mean of
    the weighted losses over all batches equals the mean over the examples.

    Args:
        split: Examples to evaluate.
        batch_size: Largest number of examples in a batch.
        multiple: Divisor of the batch size: the number of devices that share a batch.
        stride: Divisor of the number of batches: the steps of one execution.
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
        return mapped(scaled, found.x), mapped(np.asarray, found.y), weight.astype(np.float32)
