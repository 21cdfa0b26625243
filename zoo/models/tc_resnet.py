"""TC-ResNet (Choi et al., 2019, arXiv:1904.03814): keyword spotting with convolutions along time.

The coefficients of a frame are channels, so that every convolution sees all frequencies and a kernel is as wide as the
time that it covers. `num_blocks` = 3 is TC-ResNet8, 6 is TC-ResNet14.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.convolutions import ConvNorm
from zoo.models.parts.listening import ListeningModel

# Channels of the first convolution and of the blocks, before the multiplier.
STEM, BLOCKS = 16, (24, 32, 48)
FIRST, KERNEL = (3, 1), (9, 1)


class TemporalBlock(layers.Layer):
    """Two convolutions of nine frames, whose input is added, through a pointwise convolution if its shape differs.

    Args:
        inner: Channels of the first convolution.
        filters: Channels of the second one, and of the shortcut.
        strides: Stride of the first convolution.
        causal: Whether no result depends on a later frame.
        shortcut: Channels of a pointwise convolution that the input passes, as many as those of the second one; 0 for
            none.

    Input shape: (batch, frames, 1, channels).
    Output shape: (batch, new frames, 1, filters).
    """

    def __init__(self, inner: int, filters: int, strides: int, shortcut: int, causal: bool, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.first = ConvNorm(inner, KERNEL, strides, "relu", causal=causal, dtype=policy, name="first")
        self.second = ConvNorm(filters, KERNEL, causal=causal, dtype=policy, name="second")
        self.shortcut = ConvNorm(shortcut, 1, strides, "relu", dtype=policy, name="shortcut") if shortcut else None
        self.add = layers.Add(dtype=policy, name="add")
        self.activate = layers.Activation("relu", dtype=policy, name="activation")

    def build(self, input_shape):
        self.first.build(input_shape)
        self.second.build(self.first.compute_output_shape(input_shape))
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
        self.built = True

    def compute_output_shape(self, input_shape):
        return self.second.compute_output_shape(self.first.compute_output_shape(input_shape))

    def call(self, x, training=None):
        y = self.second(self.first(x, training=training), training=training)
        x = x if self.shortcut is None else self.shortcut(x, training=training)
        return self.activate(self.add([x, y]))


@keras.saving.register_keras_serializable("zoo")
class TCResNet(ListeningModel):
    """A convolution of three frames, residual blocks of convolutions along time, average pooling and Dense classes.

    Args:
        alpha: Width multiplier.
        num_blocks: Number of residual blocks: 3 of stride 2, or 6, of which every other one keeps the frames.
        dropout: Dropout rate before the classes.
        first_stride: Stride of the first convolution; None: 1.
        causal: Whether no result depends on a later frame, as streaming files need.

    The arguments of the front end are those of `zoo.models.ds_cnn.DSCNN`, the others, shapes and errors those of
    `VisionModel`. Pictures of sound have the shape (batch, frames, coefficients, 1).
    """

    WIDTHS = {"alpha": 0.0625}
    FIRST_STRIDES = (1, 1)

    def __init__(
        self,
        num_classes: int = 12,
        alpha: float = 1.0,
        num_blocks: int = 3,
        dropout: float = 0.5,
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        rate: int = 0,
        features: Literal["mfcc", "logmel", "pcen", "none"] | None = None,
        frame_ms: float = 30.0,
        hop_ms: float = 10.0,
        mels: int = 40,
        coefficients: int = 40,
        highest_hz: float = 4000.0,
        level: Literal["peak", "none"] = "peak",
        floor: float = 1e-6,
        causal: bool = False,
        **kwargs,
    ):
        sound = {
            "rate": rate,
            "features": features,
            "frame_ms": frame_ms,
            "hop_ms": hop_ms,
            "mels": mels,
            "coefficients": coefficients,
            "highest_hz": highest_hz,
            "level": level,
            "floor": floor,
        }
        super().__init__(num_classes, mean, std, dropout, first_stride, widths, sound=sound, causal=causal, **kwargs)
        if num_blocks not in (3, 6):
            raise ValueError(f"{self.family}: num_blocks: expected 3 or 6, received {num_blocks}")
        self.alpha = alpha
        self.num_blocks = num_blocks
        policy = self.dtype_policy
        self.stem = ConvNorm(self.width(round(alpha * STEM)), FIRST, causal=causal, name="stem", dtype=policy)
        self.blocks = []
        for number in range(num_blocks):
            repeats = num_blocks // len(BLOCKS)
            filters, strides = round(alpha * BLOCKS[number // repeats]), 1 if number % repeats else 2
            self.blocks.append(
                TemporalBlock(
                    self.width(filters),
                    self.width(filters),
                    strides,
                    shortcut=self.width(filters) if strides == 2 else 0,
                    causal=causal,
                    dtype=policy,
                    name=f"block_{number + 1}",
                )
            )
        self.finish()

    def picture_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the pictures of sound that the convolutions see: frequencies are channels."""
        batch, frames, columns, *_ = super().picture_shape(input_shape)
        return (batch, frames, 1, columns)

    def picture(self, x):
        x = super().picture(x)
        x = ops.expand_dims(x, -1) if len(x.shape) == 3 else x
        return ops.transpose(x, (0, 1, 3, 2))

    def get_config(self):
        return super().get_config() | {
            "alpha": self.alpha,
            "num_blocks": self.num_blocks,
        }
