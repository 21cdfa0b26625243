"""The output layer first (`--probe`): logistic regression on the features of the frozen network."""

import sys
import time
from typing import Any

import numpy as np

from strategies import collective
from zoo.config import task_facts
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.training import features
from zoo.training.capabilities.base import Capability


class Probe(Capability):
    """Fit the output layer on features that are computed once, before the whole network is trained.

    A random output layer would pull the features of a trained network in random directions (linear probing, then
    fine-tuning: Kumar et al., 2022). The features are those of the training examples as they are: changes such as
    `--shift` begin with the training of the network.
    """

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return bool(config.probe)

    def check(self) -> None:
        training = self.training
        spec = training.data.spec
        if not task_facts.of(spec.task).classifies or spec.per_step:
            raise UsageError(f"--probe: expected data with a class for each example, {spec.name} is for {spec.task}")
        if collective.workers(training.strategy) > 1:
            raise UsageError("--probe: expected one process: the features of all examples are computed at once")

    def started(self) -> None:
        """Fit the output layer if its weights are random."""
        training = self.training
        new = set(training.order.groups[-1]) & set(training.random)
        if training.start.snapshot is not None or not new:  # a checkpoint has it, or it was copied
            return
        began = time.perf_counter()
        head = features.output_layer(training.plain, training.order)
        splits = {name: training.data.split(name) for name in ("train", "validation")}
        x = {name: features.of(training.plain, head, split) for name, split in splits.items() if len(split)}
        computed = time.perf_counter()
        fitted = features.fit(x, {name: np.asarray(splits[name].y) for name in x}, training.data.spec.num_classes)
        head.kernel.assign(fitted.kernel)
        head.bias.assign(fitted.bias)
        self.found = {
            "features": int(x["train"].shape[1]),
            "inverse_regularization": fitted.strength,
            "accuracy": fitted.accuracy,
            "features_seconds": round(computed - began, 2),
            "seconds": round(time.perf_counter() - computed, 2),
        }
        if training.verbose:
            rows, columns = x["train"].shape
            print(
                f"output layer fitted on {rows:,} x {columns:,} features in {self.found['seconds']:.1f} s, after"
                f" {self.found['features_seconds']:.1f} s for the features: {fitted.accuracy:.2%} of the"
                f" {fitted.judged} examples are right",
                file=sys.stderr,
            )

    def record(self) -> dict[str, Any]:
        found = getattr(self, "found", None)  # a resumed training has not fitted it
        return {"probe": found} if found else {}
