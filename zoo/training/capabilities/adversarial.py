"""Adversarial training (`--adversarial`): every batch is attacked before the model learns from it."""

from typing import Any

import keras

from zoo.config import attacks
from zoo.config.train_config import TrainConfig
from zoo.objectives.adversarial import Withstanding
from zoo.training.building import attacked
from zoo.training.capabilities.base import Capability


class AdversarialTraining(Capability):
    """Train on adversarial examples and evaluate on the examples as they are.

    The batches hold the random starts of the attack; the task makes them.
    """

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return config.adversarial is not None

    def check(self) -> None:
        """Raise UsageError unless the attack can be made on these data."""
        attack, spec = attacks.parse(self.training.config.adversarial), self.training.data.spec
        attacks.check_inputs(f"--adversarial with {spec.name}", spec.task, spec.kind, spec.per_step)
        attacks.check_range(f"--adversarial {attack.word}: eps", attack.eps, spec.kind)

    def wrap(self, model: keras.Model) -> keras.Model:
        attack = attacks.parse(self.training.config.adversarial)
        return Withstanding(attacked(attack, self.training.data.spec, model))
