"""CNN: convolutions with pooling, after the introductory convolutional nets of TensorFlow's tutorials.

Published shapes are names in the registry: `cnn` (filters 32-64-64, two pools, Dense 64; 93,322 parameters on MNIST),
`cnn_128` (filters 32-64-128, three pools, Dense 128), `cnn_12` (12 filters, one pool, no Dense layer before the
classes; 20,410 parameters: the model of TF-MOT's guides) and `lenet5` (20 and 50 filters of 5x5, Dense 500; 431,080
parameters: LeNet-5 as Caffe has it, after LeCun et al., 1998; Caffe's has no activation behind the convolutions).
Differs from them in two respects, which give the same values for less work: the activation follows the pool, as any
monotone one may, on a quarter of the numbers; and rows and columns of the images that reach no logit are left out. A
pool drops a last row that fills none of its windows: of 28x28 pixels `cnn` sees the first 26x26, `cnn_128` 22x22.
"""

import keras
from keras import layers

from zoo.models.parts.base import ZooModel
from zoo.models.parts.layers import check_positive, logits_dtype

POOL = 2


@keras.saving.register_keras_serializable("zoo")
class CNN(ZooModel):
    """Convolutions, a 2x2 max pool after each of the first `pools` of them, a Dense layer, Dense classes.

    Args:
        num_classes: number of classes.
        filters: output channels of each convolution; as many convolutions as numbers.
        kernel_size: height and width of the convolutions' kernels.
        strides: of the first convolution, in rows and in columns: 2 makes a quarter of the work of all that follows.
        pools: how many of the convolutions, from the first, are followed by a pool.
        units: width of the Dense layer before the classes; 0 leaves it out.
        activation: any name of `keras.activations` for a monotone function.
        padding: "valid" or "same", of the convolutions.
        batch_norm: normalise after each convolution (Ioffe & Szegedy, 2015), whose bias is then left out.
        dropout: share of the Dense layer's units dropped in training, in [0, 1).

    Attributes:
        used: (rows, columns) of the images, from the first, that are computed with; None: all.

    Input shape: (batch, height, width, channels) or (batch, height, width), pixels in [0, 1].
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: more pools than convolutions, a size that is not positive, or, when built, an image smaller
            than the stack can take.
    """

    WIDTHS = {"filters": 1, "units": 1}

    def __init__(
        self,
        num_classes: int = 10,
        filters: tuple[int, ...] = (32, 64, 64),
        kernel_size: int = 3,
        strides: int = 1,
        pools: int = 2,
        units: int = 64,
        activation: str = "relu",
        padding: str = "valid",
        batch_norm: bool = False,
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"filters": tuple(filters), "kernel_size": kernel_size, "strides": strides, "units": max(units, 1)}
        check_positive("cnn", num_classes=num_classes, **sizes)
        if not 0 <= pools <= len(filters):
            raise ValueError(f"cnn: pools: expected 0 to {len(filters)} (one a convolution), received {pools}")
        if padding not in ("valid", "same"):
            raise ValueError(f"cnn: padding: expected 'valid' or 'same', received {padding!r}")
        self.num_classes = num_classes
        self.filters = tuple(filters)
        self.kernel_size = kernel_size
        self.strides = strides
        self.pools = pools
        self.units = units
        self.activation = activation
        self.padding = padding
        self.batch_norm = batch_norm
        self.dropout = dropout
        policy = self.dtype_policy  # see SimpleNet
        shared = {"padding": padding, "use_bias": not batch_norm, "dtype": policy}
        self.convolutions = [
            layers.Conv2D(n, kernel_size, self._stride(i - 1), name=f"conv_{i}", **shared)
            for i, n in enumerate(self.filters, 1)
        ]
        norms = len(self.filters) if batch_norm else 0
        self.norms = [layers.BatchNormalization(dtype=policy, name=f"norm_{i + 1}") for i in range(norms)]
        self.pool = layers.MaxPooling2D(POOL, dtype=policy, name="pool")
        self.activate = layers.Activation(activation, dtype=policy, name="activation")
        self.flatten = layers.Flatten(dtype=policy, name="flatten")
        self.hidden = layers.Dense(units, activation, dtype=policy, name="hidden") if units else None
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def smallest_image(self) -> int:
        """Return the smallest height and width in pixels that leaves at least one pixel at the end."""
        return self._seen_by(1)

    def _seen_by(self, size: int) -> int:
        """Return the rows (or columns) of pixels that `size` rows of the last convolution's or pool's output see."""
        for index in reversed(range(len(self.filters))):
            size *= POOL if index < self.pools else 1
            size = (size - 1) * self._stride(index) + 1
            size += self.kernel_size - 1 if self.padding == "valid" else 0
        return size

    def _reaching(self, size: int) -> int:
        """Return how many of `size` rows (or columns) of pixels reach the logits."""
        if self.padding == "same":  # a row left out would be read as zeros
            return size
        left = size
        for index in range(len(self.filters)):
            left = (left - self.kernel_size) // self._stride(index) + 1
            left //= POOL if index < self.pools else 1
        return self._seen_by(left)

    def _stride(self, index: int) -> int:
        return self.strides if index == 0 else 1

    def build(self, input_shape):
        if len(input_shape) not in (3, 4):
            raise ValueError(f"cnn: expected images (height, width, channels), received shape {input_shape[1:]}")
        _, height, width, *channels = input_shape
        if min(height, width) < self.smallest_image():
            strides = f", the first with strides of {self.strides}," if self.strides > 1 else ""
            raise ValueError(
                f"cnn: {len(self.filters)} convolutions{strides} and {self.pools} pools need images of at least"
                f" {self.smallest_image()}x{self.smallest_image()} pixels, received {height}x{width}"
            )
        # Batches are normalised by statistics of all rows, so there all are computed.
        used = (height, width) if self.batch_norm else (self._reaching(height), self._reaching(width))
        self.used = None if used == (height, width) else used
        shape = (None, *used, channels[0] if channels else 1)
        for index, convolution in enumerate(self.convolutions):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            if self.batch_norm:
                self.norms[index].build(shape)
            if index < self.pools:
                shape = self.pool.compute_output_shape(shape)
        shape = self.flatten.compute_output_shape(shape)
        if self.hidden is not None:
            self.hidden.build(shape)
            shape = (None, self.units)
        self.head.build(shape)
        self.built = True

    def call(self, x, training=None):
        if len(x.shape) == 3:
            x = keras.ops.expand_dims(x, -1)
        if self.used:
            x = x[:, : self.used[0], : self.used[1]]
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x)
            if self.batch_norm:
                x = self.norms[index](x, training=training)
            if index < self.pools:
                x = self.pool(x)
            x = self.activate(x)
        x = self.flatten(x)
        if self.hidden is not None:
            x = self.hidden(x)
        return self.head(self.drop(x, training=training))

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "filters": tuple(c.filters for c in self.convolutions),  # fewer, once channels were taken out
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "pools": self.pools,
            "units": self.hidden.units if self.hidden is not None else 0,
            "activation": self.activation,
            "padding": self.padding,
            "batch_norm": self.batch_norm,
            "dropout": self.dropout,
        }
