"""The discriminator of a GAN: convolutions, or Dense layers only."""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import logits_dtype
from zoo.models.parts.normalization import LayerNormalization

SLOPE = 0.2  # negative slope of LeakyReLU in DCGAN
STRIDE = 2


@keras.saving.register_keras_serializable("zoo")
class Discriminator(ZooModel):
    """A discriminator of real and generated images.

    "dcgan" halves the image with convolutions of stride 2; "dense" has Dense layers. LeakyReLU follows each layer. A
    conditional discriminator adds the inner product of the class embedding and the image features to the logit
    (projection discriminator, Miyato & Koyama, 2018).

    Args:
        architecture: "dcgan" or "dense".
        filters: Output channels of each convolution of "dcgan".
        kernel_size: Height and width of the kernels of "dcgan".
        units: Width of each layer of "dense".
        norm: Normalisation after every layer except the first: "none", "batch" (Radford et al., 2016) or "layer".

    Call arguments:
        images: Images (batch, height, width, channels), pixels in [0, 1].
        classes: One-hot classes (batch, classes), or (batch, 0) for an unconditional model.

    Output shape: (batch, 1), logits, positive for images judged real.
    """

    def __init__(
        self,
        architecture: Literal["dcgan", "dense"] = "dcgan",
        filters: tuple[int, ...] = (32, 64),
        kernel_size: int = 4,
        units: tuple[int, ...] = (512, 256),
        norm: Literal["none", "batch", "layer"] = "none",
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.architecture = architecture
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.units = tuple(units)
        self.norm = norm
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        if architecture == "dcgan":
            down = {"kernel_size": kernel_size, "strides": STRIDE, "padding": "same", "dtype": policy}
            self.hidden = [layers.Conv2D(n, name=f"conv_{i}", **down) for i, n in enumerate(self.filters, 1)]
        else:
            self.hidden = [layers.Dense(n, dtype=policy, name=f"hidden_{i}") for i, n in enumerate(self.units, 1)]
        kinds = {"batch": layers.BatchNormalization, "layer": LayerNormalization}
        count = len(self.hidden) - 1 if norm in kinds else 0
        self.norms = [kinds[norm](dtype=policy, name=f"norm_{i + 2}") for i in range(count)]
        self.flatten = layers.Flatten(dtype=policy, name="flatten")
        self.head = layers.Dense(1, dtype=logits_dtype(policy), name="head")
        self.of_class = None

    def build(self, images_shape, classes_shape):
        shape = tuple(images_shape)
        if self.architecture == "dense":
            shape = self.flatten.compute_output_shape(shape)
        for index, layer in enumerate(self.hidden):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            if index and self.norms:
                self.norms[index - 1].build(shape)
        shape = self.flatten.compute_output_shape(shape)
        self.head.build(shape)
        if classes_shape[-1]:
            policy = logits_dtype(self.dtype_policy)
            self.of_class = layers.Dense(shape[-1], use_bias=False, dtype=policy, name="of_class")
            self.of_class.build(tuple(classes_shape))
        self.built = True

    def call(self, images, classes, training=None):
        x = images if self.architecture == "dcgan" else self.flatten(images)
        for index, layer in enumerate(self.hidden):
            x = layer(x)
            if index and self.norms:
                x = self.norms[index - 1](x, training=training)
            x = ops.maximum(x, SLOPE * x)  # TensorFlow's graph optimizer fails on the gradient of LeakyRelu
        x = self.flatten(x)
        logits = self.head(x)
        if self.of_class is None:
            return logits
        return logits + ops.sum(self.of_class(classes) * ops.cast(x, logits.dtype), axis=-1, keepdims=True)

    def get_config(self):
        return super().get_config() | {
            "architecture": self.architecture,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "units": self.units,
            "norm": self.norm,
        }
