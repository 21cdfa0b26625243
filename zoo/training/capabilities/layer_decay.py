"""Layer-wise learning rates (`--layer-decay`): the further a layer is from the output, the more slowly it learns."""

from typing import Any

from zoo.config.train_config import TrainConfig
from zoo.training import layerwise
from zoo.training.capabilities.base import Capability


class LayerDecay(Capability):
    """Multiply the learning rate of each layer by the decay to the power of its distance from the output."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return bool(config.layer_decay)

    def rates(self, rates: tuple[float, ...]) -> tuple[float, ...]:
        return layerwise.decayed(self.training.plain, self.training.order, self.training.config.layer_decay, rates)
