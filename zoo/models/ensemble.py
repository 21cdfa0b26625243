"""Ensemble: several trained classifiers combined into one by soft voting or stacking, with a temperature."""

from typing import Any

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel

# Lower bound of a mean probability, which keeps its logarithm finite.
SMALLEST = 1e-12
# Lower bound of a member's log-probability as input of the head, about log(1e-7): no member outweighs all others.
FAINTEST = -16.0


@keras.saving.register_keras_serializable("zoo")
class Ensemble(ZooModel):
    """Several classifiers as one: the log of the weighted mean of their probabilities, or a trained head on top.

    The mean of probabilities is soft voting; with networks that differ in their seed it is a deep ensemble
    (Lakshminarayanan et al., 2017). The head is stacking (Wolpert, 1992).

    Args:
        members: Built models that return logits for the same classes, or their serialized configurations.
        weights: Weight of each member's probabilities; their sum is 1. None for equal weights.
        head_units: Number of classes of a Dense layer on the log-probabilities of all members, which replaces the
            mean; 0 for no such layer.
        temperature: Divisor of the logits (Guo et al., 2017), above 0.

    Input shape: that of every member.
    Output shape: that of every member, (batch, classes) or (batch, time, classes), logits.

    Raises:
        ValueError: If there are no members, if the weights do not match the members or do not sum to 1, if both
            weights and a head are given, or if the temperature is not positive.
    """

    def __init__(
        self,
        members: list,
        weights: tuple[float, ...] | None = None,
        head_units: int = 0,
        temperature: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if not members:
            raise ValueError("ensemble: expected members, received none")
        if weights is not None and head_units:
            raise ValueError("ensemble: expected weights or a head, received both")
        if weights is not None and len(weights) != len(members):
            raise ValueError(f"ensemble: expected {len(members)} weights, one per member, received {len(weights)}")
        if weights is not None and (min(weights) < 0 or abs(sum(weights) - 1) > 1e-6):
            raise ValueError(f"ensemble: expected weights of 0 or more that sum to 1, received {tuple(weights)}")
        if temperature <= 0:
            raise ValueError(f"ensemble: expected a positive temperature, received {temperature}")
        self.members = [keras.saving.deserialize_keras_object(m) if isinstance(m, dict) else m for m in members]
        self.weighing = None if weights is None else tuple(weights)  # `weights` is taken by keras.Model
        self.head_units = head_units
        self.temperature = temperature
        self.head = layers.Dense(head_units, name="head") if head_units else None

    def build(self, input_shape):
        for member in self.members:
            if not member.built:
                member.build(input_shape)
        if self.head is not None:
            self.head.build((None, len(self.members) * self.head_units))
        self.built = True

    def call(self, x, training=None):
        answers = [member(x, training=training) for member in self.members]
        return self.combined(answers) / self.temperature

    def combined(self, answers: list[Any]) -> Any:
        """Return the combined logits, before the temperature.

        Args:
            answers: Logits of each member.
        """
        if self.head is not None:
            return self.head(
                ops.concatenate([ops.maximum(ops.log_softmax(each), FAINTEST) for each in answers], axis=-1)
            )
        if len(answers) == 1:
            return answers[0]
        weighing = self.weighing or [1 / len(answers)] * len(answers)
        mean = sum(weight * ops.softmax(each) for weight, each in zip(weighing, answers, strict=True))
        return ops.log(ops.maximum(mean, SMALLEST))

    def get_config(self):
        return super().get_config() | {
            "members": [keras.saving.serialize_keras_object(member) for member in self.members],
            "weights": self.weighing,
            "head_units": self.head_units,
            "temperature": self.temperature,
        }
