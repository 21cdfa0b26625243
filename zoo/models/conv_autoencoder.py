"""Convolutional autoencoder (Masci et al., 2011) for pictures, windows of series and sound.

As Odena et al. (2016) advise, the decoder enlarges by repeating neighbours and convolves, without transposed
convolutions. A window (time, features) is treated as a picture of width 1 with the features as its channels, so the
same network serves both; so are the frames of sound that a front end in the model makes of samples a picture. The code
is the output of the last strided convolution.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.autoencoders.reconstruction import ReconstructingModel
from zoo.models.parts.convolutions import ConvNorm
from zoo.models.parts.layers import check_positive, logits_dtype


@keras.saving.register_keras_serializable("zoo")
class ConvAutoencoder(ReconstructingModel):
    """Strided convolutions that narrow to a code, and enlargements with convolutions that widen it again.

    Args:
        filters: Channels of the strided convolutions before the code; each halves height and width, or the time.
        code: Channels of the code, which one more convolution without a stride gives.
        kernel_size: Height and width of the kernels, or time steps.
        decoder_filters: Channels of the convolutions after the code; empty: those before it in reverse.
        mean: What is subtracted from the inputs, of sound from the frames: one number, or one for each channel or
            feature.
        std: What the difference is divided by, likewise.
        rate: Samples of sound in a second; 0 for other inputs.
        features: Front end of samples: logmel, mfcc or pcen, see `zoo.models.parts.sound.SoundFeatures`; None: logmel
            for samples, none for other inputs.
        frame_ms: Length of a frame in milliseconds.
        hop_ms: Distance of frames in milliseconds.
        mels: Number of mel bands.
        coefficients: Number of coefficients of mfcc.
        highest_hz: Upper edge of the mel bands in Hz.
        level: peak to divide a clip by its largest sample, none to keep its level.
        floor: What is added to mel magnitudes before the logarithm.

    Input shape: (batch, height, width, channels) pixels in [0, 1], (batch, time, features), or samples
    (batch, samples).
    Output shape: that of the input, the reconstruction of (x - mean) / std; of samples (batch, frames), the mean
    squared error of each frame.

    Raises:
        ValueError: A size that is not positive, or, when the model is built, inputs of other axes or means for another
            number of channels.
    """

    WIDTHS = {"filters": 1, "code": 1, "decoder_filters": 1}

    def __init__(
        self,
        filters: tuple[int, ...] = (16, 32, 64),
        code: int = 8,
        kernel_size: int = 3,
        decoder_filters: tuple[int, ...] = (),
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        rate: int = 0,
        features: Literal["logmel", "mfcc", "pcen", "none"] | None = None,
        frame_ms: float = 64.0,
        hop_ms: float = 32.0,
        mels: int = 128,
        coefficients: int = 13,
        highest_hz: float = 8000.0,
        level: Literal["peak", "none"] = "none",
        floor: float = 1e-6,
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
        super().__init__(mean, std, frames=1, sound=sound, **kwargs)
        widened = tuple(decoder_filters) or tuple(filters)[::-1]
        sizes = {"code": code, "kernel_size": kernel_size, "decoder_filters": widened}
        check_positive("autoencoder_conv", filters=tuple(filters), **sizes)
        if len(widened) != len(filters):
            raise ValueError(f"autoencoder_conv: decoder_filters: expected {len(filters)} numbers, received {widened}")
        self.kernel_size = kernel_size
        self.filters, self.code_channels, self.widened = tuple(filters), code, widened

    def _make(self, series: bool) -> None:
        """Make the layers, with kernels and strides along the axes that there are."""
        policy = self.dtype_policy
        kernel, stride = ((n, 1) if series else (n, n) for n in (self.kernel_size, 2))
        shared = {"activation": "relu", "dtype": policy}
        self.encoder = [
            ConvNorm(n, kernel, stride, name=f"encoder_{i}", **shared) for i, n in enumerate(self.filters, 1)
        ]
        self.code = ConvNorm(self.code_channels, (1, 1), name="code", **shared)
        self.decoder = [ConvNorm(n, kernel, name=f"decoder_{i}", **shared) for i, n in enumerate(self.widened, 1)]
        self.kernel, self.stride = kernel, stride

    def build(self, input_shape):
        shape = self.target_shape(input_shape)
        if len(shape) not in (3, 4):
            raise ValueError(
                "autoencoder_conv: expected (height, width, channels) or (time, features), received shape"
                f" {input_shape[1:]}"
            )
        # The axis that makes a picture of a window, or of frames of sound.
        self.added = None if len(shape) == 4 else 3 if self.gives_errors else 2
        self._make(series=self.added == 2)
        shape = (None, *(shape[1:] if self.added is None else (*shape[1 : self.added], 1, *shape[self.added :])))
        self.sizes, channels = [], shape[-1]
        for part in self.encoder:
            self.sizes.append(tuple(shape[1:3]))
            part.build(shape)
            shape = part.compute_output_shape(shape)
        self.code.build(shape)
        shape = self.code.compute_output_shape(shape)
        for part, size in zip(self.decoder, reversed(self.sizes), strict=True):
            part.build((None, *size, shape[-1]))
            shape = part.compute_output_shape((None, *size, shape[-1]))
        dtype = logits_dtype(self.dtype_policy)
        self.head = layers.Conv2D(channels, self.kernel, padding="same", dtype=dtype, name="head")
        self.head.build(shape)
        self.built = True

    def reconstruction(self, x, training=None):
        x = x if self.added is None else ops.expand_dims(x, self.added)
        for part in (*self.encoder, self.code):
            x = part(x, training=training)
        for part, (height, width) in zip(self.decoder, reversed(self.sizes), strict=True):
            enlarged = [n * factor for n, factor in zip(x.shape[1:3], self.stride, strict=True)]
            x = ops.image.resize(x, enlarged, interpolation="nearest")
            if tuple(x.shape[1:3]) != (height, width):  # an odd size was rounded up when it was halved
                x = x[:, :height, :width]
            x = part(x, training=training)
        x = self.head(x)
        return x if self.added is None else ops.squeeze(x, self.added)

    def get_config(self):
        made = self.built  # as built: channel pruning makes the convolutions smaller
        filters = tuple(part.conv.filters for part in self.encoder) if made else self.filters
        widened = tuple(part.conv.filters for part in self.decoder) if made else self.widened
        return super().get_config() | {
            "filters": filters,
            "code": self.code.conv.filters if made else self.code_channels,
            "kernel_size": self.kernel_size,
            "decoder_filters": () if widened == filters[::-1] else widened,
        }
