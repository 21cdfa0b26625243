"""TCN: temporal convolutional network (Bai, Kolter and Koltun, 2018, arXiv:1803.01271).

Residual blocks of two causal convolutions whose dilation doubles from block to block; the classes are read from the
last time step, which has seen the whole window if `receptive_field()` is as long. Differs from the paper in its
normalisation: batch normalisation instead of weight normalisation, because it becomes a part of the kernels of a file.
"""

import keras
from keras import layers

from zoo.models.parts.convolutions import MOMENTUM
from zoo.models.parts.layers import as_rows, check_positive, logits_dtype, rows_shape
from zoo.models.parts.standardization import StandardizingModel

CONVOLUTIONS = 2  # of a block


class TemporalBlock(layers.Layer):
    """Two dilated causal convolutions, each with normalisation, ReLU and dropout, and a residual sum.

    Args:
        filters: Output channels.
        kernel_size: Time steps of a kernel.
        dilation: Time steps from one tap of a kernel to the next.
        dropout: Rate of channels that are dropped over all time steps, in [0, 1).

    Input shape: (batch, time, channels).
    Output shape: (batch, time, filters).
    """

    def __init__(self, filters: int, kernel_size: int, dilation: int, dropout: float, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        numbers = range(1, CONVOLUTIONS + 1)
        shared = {"padding": "causal", "dilation_rate": dilation, "use_bias": False, "dtype": policy}
        self.convolutions = [layers.Conv1D(filters, kernel_size, name=f"conv_{i}", **shared) for i in numbers]
        self.norms = [layers.BatchNormalization(momentum=MOMENTUM, dtype=policy, name=f"norm_{i}") for i in numbers]
        self.drops = [layers.SpatialDropout1D(dropout, dtype=policy, name=f"drop_{i}") for i in numbers]
        self.activate = layers.Activation("relu", dtype=policy, name="activation")
        self.shortcut = layers.Conv1D(filters, 1, dtype=policy, name="shortcut")
        self.add = layers.Add(dtype=policy, name="add")
        self.finish = layers.Activation("relu", dtype=policy, name="finish")

    def build(self, input_shape):
        shape = tuple(input_shape)
        self.projects = shape[-1] != self.convolutions[-1].filters
        if self.projects:
            self.shortcut.build(shape)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            norm.build(shape)
        self.built = True

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.convolutions[-1].filters)

    def call(self, x, training=None):
        y = x
        for convolution, norm, drop in zip(self.convolutions, self.norms, self.drops, strict=True):
            y = drop(self.activate(norm(convolution(y), training=training)), training=training)
        return self.finish(self.add([self.shortcut(x) if self.projects else x, y]))


@keras.saving.register_keras_serializable("zoo")
class TCN(StandardizingModel):
    """Temporal blocks and Dense classes on the last time step.

    Args:
        num_classes: Number of classes.
        filters: Channels of each block; the number of entries is the number of blocks.
        kernel_size: Time steps of every kernel.
        dropout: Rate of channels that are dropped in each block, in [0, 1).
        widths: Channels of the first convolution of each block; empty: those of the block. Channel pruning makes them
            smaller.
        mean: What is subtracted from the inputs: one number, or one for each feature.
        std: What the difference is divided by, likewise.

    Input shape: (batch, time, features), or pictures (batch, height, width, channels), read row by row.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: A size that is not positive, or means for another number of features.
    """

    WIDTHS = {"filters": 1}

    def __init__(
        self,
        num_classes: int = 10,
        filters: tuple[int, ...] = (32, 32, 32, 32),
        kernel_size: int = 5,
        dropout: float = 0.1,
        widths: tuple[int, ...] = (),
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        **kwargs,
    ):
        super().__init__(mean, std, **kwargs)
        first = tuple(widths) or tuple(filters)
        check_positive("tcn", num_classes=num_classes, filters=tuple(filters), kernel_size=kernel_size, widths=first)
        if len(first) != len(filters):
            raise ValueError(f"tcn: widths: expected {len(filters)} numbers, one for each block, received {len(first)}")
        self.num_classes = num_classes
        self.kernel_size = kernel_size
        self.dropout = dropout
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        self.blocks = [
            TemporalBlock(n, kernel_size, 2**i, dropout, dtype=policy, name=f"block_{i + 1}")
            for i, n in enumerate(filters)
        ]
        for block, width in zip(self.blocks, first, strict=True):
            block.convolutions[0].filters = width
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def receptive_field(self) -> int:
        """Return the number of time steps that the last one depends on."""
        return 1 + CONVOLUTIONS * (self.kernel_size - 1) * (2 ** len(self.blocks) - 1)

    def build(self, input_shape):
        shape = rows_shape(input_shape)
        if len(shape) != 3:
            raise ValueError(f"tcn: expected (time, features), received shape {input_shape[1:]}")
        self.check_features(shape[-1])
        for block in self.blocks:
            block.build(shape)
            shape = block.compute_output_shape(shape)
        self.head.build((None, shape[-1]))
        self.built = True

    def call(self, x, training=None):
        x = self.standardized(as_rows(x))
        for block in self.blocks:
            x = block(x, training=training)
        return self.head(x[:, -1])

    def get_config(self):
        filters = tuple(block.convolutions[-1].filters for block in self.blocks)  # as built
        first = tuple(block.convolutions[0].filters for block in self.blocks)
        return super().get_config() | {
            "num_classes": self.num_classes,
            "filters": filters,
            "kernel_size": self.kernel_size,
            "dropout": self.dropout,
            "widths": () if first == filters else first,
        }
