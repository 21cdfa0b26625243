"""DS-CNN (Zhang et al., 2017, arXiv:1711.07128): keyword spotting with depthwise separable convolutions.

The shape is that of MLPerf Tiny (Banbury et al., 2021): 64 channels and four blocks. With `use_bias`, 12 classes and
inputs of 49 x 10 it has 24,908 parameters. The convolutions see a picture of sound, time steps by coefficients. The
data are such pictures, or samples, from which a front end in the model makes them.
"""

from typing import Literal

import keras
from keras import layers

from zoo.models.parts.convolutions import ConvNorm, DepthwiseSeparable
from zoo.models.parts.listening import ListeningModel


@keras.saving.register_keras_serializable("zoo")
class DSCNN(ListeningModel):
    """A 10x4 convolution, depthwise separable convolutions of one width, global average pooling and Dense classes.

    Args:
        filters: Channels of every convolution.
        num_blocks: Number of depthwise separable convolutions.
        use_bias: Whether convolutions have biases before their normalisation.
        dropout: Dropout rate before the classes; half of it applies after the first convolution.
        first_stride: Stride of the first convolution; None: 2.
        rate: Samples of sound in a second; 0 for pictures of sound.
        features: Front end of samples: mfcc, logmel or pcen, see `zoo.models.parts.sound.SoundFeatures`; None: mfcc for
            samples, none for pictures.
        frame_ms: Length of a frame in milliseconds.
        hop_ms: Distance of frames in milliseconds.
        mels: Number of mel bands.
        coefficients: Number of coefficients of mfcc.
        highest_hz: Upper edge of the mel bands in Hz.
        level: peak to divide a clip by its largest sample, none to keep its level.
        floor: What is added to mel magnitudes before the logarithm.
        causal: Whether no result depends on a later time step, as streaming files need.

    The other arguments, shapes and errors are those of `VisionModel`; samples have the shape (batch, samples).
    """

    WIDTHS = {"filters": 1}
    FIRST_STRIDES = (2, 2)

    def __init__(
        self,
        num_classes: int = 12,
        filters: int = 64,
        num_blocks: int = 4,
        use_bias: bool = False,
        dropout: float = 0.4,
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        first_stride: int | None = None,
        widths: tuple[int, ...] = (),
        rate: int = 0,
        features: Literal["mfcc", "logmel", "pcen", "none"] | None = None,
        frame_ms: float = 30.0,
        hop_ms: float = 20.0,
        mels: int = 40,
        coefficients: int = 10,
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
        self.filters = filters
        self.num_blocks = num_blocks
        self.use_bias = use_bias
        policy = self.dtype_policy
        shared = {"activation": "relu", "use_bias": use_bias, "causal": causal, "dtype": policy}
        self.stem = ConvNorm(self.width(filters), (10, 4), name="stem", **shared)
        separable = [
            DepthwiseSeparable(self.width(filters), 1, name=f"block_{i + 1}", **shared) for i in range(num_blocks)
        ]
        self.blocks = [layers.Dropout(dropout / 2, dtype=policy, name="drop_first"), *separable]
        self.finish()

    def get_config(self):
        return super().get_config() | {
            "filters": self.filters,
            "num_blocks": self.num_blocks,
            "use_bias": self.use_bias,
        }
