"""SimpleNet: a multi-layer perceptron. The registry's `large` and `small`, a pair for distillation, use it too."""

import keras
from keras import layers

from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import check_positive, logits_dtype


@keras.saving.register_keras_serializable("zoo")
class SimpleNet(ZooModel):
    """Flatten, hidden Dense layers with an activation, and Dense classes.

    Args:
        num_classes: Number of classes.
        units: Width of each hidden layer; the number of entries is the number of layers.
        activation: Name of a function in `keras.activations`.
        initializer: Name of an initializer in `keras.initializers` for the hidden kernels, such as "glorot_uniform"
            (Glorot & Bengio, 2010, also called Xavier) or "he_normal" (He et al., 2015).
        dropout: Dropout rate after each hidden layer, in [0, 1).

    Input shape: (batch, ...), pixels in [0, 1] or features.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: If a width is not positive, or if Keras does not know the activation or the initializer.
    """

    WIDTHS = {"units": 1}

    def __init__(
        self,
        num_classes: int = 10,
        units: tuple[int, ...] = (128,),
        activation: str = "relu",
        initializer: str = "glorot_uniform",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("simplenet", num_classes=num_classes, units=tuple(units))
        self.num_classes = num_classes
        self.units = tuple(units)
        self.activation = activation
        self.initializer = initializer
        self.dropout = dropout
        # Every layer gets the model's policy. With the global policy, a bfloat16 model would load as float32.
        policy = self.dtype_policy
        self.flatten = layers.Flatten(dtype=policy, name="flatten")
        # Explicit names let recipes address a layer and make exported files the same in every process.
        self.hidden = [
            layers.Dense(n, activation, kernel_initializer=initializer, dtype=policy, name=f"hidden_{i}")
            for i, n in enumerate(self.units, 1)
        ]
        self.drop = [layers.Dropout(dropout, dtype=policy, name=f"drop_{i + 1}") for i in range(len(self.units))]
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        width = 1
        for size in input_shape[1:]:
            width *= size
        for layer in [*self.hidden, self.head]:
            layer.build((None, width))
            width = layer.units
        self.built = True

    def call(self, x, training=None):
        x = self.flatten(x)
        for hidden, drop in zip(self.hidden, self.drop, strict=True):
            x = drop(hidden(x), training=training)
        return self.head(x)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "units": tuple(layer.units for layer in self.hidden),  # as built: channel pruning makes them smaller
            "activation": self.activation,
            "initializer": self.initializer,
            "dropout": self.dropout,
        }
