"""Streaming wake word network of MLPerf Tiny (Banbury et al., 2021, arXiv:2106.07597; version 1.3 of the benchmark).

Frequencies are channels, as in TC-ResNet: each block is a depthwise convolution along time and a pointwise one. The
convolutions are not padded, so that a call sees as many frames as all kernels cover, 30, and gives one answer. With 40
bands and three classes (the word, silence, unknown words) it has 47,707 parameters.

The benchmark's network takes 30 frames. Here, what is left of more frames is averaged, and zeros stand before fewer.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.convolutions import CausalPadding, ConvNorm
from zoo.models.parts.layers import check_positive
from zoo.models.parts.listening import ListeningModel


class TemporalSeparable(layers.Layer):
    """A depthwise convolution along time without padding, a pointwise one with normalisation and ReLU, and dropout.

    Args:
        filters: Number of output channels.
        kernel: Frames of the depthwise kernel.
        dropout: Dropout rate after the activation.
        causal: Whether zeros stand before the first frame, so that no frame is lost; see `CausalPadding`.

    Input shape: (batch, frames, 1, channels).
    Output shape: (batch, frames - kernel + 1, 1, filters), or as many frames if causal.
    """

    def __init__(self, filters: int, kernel: int, dropout: float, causal: bool, **kwargs):
        super().__init__(**kwargs)
        policy = self.dtype_policy
        self.pad = CausalPadding((kernel, 1), dtype=policy, name="pad") if causal else None
        self.depthwise = layers.DepthwiseConv2D((kernel, 1), use_bias=False, dtype=policy, name="depthwise")
        self.pointwise = ConvNorm(filters, activation="relu", dtype=policy, name="pointwise")
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")

    def set_stride(self, stride: int) -> None:
        """Set the stride of the depthwise convolution, before it is built."""
        self.depthwise.strides = (stride, stride)
        if self.pad is not None:
            self.pad.stride = stride

    def build(self, input_shape):
        self.depthwise.build(self._padded(input_shape))
        self.pointwise.build(self.depthwise.compute_output_shape(self._padded(input_shape)))
        self.built = True

    def _padded(self, shape):
        return shape if self.pad is None else self.pad.compute_output_shape(shape)

    def compute_output_shape(self, input_shape):
        return self.pointwise.compute_output_shape(self.depthwise.compute_output_shape(self._padded(input_shape)))

    def call(self, x, training=None):
        x = x if self.pad is None else self.pad(x)
        return self.drop(self.pointwise(self.depthwise(x), training=training), training=training)


@keras.saving.register_keras_serializable("zoo")
class StreamingWakeword(ListeningModel):
    """Separable convolutions along time, the mean over what is left of it, and Dense classes.

    Args:
        kernels: Frames of the kernel of each block.
        filters: Channels of each block.
        dropout: Dropout rate after each block.
        first_stride: Stride of the first convolution; None: 1.
        causal: Whether every frame gives an answer, from earlier frames alone, as streaming files need.

    The arguments of the front end are those of `zoo.models.ds_cnn.DSCNN`, the others, shapes and errors those of
    `VisionModel`. Pictures of sound have the shape (batch, frames, bands, 1) or (batch, frames, 1, bands).
    """

    WIDTHS = {"filters": 1}
    FIRST_STRIDES = (1, 1)

    def __init__(
        self,
        num_classes: int = 3,
        kernels: tuple[int, ...] = (3, 5, 10, 15),
        filters: tuple[int, ...] = (128, 128, 128, 32),
        dropout: float = 0.2,
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        rate: int = 0,
        features: Literal["mfcc", "logmel", "pcen", "none"] | None = None,
        frame_ms: float = 64.0,
        hop_ms: float = 32.0,
        mels: int = 40,
        coefficients: int = 40,
        highest_hz: float = 8000.0,
        level: Literal["peak", "none"] = "none",
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
        kernels, filters = tuple(kernels), tuple(filters)
        check_positive(self.family, kernels=kernels, filters=filters)
        if not kernels or len(kernels) != len(filters):
            raise ValueError(
                f"{self.family}: filters: expected a number for each of {len(kernels)} kernels, received {len(filters)}"
            )
        self.kernels, self.filters = kernels, filters
        rates = (*(dropout,) * (len(kernels) - 1), 0.0)  # the last dropout is the one before the classes
        shared = {"causal": causal, "dtype": self.dtype_policy}
        self.stem, *self.blocks = (
            TemporalSeparable(self.width(width), kernel, rate, name=f"block_{number}", **shared)
            for number, (width, kernel, rate) in enumerate(zip(filters, kernels, rates, strict=True), 1)
        )
        self.finish()

    def missing(self, frames: int) -> int:
        """Return the number of zeros before pictures of few frames, so that the kernels see one answer's worth."""
        first, *others = self.kernels
        needed = first + (self.first_stride or 1) * (sum(others) - len(others))
        return 0 if self.causal else max(0, needed - frames)

    def picture_shape(self, input_shape: tuple) -> tuple:
        """Return the shape of the pictures of sound that the convolutions see: bands are channels."""
        batch, frames, columns, *channels = super().picture_shape(input_shape)
        rest = (*(channels or (1,)), columns)
        return (batch, frames + self.missing(frames), *(rest if columns > 1 else rest[::-1]))

    def picture(self, x):
        x = super().picture(x)
        x = ops.expand_dims(x, -1) if len(x.shape) == 3 else x
        x = ops.transpose(x, (0, 1, 3, 2)) if x.shape[2] > 1 else x
        missing = self.missing(x.shape[1])
        return ops.pad(x, ((0, 0), (missing, 0), (0, 0), (0, 0))) if missing else x

    def get_config(self):
        return super().get_config() | {"kernels": self.kernels, "filters": self.filters}
