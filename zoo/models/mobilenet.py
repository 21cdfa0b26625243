"""MobileNet (Howard et al., 2017, arXiv:1704.04861): depthwise separable convolutions.

`alpha` is the paper's width multiplier. With alpha 1 and 1,000 classes it has 4,253,864 parameters, as in
keras.applications, whose weights fit. MLPerf Tiny's network for visual wake words is alpha 0.25 with 2 classes, `relu`,
`use_bias` and no standardisation: 221,794 parameters.

Differs from keras.applications in the classes, a Dense layer on the pooled features: the same values.
"""

from typing import Literal

import keras

from zoo.models.parts.convolutions import ConvNorm, DepthwiseSeparable
from zoo.models.parts.vision import VisionModel

# Channels and stride of each block: table 1 of the paper.
BLOCKS = (
    *((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)),
    *(((512, 1),) * 5),
    *((1024, 2), (1024, 1)),
)


@keras.saving.register_keras_serializable("zoo")
class MobileNet(VisionModel):
    """A 3x3 convolution, 13 depthwise separable convolutions, global average pooling and Dense classes.

    Args:
        alpha: Width multiplier of all numbers of channels.
        activation: Activation of every convolution.
        use_bias: Whether convolutions have biases before their normalisation.

    The other arguments, shapes and errors are those of `VisionModel`.
    """

    WIDTHS = {"alpha": 0.05}

    def __init__(
        self,
        num_classes: int = 10,
        alpha: float = 1.0,
        activation: Literal["relu", "relu6"] = "relu6",
        use_bias: bool = False,
        dropout: float = 0.0,
        mean: tuple[float, ...] = (0.5,),
        std: tuple[float, ...] = (0.5,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(num_classes, mean, std, dropout, first_stride, widths, **kwargs)
        self.alpha = alpha
        self.activation = activation
        self.use_bias = use_bias
        shared = {"activation": activation, "use_bias": use_bias, "dtype": self.dtype_policy}
        self.stem = ConvNorm(self.width(max(1, int(32 * alpha))), 3, name="stem", **shared)
        self.blocks = [
            DepthwiseSeparable(self.width(max(1, int(filters * alpha))), strides, name=f"block_{i}", **shared)
            for i, (filters, strides) in enumerate(BLOCKS, 1)
        ]
        self.finish()

    def get_config(self):
        return super().get_config() | {
            "alpha": self.alpha,
            "activation": self.activation,
            "use_bias": self.use_bias,
        }
