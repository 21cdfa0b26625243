"""Gradual unfreezing (`--unfreeze-every`): the last layer trains first, then one more layer after the other."""

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import keras

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.introspection.layers import with_itself
from zoo.introspection.variables import named
from zoo.training import layerwise
from zoo.training.capabilities.base import Capability


class Unfreezing(Capability):
    """Let one more layer train after every so many epochs (Howard & Ruder, 2018).

    Frozen weights have a learning rate of 0, and their batch normalisations use the moving averages that they have and
    do not update them. Gradients are computed for all weights from the start: clipping by the global norm includes
    them, and the running means of an adaptive optimizer are settled when a layer starts to train.
    """

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return config.unfreeze_every > 0

    def begin(self) -> None:
        check(self.training.plain, self.training.config, self.training.order, self.training.random)

    def rates(self, rates: tuple[float, ...]) -> tuple[float, ...]:
        """Return a rate for each variable, so that the optimizer is one whose rates can change."""
        return rates or (1.0,) * len(layerwise.trained(self.training.plain))

    def started(self) -> None:
        model = self.training.plain
        self.waiting = waiting(model, self.training.order)
        self.names = list(layerwise.trained(model))
        self.given = tuple(self.training.model.optimizer.rates)
        by_id = {id(variable): name for name, variable in named(model).items()}
        self.norms = {
            by_id[id(layer.moving_mean)]: layer
            for layer in with_itself(model)
            if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        }
        self.frozen_layers: int | None = None

    def stops(self) -> list[int]:
        stage = self.training.config.unfreeze_every * self.training.steps
        return list(range(stage, self.training.total, stage))

    def before_fit(self) -> None:
        self._enter(self.training.step // self.training.steps)

    @contextlib.contextmanager
    def around_fit(self) -> Iterator[None]:
        try:
            yield
        finally:  # all layers are trainable in the model that is saved
            self._enter(self.training.config.epochs)

    def _enter(self, epoch: int) -> None:
        """Let the layers train that do so in an epoch, counted from 0."""
        training = self.training
        count = max(len(self.waiting) - epoch // training.config.unfreeze_every, 0)
        if count == self.frozen_layers:
            return
        self.frozen_layers, frozen = count, {name for group in self.waiting[:count] for name in group}
        training.model.optimizer.rates = tuple(
            0.0 if name in frozen else rate for name, rate in zip(self.names, self.given, strict=True)
        )
        for name, layer in self.norms.items():
            layer._trainable = name not in frozen  # the public property would take scale and offset from the optimizer
        training.model.train_function = None  # it was traced with the rates before
        if training.verbose and epoch < training.config.epochs:
            count = sum(name not in frozen for name in self.names)
            print(f"from epoch {epoch + 1}: {count} of {len(self.names)} variables are trained", file=sys.stderr)


def check(model: keras.Model, config: TrainConfig, order: layerwise.Order, random: Sequence[str]) -> None:
    """Raise UsageError unless every layer is trained in the end, and none is frozen while its weights are random.

    Args:
        model: Built model; weights that are never trained are already frozen.
        config: Configuration of the training.
        order: Layers in the order of their use.
        random: Names of weights that are random.
    """
    groups = waiting(model, order)
    said = f"--unfreeze-every {config.unfreeze_every}"
    if not groups:
        raise UsageError(f"{said}: expected two or more layers to train, received one")
    if found := [name for group in groups for name in group if name in random]:
        raise UsageError(
            f"{said}: expected copied weights below the last layer; {', '.join(found[:3])} would be frozen while random"
        )
    if (least := len(groups) * config.unfreeze_every + 1) > config.epochs:
        raise UsageError(
            f"{said}: expected --epochs {least} or more, so that all {len(groups) + 1} layers are trained, received"
            f" {config.epochs}"
        )


def waiting(model: keras.Model, order: layerwise.Order) -> list[list[str]]:
    """Return the layers that are frozen at the start, by the names of their weights; the first of them waits longest.

    Layers without trainable weights are left out.
    """
    trained = layerwise.trained(model)
    return [group for group in order.groups if any(name in trained for name in group)][:-1]
