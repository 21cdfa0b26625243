"""Batch normalisation over several replicas: the statistics of a batch are those of the whole batch."""

import contextlib
from collections.abc import Iterator
from typing import Any

import keras

from zoo.config.train_config import TrainConfig
from zoo.data.batches.pipeline import on_tensorflow
from zoo.introspection.layers import with_itself
from zoo.training.capabilities.base import Capability


class SynchronizedNorms(Capability):
    """Let the batch normalisations of a model see the examples of all replicas, as one device would.

    The setting lasts while `fit` runs: a saved layer that has it cannot be loaded with JAX, where a batch is whole on
    any number of devices.
    """

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return on_tensorflow() and strategy.num_replicas_in_sync > 1

    @contextlib.contextmanager
    def around_fit(self) -> Iterator[None]:
        layers = [
            layer
            for layer in with_itself(self.training.plain)
            if isinstance(layer, keras.layers.BatchNormalization) and not layer.synchronized
        ]
        for layer in layers:
            layer.synchronized = True
        try:
            yield
        finally:
            for layer in layers:
                layer.synchronized = False
