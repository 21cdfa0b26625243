"""MobileNetV3 (Howard et al., 2019, arXiv:1905.02244): searched inverted residuals, squeeze and excitation, hard swish.

With alpha 1 and 1,000 classes it has 2,554,968 (small) and 5,507,432 (large) parameters, as in keras.applications,
whose weights fit. Differs from keras.applications after the pooling, where Dense layers take the place of 1x1
convolutions: the same values.
"""

from typing import Literal

import keras
from keras import layers

from zoo.models.parts.convolutions import ConvNorm, InvertedResidual, divisible
from zoo.models.parts.vision import VisionModel

# Kernel size, expanded channels, output channels, whether channels are squeezed and excited, activation, stride: tables
# 1 and 2 of the paper. The expansion of the paper's widths gives the factors by which `alpha` scales them.
_RE, _HS = "relu", "hard_swish"
BLOCKS = {
    "small": (
        (3, 16, 16, True, _RE, 2),
        (3, 72, 24, False, _RE, 2),
        (3, 88, 24, False, _RE, 1),
        (5, 96, 40, True, _HS, 2),
        *(((5, 240, 40, True, _HS, 1),) * 2),
        (5, 120, 48, True, _HS, 1),
        (5, 144, 48, True, _HS, 1),
        (5, 288, 96, True, _HS, 2),
        *(((5, 576, 96, True, _HS, 1),) * 2),
    ),
    "large": (
        (3, 16, 16, False, _RE, 1),
        (3, 64, 24, False, _RE, 2),
        (3, 72, 24, False, _RE, 1),
        (5, 72, 40, True, _RE, 2),
        *(((5, 120, 40, True, _RE, 1),) * 2),
        (3, 240, 80, False, _HS, 2),
        (3, 200, 80, False, _HS, 1),
        *(((3, 184, 80, False, _HS, 1),) * 2),
        (3, 480, 112, True, _HS, 1),
        (3, 672, 112, True, _HS, 1),
        (5, 672, 160, True, _HS, 2),
        *(((5, 960, 160, True, _HS, 1),) * 2),
    ),
}
STEM = 16
UNITS = {"small": 1024, "large": 1280}
SQUEEZE = 0.25


@keras.saving.register_keras_serializable("zoo")
class MobileNetV3(VisionModel):
    """A 3x3 convolution, inverted residuals, a 1x1 convolution, pooling, a Dense layer and Dense classes.

    Args:
        size: "small" (11 blocks) or "large" (15 blocks).
        alpha: Width multiplier of the numbers of channels; that of the last Dense layer never falls.

    The other arguments, shapes and errors are those of `VisionModel`.
    """

    WIDTHS = {"alpha": 0.05}

    def __init__(
        self,
        num_classes: int = 10,
        size: Literal["small", "large"] = "small",
        alpha: float = 1.0,
        dropout: float = 0.0,
        mean: tuple[float, ...] = (0.5,),
        std: tuple[float, ...] = (0.5,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        **kwargs,
    ):
        super().__init__(num_classes, mean, std, dropout, first_stride, widths, **kwargs)
        if size not in BLOCKS:
            raise ValueError(f"MobileNetV3: size: expected 'small' or 'large', received {size!r}")
        self.size = size
        self.alpha = alpha
        policy = self.dtype_policy
        self.stem = ConvNorm(self.width(STEM), 3, activation=_HS, dtype=policy, name="stem")
        self.blocks = []
        channels, before = STEM, STEM
        for kernel_size, wide, narrow, squeezes, activation, strides in BLOCKS[size]:
            filters, expanded = divisible(narrow * alpha), divisible(channels * (wide / before))
            expands = bool(self.blocks)
            self.blocks.append(
                InvertedResidual(
                    self.width(expanded) if expands else 0,
                    kernel_size=kernel_size,
                    strides=strides,
                    activation=activation,
                    squeezed=(self.width(divisible(expanded * SQUEEZE)), self.width(expanded)) if squeezes else None,
                    filters=self.width(filters),
                    residual=strides == 1 and channels == filters,
                    dtype=policy,
                    name=f"block_{len(self.blocks) + 1}",
                )
            )
            channels, before = filters, narrow
        self.blocks.append(ConvNorm(self.width(divisible(channels * 6)), activation=_HS, dtype=policy, name="last"))
        units = divisible(UNITS[size] * max(alpha, 1.0))
        self.neck = [layers.Dense(self.width(units), _HS, dtype=policy, name="neck")]
        self.finish()

    def get_config(self):
        return super().get_config() | {"size": self.size, "alpha": self.alpha}
