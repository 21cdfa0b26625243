"""Transfer learning (`--init-from`, `--pretrained`, `--freeze`, `--new-head`): weights that were trained before."""

import sys
from typing import Any

import numpy as np

from zoo.config.train_config import TrainConfig
from zoo.introspection.freezing import freeze
from zoo.introspection.variables import named
from zoo.runs import checkpoints
from zoo.training import layerwise, transfer
from zoo.training.capabilities.base import Capability


class Transfer(Capability):
    """Copy the weights of a run into the new model, and exclude weights from training."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return bool(config.init_from or config.pretrained or config.freeze)

    def prepare(self) -> None:
        """Read the run, unless the training resumes and has its own weights."""
        config, resumed = self.training.config, self.training.start.snapshot is not None
        self.source = transfer.read(config.init_from) if config.init_from and not resumed else None

    def begin(self) -> None:
        """Copy weights, freeze some, and say on standard error what was done.

        Raises:
            UsageError: A run whose weights this model cannot take; patterns that match nothing, everything or random
                weights; a new head for a model without one.
        """
        training, config, source = self.training, self.training.config, self.source
        if config.pretrained and training.start.snapshot is None:
            self._take_pretrained()
        if source:
            source, told = transfer.renamed(source, training.plain, training.data)
            anew = layerwise.head(training.order) if config.new_head else []
            training.random = transfer.take(training.plain, source, training.data.spec, anew)
        frozen = freeze(training.plain, config.freeze, training.random) if config.freeze else []
        if source:
            training.begun_with = transfer.record(training.plain, source, training.random)
            if training.verbose:
                print("\n".join([transfer.sentence(training.plain, source, training.random), *told]), file=sys.stderr)
        if frozen and training.verbose:
            mine = named(training.plain)
            count, total = sum(int(np.prod(mine[name].shape)) for name in frozen), training.plain.count_params()
            print(f"frozen: {len(frozen)} of {len(mine)} variables, {count:,} of {total:,} parameters", file=sys.stderr)

    def _take_pretrained(self) -> None:
        """Copy weights from elsewhere, and say on standard error what was found."""
        training = self.training
        anew = layerwise.head(training.order) if training.config.new_head else []
        found, training.random = transfer.take_pretrained(training.config, training.plain, training.data.spec, anew)
        training.begun_with = {
            "pretrained": training.config.pretrained,
            "sha256": found.sha256,
            "taken": len(found.arrays),
            "new": training.random,
            "said": found.said,
        }
        if training.verbose:
            print(found.said, file=sys.stderr)

    def started(self) -> None:
        """Write a checkpoint of the copied weights, so that the training can resume without what they come from."""
        if self.source or (self.training.config.pretrained and self.training.start.snapshot is None):
            training = self.training
            arrays = checkpoints.capture(training.model)
            snapshot = training.memory.to_snapshot(training.step, arrays, training.origin)
            checkpoints.save(training.run.checkpoints, snapshot)
