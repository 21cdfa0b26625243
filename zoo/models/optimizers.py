"""Optimizers, registered beside the models: a saved model names what it was compiled with."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("zoo")
class ScaledAdamW(keras.optimizers.AdamW):
    """AdamW whose learning rate is another one for some parts of a model: two time scales (Heusel et al., 2017).

    Args:
        rates: for the name of a part, what its variables' learning rate is multiplied by. Decay is by the common rate.
        kwargs: of `keras.optimizers.AdamW`.
    """

    def __init__(self, rates: dict[str, float] | None = None, **kwargs):
        super().__init__(**kwargs)
        self.rates = dict(rates or {})

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        # TensorFlow gives its own variable, which has no path.
        parts = self._trainable_variables[self._get_variable_index(variable)].path.split("/")
        for name, rate in self.rates.items():
            learning_rate = learning_rate * rate if name in parts else learning_rate
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict:
        return super().get_config() | {"rates": self.rates}
