"""Optimizers, registered beside the models: a saved model names what it was compiled with."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class AdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter, 2019), on TensorFlow in one pass over a variable and its moments, not in ten.

    Arguments are those of Keras', and so are the numbers, but for rounding, with one exception. The gradient of a table
    comes as rows, of which the same may come twice: Keras takes norm and squares of each of them, here they are added
    up first, as Keras has it on JAX.
    """

    def _clip_gradients(self, grads: list) -> list:
        # What Keras does first with gradients, and `strategies.keras_fit` once replicas have added theirs up.
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            grads = [None if gradient is None else tf.convert_to_tensor(gradient) for gradient in grads]
        return super()._clip_gradients(grads)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        index, kind = self._get_variable_index(variable), variable.dtype
        beta_1, beta_2, epsilon = (tf.constant(x, kind) for x in (self.beta_1, self.beta_2, self.epsilon))
        step = ops.cast(self.iterations + 1, kind)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=ops.power(beta_1, step),
            beta2_power=ops.power(beta_2, step),
            lr=ops.cast(learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=epsilon,
            grad=tf.cast(gradient, kind),
        )

    def _apply_weight_decay(self, variables: Any) -> None:
        if self.weight_decay:  # Keras multiplies by 0 as well
            super()._apply_weight_decay(variables)


class _Scaled:
    """An optimizer whose learning rate is another one for each trainable variable.

    Two time scales (Heusel et al., 2017), and rates that fall with depth (Howard & Ruder, 2018). Decay is by the
    variable's own rate as well, so 0 leaves it as it is, to the bit; running means of its gradients go on.

    Args:
        rates: what the learning rate is multiplied by, a number for each variable, in the order of the model's
            `trainable_variables`.
        kwargs: of the optimizer of Keras.
    """

    def __init__(self, rates: tuple[float, ...], **kwargs):
        super().__init__(**kwargs)
        self.rates = tuple(rates)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        learning_rate = learning_rate * self.rates[self._get_variable_index(variable)]
        if self.weight_decay and self._use_weight_decay(variable):
            rate = keras.ops.cast(learning_rate, variable.dtype)
            self.assign_sub(variable, variable * self.weight_decay * rate)
        super().update_step(gradient, variable, learning_rate)

    def _apply_weight_decay(self, variables: Any) -> None:
        """Do nothing: Keras would decay all by the common rate."""

    def get_config(self) -> dict:
        return super().get_config() | {"rates": self.rates}


@keras.saving.register_keras_serializable("zoo")
class ScaledAdamW(_Scaled, AdamW):
    """AdamW with a learning rate for each variable."""


@keras.saving.register_keras_serializable("zoo")
class ScaledSGD(_Scaled, keras.optimizers.SGD):
    """SGD with a learning rate for each variable."""


@keras.saving.register_keras_serializable("zoo")
class ScaledAdagrad(_Scaled, keras.optimizers.Adagrad):
    """Adagrad with a learning rate for each variable."""
