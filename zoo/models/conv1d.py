"""Conv1D: the fully convolutional network for series of Wang, Yan and Oates (2017, arXiv:1611.06455).

Three convolutions over time, of 8, 5 and 3 steps, each with batch normalisation and ReLU, the mean over time, and Dense
classes. Differs from the paper in its widths, which fit small devices; theirs are 128, 256 and 128.
"""

import keras
from keras import layers

from zoo.models.parts.convolutions import MOMENTUM
from zoo.models.parts.layers import as_rows, check_positive, logits_dtype, rows_shape
from zoo.models.parts.standardization import StandardizingModel


@keras.saving.register_keras_serializable("zoo")
class Conv1D(StandardizingModel):
    """Convolutions over time, the mean over time, and Dense classes.

    Args:
        num_classes: Number of classes.
        filters: Output channels of each convolution.
        kernel_sizes: Time steps of each kernel, as many as there are filters.
        strides: Stride of the first convolution, in time steps.
        dropout: Dropout rate before the classes, in [0, 1).
        mean: What is subtracted from the inputs: one number, or one for each feature.
        std: What the difference is divided by, likewise.

    Input shape: (batch, time, features), or pictures (batch, height, width, channels), read row by row.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: A size that is not positive, kernels of another number, or means for another number of features.
    """

    WIDTHS = {"filters": 1}

    def __init__(
        self,
        num_classes: int = 10,
        filters: tuple[int, ...] = (32, 64, 32),
        kernel_sizes: tuple[int, ...] = (8, 5, 3),
        strides: int = 1,
        dropout: float = 0.0,
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        **kwargs,
    ):
        super().__init__(mean, std, **kwargs)
        sizes = {"filters": tuple(filters), "kernel_sizes": tuple(kernel_sizes), "strides": strides}
        check_positive("conv1d", num_classes=num_classes, **sizes)
        if len(kernel_sizes) != len(filters):
            raise ValueError(
                f"conv1d: kernel_sizes: expected {len(filters)} numbers, one for each of filters, received"
                f" {len(kernel_sizes)}"
            )
        self.num_classes = num_classes
        self.kernel_sizes = tuple(kernel_sizes)
        self.strides = strides
        self.dropout = dropout
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        shared = {"padding": "same", "use_bias": False, "dtype": policy}
        each = enumerate(zip(filters, kernel_sizes, strict=True), 1)
        self.convolutions = [
            layers.Conv1D(n, size, strides if i == 1 else 1, name=f"conv_{i}", **shared) for i, (n, size) in each
        ]
        self.norms = [
            layers.BatchNormalization(momentum=MOMENTUM, dtype=policy, name=f"norm_{i}")
            for i in range(1, len(filters) + 1)
        ]
        self.activate = layers.Activation("relu", dtype=policy, name="activation")
        self.pool = layers.GlobalAveragePooling1D(dtype=policy, name="pool")
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        shape = rows_shape(input_shape)
        if len(shape) != 3:
            raise ValueError(f"conv1d: expected (time, features), received shape {input_shape[1:]}")
        self.check_features(shape[-1])
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            norm.build(shape)
        self.head.build((None, shape[-1]))
        self.built = True

    def call(self, x, training=None):
        x = self.standardized(as_rows(x))
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = self.activate(norm(convolution(x), training=training))
        return self.head(self.drop(self.pool(x), training=training))

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "filters": tuple(c.filters for c in self.convolutions),  # as built: channel pruning makes them smaller
            "kernel_sizes": self.kernel_sizes,
            "strides": self.strides,
            "dropout": self.dropout,
        }
