"""Adversarial examples of a built model, and training on them, in keras.ops alone.

An example is moved up the gradient of its loss, by the sign of each number, and kept within eps of where it was: one
step is FGSM (Goodfellow et al., 2015), several are PGD (Madry et al., 2018). The model is asked as in inference: its
dropout is off, and its batch normalisations use and keep the averages that they have.
"""

import keras
from keras import ops

from zoo.objectives.gradients import gradient


class Attacked(keras.Model):
    """What an attack makes of examples; it has no weights of its own.

    Args:
        model: built, gives logits; it is what is attacked.
        eps: the most that a number of an example is changed by.
        step: by how much each step changes it.
        steps: how many there are.
        bounds: the least and the largest that a number may be; None where there are none.

    Call arguments, a tuple of three:
        x: (batch, ...), the examples.
        y: (batch,), their class indices.
        start: (batch, ...), where the attack begins, in [-1, 1] times eps from the examples.

    Output: (batch, ...), the changed examples, which have no gradient.
    """

    def __init__(
        self, model: keras.Model, eps: float, step: float, steps: int, bounds: tuple[float, float] | None = None
    ):
        # What is given and returned has the precision of weights, also where the model computes in less.
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
    """A model that is trained on what an attack makes of each batch, and evaluated on examples as they are.

    Args:
        attacked: the attack, of the model that is trained.

    Call arguments: in training those of `Attacked`, else also the examples alone.
    Output: the model's.
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
