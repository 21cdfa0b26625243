"""Averaged weights (`--average`): an exponential moving average over steps, or the mean over the last epochs.

The moving average itself is the optimizer's, see `zoo.training.optimization.optimizer`.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.introspection.hooks import calls_of
from zoo.introspection.layers import with_itself
from zoo.runs import checkpoints
from zoo.training.callbacks import Memory
from zoo.training.capabilities.base import Capability

# Number of training examples from which the statistics of batch normalisations are estimated again.
EXAMPLES = 10_000


class Averaging(Capability):
    """End with averaged weights, whose validation scores replace those of the last epoch."""

    keeps_best = False

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return config.averaging is not None

    def callbacks(self) -> list[keras.callbacks.Callback]:
        config = self.training.config
        kind, share = config.averaging
        if kind != "swa":
            return []
        return [Averager(self.training.memory, min(math.ceil(share * config.epochs), config.epochs - 1))]

    @contextlib.contextmanager
    def around_fit(self) -> Iterator[None]:
        yield
        training = self.training
        count = min(training.steps, -(-EXAMPLES // training.config.batch_size))
        take(training.model, training.memory, training.batches(0, count))
        held_out, steps = training.held_out(1)
        options = {"steps": steps, "return_dict": True, "verbose": 0}
        self.scores = {} if held_out is None else training.model.evaluate(held_out, **options)

    def record(self) -> dict[str, Any]:
        return {"validation": self.scores}


class Averager(keras.callbacks.Callback):
    """Keep the mean of the weights that the last epochs ended with (Izmailov et al., 2018).

    Args:
        memory: Memory of the run, which holds the mean.
        begin: First epoch that counts, from 0.
    """

    def __init__(self, memory: Memory, begin: int):
        super().__init__()
        self.memory, self.begin = memory, begin

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if epoch < self.begin:
            return
        checkpoints.synchronise(self.model)
        now = [keras.ops.convert_to_numpy(v).astype(np.float64) for v in self.model.trainable_variables]
        memory = self.memory
        memory.averaged += 1
        before = memory.mean_weights or now
        memory.mean_weights = [m + (w - m) / memory.averaged for m, w in zip(before, now, strict=True)]


def take(model: keras.Model, memory: Memory, batches: Iterable[Any]) -> None:
    """Assign the averaged weights to a trained model, and estimate the statistics of its batch normalisations again.

    Args:
        model: Compiled model after its last step.
        memory: Memory of the run; if it holds no mean over epochs, the optimizer has a moving average.
        batches: Batches (x, ...) of training examples, as the model is given them.
    """
    checkpoints.synchronise(model)
    if memory.mean_weights:
        for variable, value in zip(model.trainable_variables, memory.mean_weights, strict=True):
            variable.assign(value.astype(keras.backend.standardize_dtype(variable.dtype)))
    else:
        # The class's method: the instance's own does nothing, see `zoo.training.optimization`.
        type(model.optimizer).finalize_variable_values(model.optimizer, model.trainable_variables)
    reestimate(model, batches)


def reestimate(model: keras.Model, batches: Iterable[Any]) -> None:
    """Set the mean and variance of every batch normalisation to those of its inputs under the present weights.

    The layers are handled in the order of their use, so that the statistics of earlier layers are set before later ones
    are estimated. Layers that are not trainable keep theirs.

    Args:
        model: Built model.
        batches: Batches (x, ...) of training examples, iterated once for each normalisation.
    """
    norms = [
        layer for layer in with_itself(model) if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
    ]
    if not norms:
        return
    first = next(iter(batches))[0]
    for norm in dict.fromkeys(call.layer for call in calls_of(model, first, norms)):
        count, total, squares = 0, 0.0, 0.0
        for x, *_ in batches:
            for call in calls_of(model, x, [norm]):
                given = np.moveaxis(keras.ops.convert_to_numpy(call.inputs[0]).astype(np.float64), norm.axis, -1)
                given = given.reshape(-1, given.shape[-1])
                count, total, squares = count + len(given), total + given.sum(0), squares + (given**2).sum(0)
        mean = total / count
        norm.moving_mean.assign(mean.astype(np.float32))
        norm.moving_variance.assign(np.maximum(squares / count - mean**2, 0).astype(np.float32))
