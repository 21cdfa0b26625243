"""Differentially private training (DP-SGD, Abadi et al., 2016), written with `keras.ops`.

The gradient of each example is clipped to a norm. The clipped gradients are summed, noise is added to the sum, and the
result, divided by the expected batch size, is the gradient that the Keras optimizer receives.
"""

import math
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from zoo.introspection.layers import with_itself
from zoo.objectives.gradients import gradient


class Private(keras.Model):
    """A model whose weights are updated with clipped and noisy per-example gradients.

    Examples pass through the model one at a time, so the loss of an example depends on that example only. Losses that
    the model adds itself, such as weight decay, are added without clipping or noise: they do not depend on the data.

    Args:
        model: Built model that returns logits and that `unfit` accepts.
        loss: Function of labels (batch,) and logits (batch, classes) that returns one loss per example.
        clip: Largest L2 norm of an example's gradient, over all weights together.
        noise: Standard deviation of the noise added to each value of the sum, in units of `clip`.
        batch: Expected number of examples in a step, the divisor of the sum.
        at_once: Number of examples whose gradients are in memory at the same time.

    Call arguments, as one tuple; outside training, the examples alone are accepted too:
        x: Examples (places, ...), where `places` is a multiple of `at_once`.
        y: Class indices (places,).
        present: 1 for an example, 0 for an empty place, (places,). Empty places come last.
        drawn: Standard normal noise (parameters,).

    Output shape: that of the model.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Callable[[Any, Any], Any],
        *,
        clip: float,
        noise: float,
        batch: int,
        at_once: int,
    ):
        super().__init__(name="private", dtype=keras.DTypePolicy(model.dtype_policy.variable_dtype))
        self.model = model
        self.loss_of = loss
        self.clip = clip
        self.noise = noise
        self.batch = batch
        self.at_once = at_once
        # Totals over all steps. They are variables, so a checkpoint keeps them.
        self.seen = self.add_weight(name="seen", initializer="zeros", trainable=False)
        self.clipped = self.add_weight(name="clipped", initializer="zeros", trainable=False)
        self.built = True

    def call(self, inputs, training=None):
        if not training:
            return self.model(inputs[0] if isinstance(inputs, (tuple, list)) else inputs, training=False)
        x, y, present, drawn = inputs
        total, clipped = self.clipped_sum(x, y, present)
        self.seen.assign_add(ops.sum(present))
        self.clipped.assign_add(clipped)
        product = 0.0  # its gradient is the private gradient; its value is subtracted again below
        start = 0
        for variable, part in zip(self.model.trainable_variables, total, strict=True):
            size = math.prod(variable.shape)
            noise = ops.reshape(ops.cast(drawn[start : start + size], part.dtype), variable.shape)
            step = ops.stop_gradient((part + self.noise * self.clip * noise) / self.batch)
            product += ops.sum(step * variable)
            start += size
        self.add_loss(product - ops.stop_gradient(product))
        return ops.stop_gradient(self.model(x, training=True))

    def clipped_sum(self, x: Any, y: Any, present: Any) -> tuple[list[Any], Any]:
        """Return the sum of the clipped gradients, one tensor per weight, and the number of gradients above the limit.

        Args:
            x: Examples (places, ...).
            y: Class indices (places,).
            present: 1 for an example, 0 for an empty place, (places,).
        """
        weights = [ops.stop_gradient(ops.convert_to_tensor(v)) for v in self.model.trainable_variables]
        state = [ops.convert_to_tensor(v) for v in self.model.non_trainable_variables]

        def of_one(example):
            one, label = (ops.expand_dims(part, 0) for part in example)

            def loss(at):
                logits, _ = self.model.stateless_call(at, state, one, training=True)
                return self.loss_of(label, logits)

            return gradient(loss, weights)

        def of_some(index, sums):
            some_x, some_y, there = (part[index] for part in parts)
            if self.at_once == 1:
                gradients = [ops.expand_dims(g, 0) for g in of_one((some_x[0], some_y[0]))]
            else:
                gradients = ops.vectorized_map(of_one, (some_x, some_y))
            norms = ops.sqrt(sum(ops.sum(ops.square(ops.reshape(g, (self.at_once, -1))), axis=1) for g in gradients))
            there = ops.cast(there, norms.dtype)
            factors = there * self.clip / ops.maximum(norms, self.clip)
            total = [t + ops.tensordot(factors, g, axes=1) for t, g in zip(sums[0], gradients, strict=True)]
            return total, sums[1] + ops.sum(there * ops.cast(norms > self.clip, norms.dtype))

        shape = (x.shape[0] // self.at_once, self.at_once)
        parts = [ops.reshape(part, (*shape, *part.shape[1:])) for part in (x, y, present)]
        needed = ops.cast(ops.ceil(ops.sum(present) / self.at_once), "int32")
        none = [ops.zeros_like(w) for w in weights]
        return ops.fori_loop(0, needed, of_some, (none, ops.zeros((), weights[0].dtype)))


def unfit(model: keras.Model) -> str | None:
    """Return what prevents private training of a built model, as part of a sentence, or None."""
    for layer in with_itself(model):
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable:
            return f"the batch normalisation {layer.name}, which mixes the examples of a batch"
        if getattr(layer, "activity_regularizer", None) is not None:
            return f"the activity regulariser of {layer.name}, whose loss is not clipped"
    weights = {id(v) for v in model.weights}
    if drawn := [v for v in model.non_trainable_variables if id(v) not in weights]:
        return f"random numbers ({drawn[0].path}), which are generated for a whole batch"
    return None
