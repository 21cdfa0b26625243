"""Optimizers, registered beside the models: a saved model names what it was compiled with."""

from typing import Any

import keras


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
class ScaledAdamW(_Scaled, keras.optimizers.AdamW):
    """AdamW with a learning rate for each variable."""


@keras.saving.register_keras_serializable("zoo")
class ScaledSGD(_Scaled, keras.optimizers.SGD):
    """SGD with a learning rate for each variable."""


@keras.saving.register_keras_serializable("zoo")
class ScaledAdagrad(_Scaled, keras.optimizers.Adagrad):
    """Adagrad with a learning rate for each variable."""
