"""EfficientNet-Lite (Tan & Le, 2019, arXiv:1905.11946; Google, 2020): EfficientNet for integer hardware.

Differs from EfficientNet: no squeeze and excitation, relu6 in place of swish, and the first convolution, the first and
the last stage are not scaled. Lite0 to Lite4 have 4,652,008, 5,416,680, 6,092,072, 8,197,096 and 13,006,568 trainable
parameters with 1,000 classes, for pictures of 224, 240, 260, 280 and 300 pixels.
"""

import math

import keras

from zoo.models.parts.convolutions import divisible
from zoo.models.parts.vision import InvertedResidualNetwork

# Factors of the width and of the depth of Lite0 to Lite4.
SCALES = ((1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8))
# Kernel size, expansion factor, output channels, number of blocks, and stride of the first: table 1 of the paper.
BLOCKS = (
    *((3, 1, 16, 1, 1), (3, 6, 24, 2, 2), (5, 6, 40, 2, 2), (3, 6, 80, 3, 2)),
    *((5, 6, 112, 3, 1), (5, 6, 192, 4, 2), (3, 6, 320, 1, 1)),
)
STEM, LAST = 32, 1280


@keras.saving.register_keras_serializable("zoo")
class EfficientNetLite(InvertedResidualNetwork):
    """A 3x3 convolution, inverted residuals, a 1x1 convolution, global average pooling and Dense classes.

    Args:
        size: 0 to 4, of Lite0 to Lite4.
        alpha: Further width multiplier, of all numbers of channels.
        mean: As of `VisionModel`; that of the published weights is 127 / 255.
        std: As of `VisionModel`; that of the published weights is 128 / 255.

    The other arguments, shapes and errors are those of `VisionModel`.
    """

    WIDTHS = {"alpha": 0.05}

    def __init__(
        self,
        num_classes: int = 10,
        size: int = 0,
        alpha: float = 1.0,
        dropout: float = 0.0,
        mean: tuple[float, ...] = (0.4980392156862745,),
        std: tuple[float, ...] = (0.5019607843137255,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(num_classes, mean, std, dropout, first_stride, widths, **kwargs)
        if size not in range(len(SCALES)):
            raise ValueError(f"EfficientNetLite: size: expected 0 to {len(SCALES) - 1}, received {size}")
        self.size = size
        self.alpha = alpha
        wide, deep = SCALES[size]
        scaled = range(1, len(BLOCKS) - 1)
        rows = [
            (kernel_size, factor, divisible(c * wide * alpha), s if i == 0 else 1)
            for stage, (kernel_size, factor, c, n, s) in enumerate(BLOCKS)
            for i in range(math.ceil(n * deep) if stage in scaled else n)
        ]
        self.assemble(divisible(STEM * alpha), rows, divisible(LAST * alpha))

    def get_config(self):
        return super().get_config() | {"size": self.size, "alpha": self.alpha}
