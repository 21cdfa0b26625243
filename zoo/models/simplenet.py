"""SimpleNet: a multi-layer perceptron. Also the `large` and `small` of the distillation pair."""

import keras
from keras import layers

from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import check_positive, logits_dtype


@keras.saving.register_keras_serializable("zoo")
class SimpleNet(ZooModel):
    """Flatten, Dense layers with an activation, Dense classes.

    Args:
        num_classes: number of classes.
        units: width of each hidden layer; as many layers as numbers.
        activation: any name of `keras.activations`.
        initializer: any name of `keras.initializers`, for the hidden kernels: glorot_uniform (Glorot & Bengio,
            2010, also called Xavier), he_normal (He et al., 2015), ...
        dropout: share of hidden units dropped in training, in [0, 1).

    Input shape: (batch, ...), pixels in [0, 1] or features.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: a width that is not positive, or an activation or initializer that Keras does not know.
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
        # Each layer is given the model's policy: from the global one, a loaded bfloat16 model would be float32.
        policy = self.dtype_policy
        self.flatten = layers.Flatten(dtype=policy, name="flatten")
        # Named, so that a recipe can address a layer, and an exported file shows the same names in any process.
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
            "units": tuple(layer.units for layer in self.hidden),  # fewer, once channels were taken out
            "activation": self.activation,
            "initializer": self.initializer,
            "dropout": self.dropout,
        }
