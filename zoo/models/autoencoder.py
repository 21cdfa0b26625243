"""Autoencoder of Dense layers, as MLPerf Tiny has it for the detection of anomalies (Banbury et al., 2021).

The network is that of the DCASE challenge 2020, task 2 (Koizumi et al., 2020, arXiv:2006.05822): four Dense layers of
128, a code of 8, four Dense layers of 128, and a Dense layer as wide as the input; batch normalisation and ReLU follow
each but the last. For inputs of 640 values it has 269,992 parameters: five frames of sound of 128 log-mel bands. The
data are such values, or samples, from which a front end in the model makes them.
"""

import math
from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.autoencoders.reconstruction import ReconstructingModel
from zoo.models.parts.layers import check_positive, logits_dtype

# Share of the moving averages that a step keeps: small sets do not have the hundreds of steps that 0.99 needs.
MOMENTUM = 0.9


@keras.saving.register_keras_serializable("zoo")
class Autoencoder(ReconstructingModel):
    """Dense layers that narrow to a code and widen again to the size of the input.

    Args:
        units: Widths of the Dense layers before the code.
        code: Width of the code.
        decoder_units: Widths of the Dense layers after the code; empty: those before it in reverse.
        mean: What is subtracted from the inputs, of sound from the frames: one number, or one for each feature (the
            last axis).
        std: What the difference is divided by, likewise.
        frames: Number of neighbouring frames of sound that are reconstructed together.
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

    Input shape: (batch, ...), features, windows of series or pixels in [0, 1]; or samples (batch, samples).
    Output shape: that of the input, the reconstruction of (x - mean) / std; of samples (batch, windows), the mean
    squared error of each window of frames.

    Raises:
        ValueError: A size that is not positive, or, when the model is built, means for another number of features, or
            clips of fewer frames than a window.
    """

    WIDTHS = {"units": 1, "code": 1, "decoder_units": 1}

    def __init__(
        self,
        units: tuple[int, ...] = (128, 128, 128, 128),
        code: int = 8,
        decoder_units: tuple[int, ...] = (),
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        frames: int = 5,
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
        super().__init__(mean, std, frames=frames, sound=sound, **kwargs)
        widened = tuple(decoder_units) or tuple(units)[::-1]
        check_positive("autoencoder", units=tuple(units), code=code, decoder_units=widened, frames=frames)
        self.frames = frames
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        self.flatten = layers.Flatten(dtype=policy, name="flatten")
        names = [f"encoder_{i + 1}" for i in range(len(units))] + ["code"]
        names += [f"decoder_{i + 1}" for i in range(len(widened))]
        widths = (*units, code, *widened)
        self.encoded = len(units)
        self.hidden = [layers.Dense(n, dtype=policy, name=name) for n, name in zip(widths, names, strict=True)]
        self.norms = [layers.BatchNormalization(momentum=MOMENTUM, dtype=policy, name=f"norm_{n}") for n in names]
        self.activate = layers.Activation("relu", dtype=policy, name="activation")

    def build(self, input_shape):
        shape = self.target_shape(input_shape)
        size = shape[-1] if self.gives_errors else math.prod(shape[1:])
        rows = (None, size)
        for hidden, norm in zip(self.hidden, self.norms, strict=True):
            hidden.build(rows)
            rows = (None, hidden.units)
            norm.build(rows)
        self.head = layers.Dense(size, dtype=logits_dtype(self.dtype_policy), name="head")
        self.head.build(rows)
        self.shaped = layers.Reshape(shape[1:], dtype=self.dtype_policy, name="shaped")
        self.built = True

    def reconstruction(self, x, training=None):
        shape = x.shape
        x = ops.reshape(x, (-1, shape[-1])) if self.gives_errors else self.flatten(x)
        for hidden, norm in zip(self.hidden, self.norms, strict=True):
            x = self.activate(norm(hidden(x), training=training))
        x = self.head(x)
        if self.gives_errors:
            return ops.reshape(x, (-1, *shape[1:]))
        return x if self.shaped.target_shape == x.shape[1:] else self.shaped(x)

    def get_config(self):
        widths = tuple(layer.units for layer in self.hidden)  # as built: channel pruning makes them smaller
        units, widened = widths[: self.encoded], widths[self.encoded + 1 :]
        return super().get_config() | {
            "units": units,
            "code": widths[self.encoded],
            "decoder_units": () if widened == units[::-1] else widened,
            "frames": self.frames,
        }
