"""Weights averaged while a model trains: a running average over steps, or the mean over the last epochs."""

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.introspection.hooks import calls_of
from zoo.introspection.layers import with_itself
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.system.files import replacing
from zoo.training.callbacks import Memory

# Training examples that tell a batch normalisation the mean and the variance of its inputs.
EXAMPLES = 10_000


class Averager(keras.callbacks.Callback):
    """Keep the mean of the weights that the last epochs ended with (Izmailov et al., 2018).

    Args:
        memory: is updated.
        begin: the first epoch that counts, from 0.
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


class Snapshots(keras.callbacks.Callback):
    """Save the model as it is at the end of each cycle of the learning rate (Huang et al., 2017).

    Args:
        run: where they go.
        every: epochs in a cycle.
        plain: the model itself, where what is trained is around it.
    """

    def __init__(self, run: RunFolder, every: int, plain: keras.Model):
        super().__init__()
        self.run, self.every, self.plain = run, every, plain

    def on_epoch_end(self, epoch: int, logs: dict | None = None) -> None:
        if (epoch + 1) % self.every:
            return
        checkpoints.synchronise(self.model)
        file = self.run.snapshot_file((epoch + 1) // self.every)
        file.parent.mkdir(exist_ok=True)
        with replacing(file) as temporary:
            self.plain.save(temporary, include_optimizer=False)


def callbacks(
    config: TrainConfig, run: RunFolder, memory: Memory, plain: keras.Model
) -> list[keras.callbacks.Callback]:
    """Return what averages or keeps weights as epochs end; called before the epoch's checkpoint is written."""
    found: list[keras.callbacks.Callback] = []
    if config.averaging and config.averaging[0] == "swa":
        begin = min(math.ceil(config.averaging[1] * config.epochs), config.epochs - 1)
        found.append(Averager(memory, begin))
    if config.snapshots:
        found.append(Snapshots(run, config.epochs // config.snapshots, plain))
    return found


def take(model: keras.Model, memory: Memory, batches: Iterable[Any]) -> None:
    """Give a trained model its averaged weights, and its batch normalisations what their inputs then are.

    Args:
        model: compiled, after its last step.
        memory: of the run, with the mean over epochs; without one the optimizer has a running average.
        batches: (x, ...) of training examples, as the model is given them.
    """
    checkpoints.synchronise(model)
    if memory.mean_weights:
        for variable, value in zip(model.trainable_variables, memory.mean_weights, strict=True):
            variable.assign(value.astype(keras.backend.standardize_dtype(variable.dtype)))
    else:
        # Of the class: the instance's own does nothing, see `zoo.training.optimization`.
        type(model.optimizer).finalize_variable_values(model.optimizer, model.trainable_variables)
    reestimate(model, batches)


def reestimate(model: keras.Model, batches: Iterable[Any]) -> None:
    """Give every batch normalisation the mean and the variance of its inputs, as the weights are now.

    One after the other in the order of their use, each seen while the model computes as it will: those before have
    theirs by then. One that is not trained keeps what it has.

    Args:
        model: built.
        batches: (x, ...) of training examples, gone through once for each normalisation.
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
