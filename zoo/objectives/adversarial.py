"""Adversarial examples for a built model, and adversarial training, written with `keras.ops`.

Each step moves an example by the sign of the gradient of its loss and clips it to a distance of eps from the original.
One step is FGSM (Goodfellow et al., 2015), several are PGD (Madry et al., 2018). The attack runs the model in inference
mode: dropout is off, and batch normalisation uses its moving averages and does not update them.
"""

import keras
from keras import ops

from zoo.objectives.gradients import gradient


class Attacked(keras.Model):
    """An attack on a model, without weights of its own: it maps examples to adversarial examples.

    Args:
        model: Built model under attack, which returns logits.
        eps: Largest change of a value (L-infinity norm).
        step: Change of a value in one step.
        steps: Number of steps.
        bounds: Smallest and largest allowed value; None for no bounds.

    Call arguments, as one tuple:
        x: Examples (batch, ...).
        y: Class indices (batch,).
        start: Starting points (batch, ...), as offsets from the examples in units of eps, in [-1, 1].

    Output shape: (batch, ...), the adversarial examples, without a gradient.
    """

    def __init__(
        self, model: keras.Model, eps: float, step: float, steps: int, bounds: tuple[float, float] | None = None
    ):
        # Inputs and outputs have the precision of the weights, even if the model computes with a lower one.
        super().__init__(name="attacked", dtype=keras.DTypePolicy(model.dtype_policy.variable_dtype))
        self.model = model
        self.eps = eps
        self.step = step
        self.steps = steps
        self.bounds = bounds
        self.built = True

    def call(self, inputs):
        x, y, start = inputs
        weights = [ops.stop_gradient(ops.convert_to_tensor(v)) for v in self.model.trainable_variables]
        state = [ops.convert_to_tensor(v) for v in self.model.non_trainable_variables]

        def loss(at):
            logits, _ = self.model.stateless_call(weights, state, at, training=False)
            return keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True)

        def inside(at):
            at = ops.clip(at, x - self.eps, x + self.eps)
            return at if self.bounds is None else ops.clip(at, *self.bounds)

        def one(_, at):
            return inside(at + self.step * ops.sign(gradient(loss, at)))

        return ops.stop_gradient(ops.fori_loop(0, self.steps, one, inside(x + self.eps * start)))


class Withstanding(keras.Model):
    """A model that is trained on adversarial examples and evaluated on clean ones.

    Args:
        attacked: Attack on the model to train.

    Call arguments: those of `Attacked`; outside training, the examples alone are accepted too.

    Output shape: that of the model.
    """

    def __init__(self, attacked: Attacked):
        super().__init__(name="withstanding", dtype=attacked.dtype_policy)
        self.attacked = attacked
        self.built = True

    def call(self, inputs, training=None):
        if training:
            return self.attacked.model(self.attacked(inputs), training=True)
        x = inputs[0] if isinstance(inputs, (tuple, list)) else inputs
        return self.attacked.model(x, training=False)
