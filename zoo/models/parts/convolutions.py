"""Convolutions with batch normalisation and activation, and the blocks of mobile networks that are made of them."""

from keras import layers, ops

# Share of the moving averages of a normalisation that a step keeps. That of Keras, 0.99, takes hundreds of steps to
# reach the statistics of the data, and small sets do not have them.
MOMENTUM = 0.9


def divisible(width: float, divisor: int = 8) -> int:
    """Return the multiple of `divisor` nearest to a width, at least `divisor` and at least 90 % of the width.

    The rule by which MobileNets round the numbers of channels (Sandler et al., 2018, in TensorFlow's slim).
    """
    rounded = max(divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


class CausalPadding(layers.Layer):
    """Zeros before the first time step, so that a convolution sees no later ones; TensorFlow's "same" along frequency.

    In a streaming file, earlier time steps stand in place of the zeros.

    Args:
        kernel_size: Time steps and frequencies of the kernel.
        stride: Stride of the convolution along frequency.

    Input shape: (batch, time, frequencies, channels).
    Output shape: (batch, time + kernel_size[0] - 1, padded frequencies, channels).
    """

    def __init__(self, kernel_size: tuple[int, int], stride: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.kernel_size, self.stride = kernel_size, stride

    @property
    def before(self) -> int:
        """Number of earlier time steps that the convolution sees."""
        return self.kernel_size[0] - 1

    def sides(self, width: int) -> tuple[int, int]:
        """Return the number of zeros below and above the frequencies."""
        total = max((-(-width // self.stride) - 1) * self.stride + self.kernel_size[1] - width, 0)
        return total // 2, total - total // 2

    def compute_output_shape(self, input_shape):
        batch, steps, width, channels = input_shape
        steps = None if steps is None else steps + self.before
        return (batch, steps, width + sum(self.sides(width)), channels)

    def call(self, x):
        return ops.pad(x, ((0, 0), (self.before, 0), self.sides(x.shape[2]), (0, 0)))

    def after(self, x, earlier):
        """Return time steps behind earlier ones in place of zeros.

        Args:
            x: Time steps (batch, time, frequencies, channels).
            earlier: The `before` time steps before them.
        """
        return ops.pad(ops.concatenate([earlier, x], axis=1), ((0, 0), (0, 0), self.sides(x.shape[2]), (0, 0)))


class ConvNorm(layers.Layer):
    """A convolution, batch normalisation (Ioffe & Szegedy, 2015) and an activation.

    Args:
        filters: Number of output channels; 0 for a depthwise convolution, which has those of its input.
        kernel_size: Height and width of the kernel in pixels, one number for both or two.
        strides: Stride along both axes.
        activation: Name in `keras.activations`; "linear" for none.
        use_bias: Whether the convolution has a bias, although the normalisation has one as well.
        epsilon: Number that the normalisation adds to the variance.
        symmetric: Whether both sides are padded alike with zeros. TensorFlow's padding "same", which is used otherwise,
            pads the end more if the stride is 2.
        causal: Whether the height is time, and a result depends on no later time step; see `CausalPadding`.

    Input shape: (batch, height, width, channels).
    Output shape: (batch, new height, new width, filters).
    """

    def __init__(
        self,
        filters: int,
        kernel_size: int | tuple[int, int] = 1,
        strides: int = 1,
        activation: str = "linear",
        use_bias: bool = False,
        epsilon: float = 1e-3,
        symmetric: bool = False,
        causal: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.pad = layers.ZeroPadding2D(kernel_size // 2, dtype=policy, name="pad") if symmetric else None
        if causal:
            size = (kernel_size,) * 2 if isinstance(kernel_size, int) else kernel_size
            self.pad = CausalPadding(size, strides, dtype=policy, name="pad")
        shared = {"strides": strides, "use_bias": use_bias, "dtype": policy, "name": "conv"}
        shared["padding"] = "same" if self.pad is None else "valid"
        self.conv = (
            layers.Conv2D(filters, kernel_size, **shared) if filters else layers.DepthwiseConv2D(kernel_size, **shared)
        )
        self.norm = layers.BatchNormalization(momentum=MOMENTUM, epsilon=epsilon, dtype=policy, name="norm")
        self.activate = None
        if activation != "linear":
            self.activate = layers.Activation(activation, dtype=policy, name="activation")

    def set_stride(self, stride: int) -> None:
        """Set the stride of the convolution along both axes, before it is built."""
        self.conv.strides = (stride, stride)
        if isinstance(self.pad, CausalPadding):
            self.pad.stride = stride

    def build(self, input_shape):
        self.conv.build(self._padded(input_shape))
        self.norm.build(self.compute_output_shape(input_shape))
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.conv.compute_output_shape(self._padded(input_shape))

    def _padded(self, shape):
        return shape if self.pad is None else self.pad.compute_output_shape(shape)

    def call(self, x, training=None):
        x = x if self.pad is None else self.pad(x)
        x = self.norm(self.conv(x), training=training)
        return x if self.activate is None else self.activate(x)


class DepthwiseSeparable(layers.Layer):
    """A depthwise 3x3 and a pointwise convolution (Howard et al., 2017), each a `ConvNorm`.

    Args:
        filters: Number of output channels.
        strides: Stride of the depthwise convolution.
        activation: Activation after both.
        use_bias: Whether the convolutions have biases.
        causal: Whether the depthwise convolution sees no later time step.
    """

    def __init__(
        self, filters: int, strides: int, activation: str, use_bias: bool = False, causal: bool = False, **kwargs
    ):
        super().__init__(**kwargs)
        shared = {"activation": activation, "use_bias": use_bias, "dtype": self.dtype_policy}
        self.depthwise = ConvNorm(0, 3, strides, causal=causal, name="depthwise", **shared)
        self.pointwise = ConvNorm(filters, name="pointwise", **shared)

    def build(self, input_shape):
        self.depthwise.build(input_shape)
        self.pointwise.build(self.depthwise.compute_output_shape(input_shape))
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.pointwise.compute_output_shape(self.depthwise.compute_output_shape(input_shape))

    def call(self, x, training=None):
        return self.pointwise(self.depthwise(x, training=training), training=training)


class SqueezeExcite(layers.Layer):
    """Scale every channel by a factor computed from the means of all channels (Hu et al., 2018; Howard et al., 2019).

    Args:
        squeezed: Number of channels of the inner convolution.
        filters: Number of channels of the input.
    """

    def __init__(self, squeezed: int, filters: int, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.pool = layers.GlobalAveragePooling2D(keepdims=True, dtype=policy, name="pool")
        self.squeeze = layers.Conv2D(squeezed, 1, activation="relu", dtype=policy, name="squeeze")
        self.excite = layers.Conv2D(filters, 1, activation="hard_sigmoid", dtype=policy, name="excite")
        self.scale = layers.Multiply(dtype=policy, name="scale")

    def build(self, input_shape):
        batch, _, _, channels = input_shape
        self.squeeze.build((batch, 1, 1, channels))
        self.excite.build((batch, 1, 1, self.squeeze.filters))
        self.built = True

    def call(self, x):
        return self.scale([x, self.excite(self.squeeze(self.pool(x)))])


class InvertedResidual(layers.Layer):
    """Expansion by a pointwise convolution, a depthwise one, and a linear projection (Sandler et al., 2018).

    Args:
        expanded: Number of channels of the expansion; 0 leaves it out.
        filters: Number of output channels.
        kernel_size: Height and width of the depthwise kernel in pixels.
        strides: Stride of the depthwise convolution.
        activation: Activation after the expansion and the depthwise convolution.
        residual: Whether the input is added to the output; it needs a stride of 1 and `filters` input channels.
        squeezed: Numbers of channels of a `SqueezeExcite` before the projection, inner and outer; None for none.
    """

    def __init__(
        self,
        expanded: int,
        filters: int,
        kernel_size: int,
        strides: int,
        activation: str,
        residual: bool,
        squeezed: tuple[int, int] | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.expand = ConvNorm(expanded, activation=activation, dtype=policy, name="expand") if expanded else None
        self.depthwise = ConvNorm(0, kernel_size, strides, activation, dtype=policy, name="depthwise")
        self.squeeze_excite = SqueezeExcite(*squeezed, dtype=policy, name="squeeze_excite") if squeezed else None
        self.project = ConvNorm(filters, dtype=policy, name="project")
        self.add = layers.Add(dtype=policy, name="add") if residual else None

    def build(self, input_shape):
        shape = input_shape
        for part in self._convolutions():
            part.build(shape)
            shape = part.compute_output_shape(shape)
            if part is self.depthwise and self.squeeze_excite is not None:
                self.squeeze_excite.build(shape)
        self.built = True

    def compute_output_shape(self, input_shape):
        for part in self._convolutions():
            input_shape = part.compute_output_shape(input_shape)
        return input_shape

    def _convolutions(self):
        return [part for part in (self.expand, self.depthwise, self.project) if part is not None]

    def call(self, x, training=None):
        y = x if self.expand is None else self.expand(x, training=training)
        y = self.depthwise(y, training=training)
        if self.squeeze_excite is not None:
            y = self.squeeze_excite(y)
        y = self.project(y, training=training)
        return y if self.add is None else self.add([x, y])
