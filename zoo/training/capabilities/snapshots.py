"""Snapshots (`--snapshots`): the weights at the end of each cycle of the learning rate, for an ensemble.

The cycles themselves are those of `zoo.training.optimization.learning_rate`.
"""

from typing import Any

import keras

from zoo.config.train_config import TrainConfig
from zoo.isolation import passed
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.system.files import replacing, sha256
from zoo.training.capabilities.base import Capability


class Snapshots(Capability):
    """Save the model at the end of each cycle, and record the hashes of the files."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return config.snapshots > 0

    def callbacks(self) -> list[keras.callbacks.Callback]:
        config = self.training.config
        return [SnapshotWriter(self.training.run, config.epochs // config.snapshots, self.training.plain)]

    def record(self) -> dict[str, Any]:
        run, count = self.training.run, self.training.config.snapshots
        return {"snapshots": [sha256(run.snapshot_file(number)) for number in range(1, count + 1)]}


class SnapshotWriter(keras.callbacks.Callback):
    """Save the model at the end of each cycle of the learning rate (Huang et al., 2017).

    Args:
        run: Run folder.
        every: Number of epochs in a cycle.
        plain: Model to save, which `fit` may train inside another.
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
            passed.remember(sha256(temporary))
