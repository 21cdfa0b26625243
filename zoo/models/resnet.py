"""ResNet (He et al., 2016, arXiv:1512.03385): residual learning, for small pictures and for ImageNet.

Depths 8, 14, 20, 32, 44, 56, 110 (6n + 2) are the paper's networks for CIFAR-10: three stages of n basic blocks with
16, 32 and 64 channels. Where a stage changes the size, the input is projected by a 1x1 convolution without
normalisation, as in Keras' example and in MLPerf Tiny, whose ResNet-8 has 78,666 parameters (with `use_bias`). Depths
18, 34, 50, 101 and 152 are the networks for ImageNet; with 1,000 classes, the first three have 11,689,512, 21,797,672
and 25,557,032 trainable parameters. The weights of ResNet-50, 101 and 152 in keras.applications fit.
"""

import keras
from keras import layers

from zoo.models.parts.convolutions import ConvNorm
from zoo.models.parts.vision import VisionModel

# Blocks in each stage, and whether they are bottlenecks: table 1 of the paper.
IMAGENET = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
EXPANSION = 4
# Means of the channels that the published weights of Keras subtract (of 255: 123.68, 116.779, 103.939).
IMAGENET_MEAN = (123.68 / 255, 116.779 / 255, 103.939 / 255)
EPSILON = 1.001e-5


class Residual(layers.Layer):
    """relu(branch(x) + shortcut(x)), where the shortcut is a projection or the input itself.

    Args:
        branch: Convolutions in order, the last one without activation.
        shortcut: Layer with the output shape of the branch; None for the input itself.
    """

    def __init__(self, branch: list[ConvNorm], shortcut: layers.Layer | None, **kwargs):
        super().__init__(**kwargs)
        self.branch = branch
        self.shortcut = shortcut
        self.add = layers.Add(dtype=self.dtype_policy, name="add")
        self.activate = layers.Activation("relu", dtype=self.dtype_policy, name="activation")

    def build(self, input_shape):
        shape = input_shape
        for part in self.branch:
            part.build(shape)
            shape = part.compute_output_shape(shape)
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape):
        for part in self.branch:
            input_shape = part.compute_output_shape(input_shape)
        return input_shape

    def call(self, x, training=None):
        y = x
        for part in self.branch:
            y = part(y, training=training)
        if isinstance(self.shortcut, ConvNorm):
            x = self.shortcut(x, training=training)
        elif self.shortcut is not None:
            x = self.shortcut(x)
        return self.activate(self.add([y, x]))


class MaxPool(layers.Layer):
    """The maximum over windows of 3x3 with stride 2; zeros are added on each side, and inputs are not negative.

    Attributes:
        used: Whether the layer changes its input; small pictures are not pooled before the first block.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.used = True
        self.pad = layers.ZeroPadding2D(1, dtype=self.dtype_policy, name="pad")
        self.pool = layers.MaxPooling2D(3, 2, dtype=self.dtype_policy, name="max")

    def build(self, input_shape):
        self.built = True

    def compute_output_shape(self, input_shape):
        if not self.used:
            return input_shape
        return self.pool.compute_output_shape(self.pad.compute_output_shape(input_shape))

    def call(self, x, training=None):
        return self.pool(self.pad(x)) if self.used else x


@keras.saving.register_keras_serializable("zoo")
class ResNet(VisionModel):
    """A convolution, stages of residual blocks, global average pooling and Dense classes.

    Args:
        depth: Number of layers with weights: 6n + 2 for small pictures, or 18, 34, 50, 101, 152 for ImageNet.
        alpha: Width multiplier of all numbers of channels.
        use_bias: Whether convolutions have biases before their normalisation.
        mean: As of `VisionModel`; empty: 0, or in the networks for ImageNet its means.
        first_stride: Stride of the first convolution; None: 1 in the networks for small pictures; 2 in those for
            ImageNet, or 1 for pictures with a side below 64 pixels, which are then not pooled before the first block.

    The other arguments, shapes and errors are those of `VisionModel`.
    """

    WIDTHS = {"alpha": 0.05}

    def __init__(
        self,
        num_classes: int = 10,
        depth: int = 20,
        alpha: float = 1.0,
        use_bias: bool = False,
        dropout: float = 0.0,
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (1.0,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        large = depth in IMAGENET
        if not large and (depth < 8 or depth % 6 != 2):
            raise ValueError(
                f"ResNet: depth: expected 8, 14, 20, ... (6n + 2) or one of {[*IMAGENET]}, received {depth}"
            )
        mean = tuple(mean) or (IMAGENET_MEAN if large else (0.0,))
        super().__init__(num_classes, mean, std, dropout, first_stride, widths, **kwargs)
        self.depth = depth
        self.alpha = alpha
        self.use_bias = use_bias
        counts, bottleneck = IMAGENET[depth] if large else (((depth - 2) // 6,) * 3, False)
        channels = max(1, int((64 if large else 16) * alpha))
        self.stem = self._conv(channels, 7 if large else 3, 2 if large else 1, "relu", "stem")
        self.blocks = [MaxPool(dtype=self.dtype_policy, name="max_pool")] if large else []
        filters = channels
        for stage, count in enumerate(counts):
            for i in range(count):
                strides = 2 if stage > 0 and i == 0 else 1
                block, channels = self._block(channels, filters, strides, bottleneck, f"block_{stage + 1}_{i + 1}")
                self.blocks.append(block)
            filters *= 2
        self.finish()

    @property
    def is_for_imagenet(self) -> bool:
        """Whether the depth is one of the networks for ImageNet."""
        return self.depth in IMAGENET

    def _conv(self, filters: int, kernel_size: int, strides: int, activation: str, name: str) -> ConvNorm:
        large = self.is_for_imagenet
        return ConvNorm(
            self.width(filters),
            kernel_size,
            strides,
            activation,
            self.use_bias,
            epsilon=EPSILON if large else 1e-3,
            symmetric=large and kernel_size > 1 and strides > 1,
            dtype=self.dtype_policy,
            name=name,
        )

    def _block(self, channels: int, filters: int, strides: int, bottleneck: bool, name: str) -> tuple[Residual, int]:
        """Return a block and the number of its output channels."""
        last = filters * EXPANSION if bottleneck else filters
        if bottleneck:
            branch = [
                self._conv(filters, 1, strides, "relu", "conv_1"),
                self._conv(filters, 3, 1, "relu", "conv_2"),
                self._conv(last, 1, 1, "linear", "conv_3"),
            ]
        else:
            branch = [
                self._conv(filters, 3, strides, "relu", "conv_1"),
                self._conv(last, 3, 1, "linear", "conv_2"),
            ]
        shortcut, policy = None, self.dtype_policy
        if (strides, channels) != (1, last):
            shortcut = (
                self._conv(last, 1, strides, "linear", "shortcut")
                if self.is_for_imagenet
                else layers.Conv2D(self.width(last), 1, strides, padding="same", dtype=policy, name="shortcut")
            )
        return Residual(branch, shortcut, dtype=policy, name=name), last

    def build(self, input_shape):
        if self.is_for_imagenet:
            self.blocks[0].used = self.stride(input_shape) > 1
        super().build(input_shape)

    def get_config(self):
        return super().get_config() | {"depth": self.depth, "alpha": self.alpha, "use_bias": self.use_bias}
