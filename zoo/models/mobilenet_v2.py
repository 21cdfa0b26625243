"""MobileNetV2 (Sandler et al., 2018, arXiv:1801.04381): inverted residuals and linear bottlenecks.

With alpha 1 and 1,000 classes it has 3,538,984 parameters, as in keras.applications, whose weights fit.
"""

import keras

from zoo.models.parts.convolutions import divisible
from zoo.models.parts.vision import InvertedResidualNetwork

# Expansion factor t, output channels c, number of blocks n, and stride s of the first: table 2 of the paper.
BLOCKS = (
    *((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2)),
    *((6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)),
)
LAST = 1280


@keras.saving.register_keras_serializable("zoo")
class MobileNetV2(InvertedResidualNetwork):
    """A 3x3 convolution, 17 inverted residuals, a 1x1 convolution, global average pooling and Dense classes.

    Args:
        alpha: Width multiplier of the numbers of channels; that of the last convolution never falls below 1,280.

    The other arguments, shapes and errors are those of `VisionModel`.
    """

    WIDTHS = {"alpha": 0.05}

    def __init__(
        self,
        num_classes: int = 10,
        alpha: float = 1.0,
        dropout: float = 0.0,
        mean: tuple[float, ...] = (0.5,),
        std: tuple[float, ...] = (0.5,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(num_classes, mean, std, dropout, first_stride, widths, **kwargs)
        self.alpha = alpha
        rows = [(3, t, divisible(int(c * alpha)), s if i == 0 else 1) for t, c, n, s in BLOCKS for i in range(n)]
        self.assemble(divisible(32 * alpha), rows, divisible(LAST * max(alpha, 1.0)))

    def get_config(self):
        return super().get_config() | {"alpha": self.alpha}
