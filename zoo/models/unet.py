"""U-Net (Ronneberger et al., 2015, arXiv:1505.04597): a network that narrows, one that widens, and skips between them.

Differs from the paper: convolutions are padded, so that every pixel has an answer; they have batch normalisation; and
there are a quarter of the filters unless more are asked for. With 64 filters, grey pictures and two classes it has
31,036,546 trainable weights: the 31,030,658 of the paper's network, with a scale and a shift in place of each bias.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.base import NarrowedModel
from zoo.models.parts.convolutions import ConvNorm
from zoo.models.parts.layers import check_positive, logits_dtype


class Convolutions(layers.Layer):
    """Two 3x3 convolutions with relu.

    Args:
        filters: Channels of both.
    """

    def __init__(self, filters: tuple[int, int], **kwargs):
        super().__init__(**kwargs)
        shared = {"activation": "relu", "dtype": self.dtype_policy}
        self.first = ConvNorm(filters[0], 3, name="first", **shared)
        self.second = ConvNorm(filters[1], 3, name="second", **shared)

    def build(self, input_shape):
        self.first.build(input_shape)
        self.second.build(self.first.compute_output_shape(input_shape))
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.second.compute_output_shape(self.first.compute_output_shape(input_shape))

    def call(self, x, training=None):
        return self.second(self.first(x, training=training), training=training)


class Up(layers.Layer):
    """An upsampling to the size of a skip, which is joined to it, and two convolutions.

    Args:
        up: "transpose", a transposed 2x2 convolution, or "resize", a bilinear enlargement and a 1x1 convolution.
        risen: Channels of the upsampling.
        filters: Channels of the convolutions.
    """

    def __init__(self, up: Literal["transpose", "resize"], risen: int, filters: tuple[int, int], **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.enlarge = None
        if up == "transpose":
            self.rise = layers.Conv2DTranspose(risen, 2, strides=2, dtype=policy, name="rise")
        else:
            self.enlarge = layers.UpSampling2D(2, interpolation="bilinear", dtype=policy, name="enlarge")
            self.rise = layers.Conv2D(risen, 1, dtype=policy, name="rise")
        self.join = layers.Concatenate(dtype=policy, name="join")
        self.convolutions = Convolutions(filters, dtype=policy, name="convolutions")

    def build(self, shapes):
        below, skip = shapes
        self.rise.build(below)
        self.convolutions.build((*skip[:-1], skip[-1] + self.rise.filters))
        self.built = True

    def call(self, below, skip, training=None):
        y = self.rise(below if self.enlarge is None else self.enlarge(below))
        if y.shape[1:3] != skip.shape[1:3]:  # a side that was odd before it was halved
            y = y[:, : skip.shape[1], : skip.shape[2]]
        return self.convolutions(self.join([skip, y]), training=training)


@keras.saving.register_keras_serializable("zoo")
class UNet(NarrowedModel):
    """Halve the size `depth` times with twice the channels, double it again with the skips, and classify every pixel.

    Args:
        num_classes: Number of classes.
        filters: Channels of the first convolutions.
        depth: Number of times that the size is halved.
        up: "transpose", a transposed 2x2 convolution, or "resize", a bilinear enlargement and a 1x1 convolution.
        dropout: Dropout rate where the size is smallest, in [0, 1).
        widths: As of `NarrowedModel`.

    Input shape: (batch, height, width, channels) or (batch, height, width), pixels in [0, 1], of any size.
    Output shape: (batch, height, width, num_classes), logits.

    Raises:
        ValueError: A size that is not positive, another upsampling, or, when the model is built, an image that cannot
            be halved so often.
    """

    WIDTHS = {"filters": 1}

    def __init__(
        self,
        num_classes: int = 2,
        filters: int = 16,
        depth: int = 4,
        up: Literal["transpose", "resize"] = "transpose",
        dropout: float = 0.0,
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(widths, **kwargs)
        check_positive("UNet", num_classes=num_classes, filters=filters, depth=depth, widths=tuple(widths))
        if up not in ("transpose", "resize"):
            raise ValueError(f"UNet: up: expected 'transpose' or 'resize', received {up!r}")
        self.num_classes = num_classes
        self.filters = filters
        self.depth = depth
        self.up = up
        self.dropout = dropout
        policy = self.dtype_policy

        def both(level: int) -> tuple[int, int]:
            return self.width(filters * 2**level), self.width(filters * 2**level)

        self.down = [Convolutions(both(i), dtype=policy, name=f"down_{i + 1}") for i in range(depth)]
        self.pool = layers.MaxPooling2D(2, padding="same", dtype=policy, name="pool")
        self.bottom = Convolutions(both(depth), dtype=policy, name="bottom")
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")
        self.rising = [
            Up(up, self.width(filters * 2**i), both(i), dtype=policy, name=f"up_{i + 1}")
            for i in reversed(range(depth))
        ]
        self.check_widths()
        self.head = layers.Conv2D(num_classes, 1, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        if len(input_shape) not in (3, 4):
            raise ValueError(f"UNet: expected images (height, width, channels), received shape {input_shape[1:]}")
        _, height, width, *channels = input_shape
        if min(height, width) < 2**self.depth:
            raise ValueError(
                f"UNet: depth {self.depth} needs images of at least {2**self.depth}x{2**self.depth} pixels, received"
                f" {height}x{width}; --set depth makes it shallower"
            )
        shape, skips = (None, height, width, channels[0] if channels else 1), []
        for part in self.down:
            part.build(shape)
            shape = part.compute_output_shape(shape)
            skips.append(shape)
            shape = self.pool.compute_output_shape(shape)
        self.bottom.build(shape)
        shape = self.bottom.compute_output_shape(shape)
        for part, skip in zip(self.rising, reversed(skips), strict=True):
            part.build([shape, skip])
            shape = part.convolutions.compute_output_shape(skip)
        self.head.build(shape)
        self.built = True

    def call(self, x, training=None):
        if len(x.shape) == 3:
            x = ops.expand_dims(x, -1)
        skips = []
        for part in self.down:
            x = part(x, training=training)
            skips.append(x)
            x = self.pool(x)
        x = self.drop(self.bottom(x, training=training), training=training)
        for part, skip in zip(self.rising, reversed(skips), strict=True):
            x = part(x, skip, training=training)
        return self.head(x)

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "filters": self.filters,
            "depth": self.depth,
            "up": self.up,
            "dropout": self.dropout,
        }
