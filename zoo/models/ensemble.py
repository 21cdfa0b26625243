"""Ensemble: several trained classifiers as one, by voting or stacking, with a temperature."""

from typing import Any

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel

# A mean of probabilities below it counts as this, so that its logarithm stays finite.
SMALLEST = 1e-12
# The same of one member's log-probability that a head is given, about log(1e-7): no single answer outweighs all others.
FAINTEST = -16.0


@keras.saving.register_keras_serializable("zoo")
class Ensemble(ZooModel):
    """Classifiers that answer together: log of the weighted mean of their probabilities, or a head over them all.

    The mean of probabilities is soft voting; of networks that differ by their seed it is a deep ensemble
    (Lakshminarayanan et al., 2017). The head is stacking (Wolpert, 1992).

    Args:
        members: built models that give logits of the same classes, or what `get_config` made of them.
        weights: of each member's probabilities, together 1. Default, all the same.
        head_units: classes of a Dense layer over the log-probabilities of all members, in place of a mean; 0: none.
        temperature: what the logits are divided by (Guo et al., 2017).

    Input shape: that of every member.
    Output shape: that of every member, (batch, classes) or (batch, time, classes): logits.

    Raises:
        ValueError: no members, weights that are not one a member or not together 1, weights beside a head, or a
            temperature that is not positive.
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
            raise ValueError(f"ensemble: expected {len(members)} weights, one a member, received {len(weights)}")
        if weights is not None and (min(weights) < 0 or abs(sum(weights) - 1) > 1e-6):
            raise ValueError(f"ensemble: expected weights of 0 or more, together 1, received {tuple(weights)}")
        if temperature <= 0:
            raise ValueError(f"ensemble: expected a positive temperature, received {temperature}")
        self.members = [keras.saving.deserialize_keras_object(m) if isinstance(m, dict) else m for m in members]
        self.weighing = None if weights is None else tuple(weights)  # a Keras model has `weights` of its own
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
        """Return the logits of all members together, before the temperature.

        Args:
            answers: the logits of each member.
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
