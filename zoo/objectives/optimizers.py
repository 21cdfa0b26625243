"""Optimizers, registered with Keras because a saved model refers to the optimizer that it was compiled with."""

from typing import Any

import keras
from keras import ops


@keras.saving.register_keras_serializable("zoo")
class AdamW(keras.optimizers.AdamW):
    """AdamW (Loshchilov & Hutter, 2019) with a fused update on TensorFlow: one pass over memory instead of ten.

    Arguments are those of `keras.optimizers.AdamW`. The results are the same up to rounding, with one exception. The
    gradient of an embedding is sparse and may contain the same row several times. Keras on TensorFlow takes the norm
    and the squares of each of them; here they are summed first, as in Keras on JAX.
    """

    def _clip_gradients(self, grads: list) -> list:
        # The first thing that Keras does with the gradients; `strategies.keras_fit` calls it after their all-reduce.
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
        if self.weight_decay:  # Keras would multiply by 0
            super()._apply_weight_decay(variables)


class _Scaled:
    """An optimizer with a separate learning rate for each trainable variable.

    It serves two time scales (Heusel et al., 2017) and discriminative learning rates by depth (Howard & Ruder, 2018).
    Weight decay uses the variable's own rate too, so a variable with rate 0 does not change at all; the moments of its
    gradients are still updated.

    Args:
        rates: Factor on the learning rate for each variable, in the order of the model's `trainable_variables`.
        kwargs: Arguments of the Keras optimizer.
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
        """Do nothing: Keras would decay all variables by the common rate."""

    def get_config(self) -> dict:
        return super().get_config() | {"rates": self.rates}


@keras.saving.register_keras_serializable("zoo")
class ScaledAdamW(_Scaled, AdamW):
    """AdamW with a separate learning rate for each variable."""


@keras.saving.register_keras_serializable("zoo")
class ScaledSGD(_Scaled, keras.optimizers.SGD):
    """SGD with a separate learning rate for each variable."""


@keras.saving.register_keras_serializable("zoo")
class ScaledAdagrad(_Scaled, keras.optimizers.Adagrad):
    """Adagrad with a separate learning rate for each variable."""
