"""What convolutional networks for pictures share: standardisation, widths, and the way from pixels to logits."""

from collections.abc import Iterable

import keras
from keras import layers

from zoo.models.parts.base import NarrowedModel
from zoo.models.parts.convolutions import ConvNorm, InvertedResidual
from zoo.models.parts.layers import check_positive, logits_dtype
from zoo.models.parts.standardization import check_standardization, standardization

# Pictures with a side below this keep their size in the first convolution unless `first_stride` is given.
SMALL = 64


class VisionModel(NarrowedModel):
    """A network of a first convolution, blocks, global average pooling, and Dense classes.

    A subclass sets `stem` (a `ConvNorm`) and `blocks` (layers, in order) in its constructor, takes the number of
    channels of every convolution from `width`, and calls `finish` at its end.

    Args:
        num_classes: Number of classes.
        mean: What is subtracted from the pixels: one number, or one for each channel.
        std: What the difference is divided by, likewise.
        dropout: Dropout rate before the classes, in [0, 1).
        first_stride: Stride of the first convolution; None: 2, or 1 for pictures with a side below 64 pixels.
        widths: Channels of every convolution, and units of every Dense layer before the classes, in the order of their
            use; empty: those of the paper. Channel pruning makes them smaller.

    Input shape: (batch, height, width, channels) or (batch, height, width), pixels in [0, 1].
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: A size that is not positive, widths of another network, or, when the model is built, means for
            another number of channels.
    """

    # Stride of the first convolution of large and of small pictures.
    FIRST_STRIDES = (2, 1)

    def __init__(
        self,
        num_classes: int,
        mean: tuple[float, ...],
        std: tuple[float, ...],
        dropout: float,
        first_stride: int | None,
        widths: tuple[int, ...],
        **kwargs,
    ):
        super().__init__(widths, **kwargs)
        self.family = type(self).__name__
        check_positive(self.family, num_classes=num_classes, first_stride=first_stride or 1, widths=tuple(widths))
        check_standardization(self.family, tuple(mean), tuple(std))
        self.num_classes = num_classes
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.dropout = dropout
        self.first_stride = first_stride
        self.neck = []

    def finish(self) -> None:
        """Make what every network has: standardisation, pooling, dropout and the classes."""
        self.check_widths()
        policy = self.dtype_policy
        self.standardize = standardization(self.mean, self.std, policy)
        self.pool = layers.GlobalAveragePooling2D(dtype=policy, name="pool")
        self.drop = layers.Dropout(self.dropout, dtype=policy, name="drop")
        self.head = layers.Dense(self.num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        if len(input_shape) not in (3, 4):
            raise ValueError(
                f"{self.family}: expected images (height, width, channels), received shape {input_shape[1:]}"
            )
        _, height, width, *channels = input_shape
        shape = (None, height, width, channels[0] if channels else 1)
        check_channels(self, shape[-1])
        self.stem.set_stride(self.stride(input_shape))
        for part in (self.stem, *self.blocks):
            part.build(shape)
            shape = part.compute_output_shape(shape)
        shape = (None, shape[-1])
        for part in (*self.neck, self.head):
            part.build(shape)
            shape = part.compute_output_shape(shape)
        self.built = True

    def stride(self, input_shape: tuple) -> int:
        """Return the stride of the first convolution for pictures of a shape."""
        large, small = self.FIRST_STRIDES
        return self.first_stride or (small if min(input_shape[1:3]) < SMALL else large)

    def call(self, x, training=None):
        if len(x.shape) == 3:
            x = keras.ops.expand_dims(x, -1)
        x = x if self.standardize is None else self.standardize(x)
        for part in (self.stem, *self.blocks):
            x = part(x, training=training)
        x = self.pool(x)
        for part in self.neck:
            x = part(x)
        return self.head(self.drop(x, training=training))

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "mean": self.mean,
            "std": self.std,
            "dropout": self.dropout,
            "first_stride": self.first_stride,
        }


class InvertedResidualNetwork(VisionModel):
    """A first 3x3 convolution, inverted residuals and a last 1x1 convolution with relu6, before the pooling."""

    def assemble(self, stem: int, rows: Iterable[tuple[int, int, int, int]], last: int) -> None:
        """Make the convolutions, and what `finish` makes.

        A block with the channels of its input and stride 1 adds its input.

        Args:
            stem: Channels of the first convolution.
            rows: Kernel size, expansion factor, channels and stride of each block, in order.
            last: Channels of the last convolution.
        """
        shared = {"activation": "relu6", "dtype": self.dtype_policy}
        self.stem = ConvNorm(self.width(stem), 3, name="stem", **shared)
        self.blocks, channels = [], stem
        for number, (kernel_size, factor, filters, strides) in enumerate(rows, 1):
            self.blocks.append(
                InvertedResidual(
                    self.width(factor * channels) if factor > 1 else 0,
                    self.width(filters),
                    kernel_size=kernel_size,
                    strides=strides,
                    residual=strides == 1 and channels == filters,
                    name=f"block_{number}",
                    **shared,
                )
            )
            channels = filters
        self.blocks.append(ConvNorm(self.width(last), name="last", **shared))
        self.finish()


def check_channels(model: keras.Model, channels: int) -> None:
    """Raise ValueError unless the mean and the deviation of a model are for images of so many channels."""
    for name, numbers in (("mean", model.mean), ("std", model.std)):
        if len(numbers) not in (1, channels):
            raise ValueError(
                f"{type(model).__name__}: {name}: expected one number, or one for each of {channels} channels, received"
                f" {len(numbers)}"
            )
