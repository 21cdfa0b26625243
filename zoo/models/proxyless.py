"""ProxylessNAS-Mobile (Cai et al., 2019, arXiv:1812.00332): an inverted residual network found by search.

With alpha 1 and 1,000 classes it has 4,080,512 trainable parameters. Narrow ones, such as alpha 0.3, are those that
MCUNet (Lin et al., 2020) fits into microcontrollers.
"""

import keras

from zoo.models.parts.convolutions import divisible
from zoo.models.parts.vision import InvertedResidualNetwork

# Kernel size, expansion factor and output channels of each block, and the stride of the first of each stage: figure 4
# of the paper.
STAGES = (
    (((3, 1, 16),), 1),
    (((5, 3, 32), (3, 3, 32)), 2),
    (((7, 3, 40), (3, 3, 40), (5, 3, 40), (5, 3, 40)), 2),
    (((7, 6, 80), (5, 3, 80), (5, 3, 80), (5, 3, 80)), 2),
    (((5, 6, 96), (5, 3, 96), (5, 3, 96), (5, 3, 96)), 1),
    (((7, 6, 192), (7, 6, 192), (7, 3, 192), (7, 3, 192)), 2),
    (((7, 6, 320),), 1),
)
STEM, LAST = 32, 1280


@keras.saving.register_keras_serializable("zoo")
class Proxyless(InvertedResidualNetwork):
    """A 3x3 convolution, 20 inverted residuals, a 1x1 convolution, global average pooling and Dense classes.

    Args:
        alpha: Width multiplier of the numbers of channels, also of the last convolution.

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
        rows = [
            (kernel_size, factor, divisible(c * alpha), first if i == 0 else 1)
            for blocks, first in STAGES
            for i, (kernel_size, factor, c) in enumerate(blocks)
        ]
        self.assemble(divisible(STEM * alpha), rows, divisible(LAST * alpha))

    def get_config(self):
        return super().get_config() | {"alpha": self.alpha}
