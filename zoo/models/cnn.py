"""CNN: convolutions with max pooling, after the introductory convolutional networks of TensorFlow's tutorials.

The registry names four published shapes:

- `cnn`: filters 32-64-64, two pools, Dense 64; 93,322 parameters on MNIST.
- `cnn_128`: filters 32-64-128, three pools, Dense 128.
- `cnn_12`: 12 filters, one pool, no Dense layer before the classes; 20,410 parameters. The model of TF-MOT's guides.
- `lenet5`: 20 and 50 filters of 5x5, Dense 500; 431,080 parameters. LeNet-5 (LeCun et al., 1998) as Caffe defines it,
  except that Caffe's version has no activation after the convolutions.

Differs from them in two respects, which do not change the values but save work. The activation follows the pool, where
it is computed on a quarter of the numbers; a monotone activation commutes with max pooling. And images are cropped to
the pixels that reach a logit (`zoo.models.parts.cropping`): of 28x28 pixels, `cnn` uses 26x26 and `cnn_128` 22x22.
"""

import keras
from keras import layers

from zoo.models.parts.base import ZooModel
from zoo.models.parts.cropping import SlidingWindow, crop, input_size, used_size
from zoo.models.parts.layers import check_positive, logits_dtype

POOL = 2


@keras.saving.register_keras_serializable("zoo")
class CNN(ZooModel):
    """A stack of convolutions and 2x2 max pools, a Dense layer, and Dense classes.

    Args:
        num_classes: Number of classes.
        filters: Output channels of each convolution; the number of entries is the number of convolutions.
        kernel_size: Height and width of every convolution kernel, in pixels.
        strides: Stride of the first convolution along both axes. All others have stride 1.
        pools: Number of convolutions, counted from the first, that are followed by a pool.
        units: Width of the Dense layer before the classes; 0 leaves the layer out.
        activation: Name of a monotone function in `keras.activations`.
        padding: Padding of the convolutions, "valid" or "same".
        batch_norm: Whether batch normalisation (Ioffe & Szegedy, 2015) follows each convolution, which then has no
            bias.
        dropout: Dropout rate before the classes, in [0, 1).

    Attributes:
        used: (height, width) that images are cropped to; None if every pixel is used.

    Input shape: (batch, height, width, channels) or (batch, height, width), pixels in [0, 1].
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: If there are more pools than convolutions, if a size is not positive, or, when the model is built,
            if the images are smaller than `smallest_image()`.
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
            raise ValueError(f"cnn: pools: expected 0 to {len(filters)} (one per convolution), received {pools}")
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
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
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
        """Return the smallest height and width, in pixels, that leave at least one pixel after the last layer."""
        return input_size(self._windows(), 1)

    def _windows(self) -> list[SlidingWindow]:
        windows = []
        for index in range(len(self.filters)):
            # A padded convolution has a window at every pixel, so one pixel is enough for it.
            windows.append(SlidingWindow(self.kernel_size if self.padding == "valid" else 1, self._stride(index)))
            if index < self.pools:
                windows.append(SlidingWindow(POOL, POOL))
        return windows

    def _stride(self, index: int) -> int:
        return self.strides if index == 0 else 1

    def build(self, input_shape):
        if len(input_shape) not in (3, 4):
            raise ValueError(f"cnn: expected images (height, width, channels), received shape {input_shape[1:]}")
        _, height, width, *channels = input_shape
        if min(height, width) < self.smallest_image():
            strides = f" (the first with stride {self.strides})" if self.strides > 1 else ""
            raise ValueError(
                f"cnn: {len(self.filters)} convolutions{strides} and {self.pools} pools need images of at least"
                f" {self.smallest_image()}x{self.smallest_image()} pixels, received {height}x{width}"
            )
        if self.batch_norm or self.padding == "same":  # every pixel counts: in the statistics, or beside the padding
            used = (height, width)
        else:
            used = (used_size(self._windows(), height), used_size(self._windows(), width))
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
        x = crop(x, self.used)
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
            "filters": tuple(c.filters for c in self.convolutions),  # as built: channel pruning makes them smaller
            "kernel_size": self.kernel_size,
            "strides": self.strides,
            "pools": self.pools,
            "units": self.hidden.units if self.hidden is not None else 0,
            "activation": self.activation,
            "padding": self.padding,
            "batch_norm": self.batch_norm,
            "dropout": self.dropout,
        }
