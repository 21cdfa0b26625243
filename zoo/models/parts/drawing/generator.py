"""The generator of a GAN: transposed convolutions, or Dense layers only."""

from typing import Literal

import keras
from keras import layers

from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import check_positive, logits_dtype

STRIDE = 2


def first_map(image_shape: tuple[int, int, int], doublings: int) -> tuple[int, int]:
    """Return the height and width that reach an image's after a number of doublings.

    Args:
        image_shape: (height, width, channels) of the image.
        doublings: Number of times that height and width double.

    Raises:
        ValueError: If the image's height or width cannot be halved that often.
    """
    height, width, _ = image_shape
    factor = STRIDE**doublings
    if height % factor or width % factor:
        near = max(factor, round(max(height, width) / factor) * factor)
        raise ValueError(
            f"gan: filters: expected images whose height and width are multiples of {factor} for {doublings} doublings,"
            f" received {height}x{width}; use --image-size {near}, other filters or --set architecture=dense"
        )
    return height // factor, width // factor


@keras.saving.register_keras_serializable("zoo")
class Generator(ZooModel):
    """A generator of images.

    "dcgan" (Radford et al., 2016) has a Dense layer to a small map, then transposed convolutions of stride 2, each of
    which doubles the map. "dense" (Goodfellow et al., 2014) has Dense layers. Batch normalisation and relu follow every
    layer except the last.

    Args:
        image_shape: (height, width, channels) of an image.
        architecture: "dcgan" or "dense".
        filters: Channels of the maps of "dcgan", starting with the smallest map; each entry is one doubling.
        kernel_size: Height and width of the kernels of "dcgan".
        units: Width of each layer of "dense" except the last.
        batch_norm: Whether to use batch normalisation (Ioffe & Szegedy, 2015); without it the layers have biases.

    Input shape: (batch, code size), standard normal noise, followed by the one-hot class if the model is conditional.
    Output shape: (batch, height, width, channels), pixels in [0, 1].

    Raises:
        ValueError: If the architecture is unknown, if a size is not positive, or if the image's height or width cannot
            be halved once per entry of `filters`.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        architecture: Literal["dcgan", "dense"] = "dcgan",
        filters: tuple[int, ...] = (64, 32),
        kernel_size: int = 4,
        units: tuple[int, ...] = (256, 512),
        batch_norm: bool = True,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if architecture not in ("dcgan", "dense"):
            raise ValueError(f"gan: architecture: expected 'dcgan' or 'dense', received {architecture!r}")
        check_positive("gan", filters=tuple(filters), kernel_size=kernel_size, units=tuple(units))
        self.image_shape = tuple(image_shape)
        self.architecture = architecture
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.units = tuple(units)
        self.batch_norm = batch_norm
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        height, width, channels = self.image_shape
        last = {"activation": "sigmoid", "dtype": logits_dtype(policy), "name": "image"}
        common = {"use_bias": not batch_norm, "dtype": policy}
        if architecture == "dcgan":
            rows, columns = first_map(self.image_shape, len(self.filters))
            up = {"kernel_size": kernel_size, "strides": STRIDE, "padding": "same"}
            self.hidden = [
                layers.Dense(rows * columns * self.filters[0], name="project", **common),
                *(
                    layers.Conv2DTranspose(n, name=f"conv_{i}", **up, **common)
                    for i, n in enumerate(self.filters[1:], 1)
                ),
            ]
            self.first = layers.Reshape((rows, columns, self.filters[0]), dtype=policy, name="first")
            self.image = layers.Conv2DTranspose(channels, **up, **last)
        else:
            self.hidden = [layers.Dense(n, name=f"hidden_{i}", **common) for i, n in enumerate(self.units, 1)]
            self.image = layers.Dense(height * width * channels, **last)
            self.shaped = layers.Reshape(self.image_shape, dtype=logits_dtype(policy), name="shaped")
        norms = len(self.hidden) if batch_norm else 0
        self.norms = [layers.BatchNormalization(dtype=policy, name=f"norm_{i + 1}") for i in range(norms)]
        self.activate = layers.Activation("relu", dtype=policy, name="activation")

    def build(self, input_shape):
        shape = tuple(input_shape)
        for index, layer in enumerate(self.hidden):
            layer.build(shape)
            shape = layer.compute_output_shape(shape)
            if index == 0 and self.architecture == "dcgan":
                shape = self.first.compute_output_shape(shape)
            if self.batch_norm:
                self.norms[index].build(shape)
        self.image.build(shape)
        self.built = True

    def call(self, code, training=None):
        x = code
        for index, layer in enumerate(self.hidden):
            x = layer(x)
            if index == 0 and self.architecture == "dcgan":
                x = self.first(x)
            if self.batch_norm:
                x = self.norms[index](x, training=training)
            x = self.activate(x)
        x = self.image(x)
        return x if self.architecture == "dcgan" else self.shaped(x)

    def get_config(self):
        return super().get_config() | {
            "image_shape": self.image_shape,
            "architecture": self.architecture,
            "filters": self.filters,
            "kernel_size": self.kernel_size,
            "units": self.units,
            "batch_norm": self.batch_norm,
        }
