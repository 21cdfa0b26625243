"""Several steps in one execution (`--steps-per-execution`): by our own executions, or by those of Keras."""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from strategies import collective
from zoo.config.train_config import TrainConfig
from zoo.data.batches.pipeline import on_tensorflow
from zoo.training.capabilities.base import Capability
from zoo.training.executions import Executions


def _ours(config: TrainConfig) -> bool:
    return on_tensorflow() and config.strategy != "tpu"


class StepsPerExecution(Capability):
    """Train by executions of our own, which may have any number of steps; see `zoo.training.executions`."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return _ours(config)

    @property
    def ahead(self) -> int:
        return self.executions.ahead

    def started(self) -> None:
        training, config = self.training, self.training.config
        theirs = any(capability.makes_batches for capability in training.capabilities)
        training.gathered = None if theirs else training.task.gathered(config, training.data, config.batch_size)
        self.executions = Executions(
            config.steps_per_execution,
            steps=training.steps,
            done=training.step,
            every=config.checkpoint_every,
            gathered=training.gathered,
            agreed=self._slowest if collective.workers(training.strategy) > 1 else None,
        )

    def _slowest(self, seconds: float) -> float:
        """Return the longest of all workers' times."""
        return float(collective.gather(self.training.strategy, np.array([seconds])).max())

    def before_fit(self) -> None:
        self.executions.install(self.training.model)

    def feed(self, start: int, stop: int) -> Any | None:
        """Return step numbers for `fit` to count, if the steps gather their batches themselves."""
        if not self.training.gathered:
            return None
        import tensorflow as tf

        numbers = tf.data.Dataset.range(start, stop)
        strategy = self.training.strategy
        if strategy.num_replicas_in_sync == 1:
            return numbers
        return strategy.distribute_datasets_from_function(lambda _: numbers)  # `fit` cannot divide numbers


class KerasStepsPerExecution(Capability):
    """Train by the executions of Keras, whose number of steps has to divide an epoch."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return not _ours(config)

    def started(self) -> None:
        training = self.training
        training.stride = stride_of(training.config.steps_per_execution, training.steps, training.step)
        training.model.steps_per_execution = training.stride

    @contextlib.contextmanager
    def around_fit(self) -> Iterator[None]:
        yield
        self.training.model.steps_per_execution = 1


def stride_of(most: int, steps: int, done: int) -> int:
    """Return the number of steps in an execution: the largest that divides an epoch and the steps done before.

    Args:
        most: Largest number allowed.
        steps: Number of steps in an epoch.
        done: Number of steps done.
    """
    whole = math.gcd(steps, done)
    return max(n for n in range(1, min(most, whole) + 1) if whole % n == 0)
