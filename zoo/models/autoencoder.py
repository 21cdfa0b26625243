"""Autoencoder of Dense layers, as MLPerf Tiny has it for the detection of anomalies (Banbury et al., 2021).

The network is that of the DCASE challenge 2020, task 2 (Koizumi et al., 2020, arXiv:2006.05822): four Dense layers of
128, a code of 8, four Dense layers of 128, and a Dense layer as wide as the input; batch normalisation and ReLU follow
each but the last. For inputs of 640 values it has 269,992 parameters.
"""

import math

import keras
from keras import layers

from zoo.models.parts.layers import check_positive, logits_dtype
from zoo.models.parts.standardization import StandardizingModel

# Share of the moving averages that a step keeps: small sets do not have the hundreds of steps that 0.99 needs.
MOMENTUM = 0.9


@keras.saving.register_keras_serializable("zoo")
class Autoencoder(StandardizingModel):
    """Dense layers that narrow to a code and widen again to the size of the input.

    Args:
        units: Widths of the Dense layers before the code.
        code: Width of the code.
        decoder_units: Widths of the Dense layers after the code; empty: those before it in reverse.
        mean: What is subtracted from the inputs: one number, or one for each feature (the last axis).
        std: What the difference is divided by, likewise.

    Input shape: (batch, ...), features, windows of series or pixels in [0, 1].
    Output shape: that of the input; the reconstruction of (x - mean) / std.

    Raises:
        ValueError: A size that is not positive, or, when the model is built, means for another number of features.
    """

    WIDTHS = {"units": 1, "code": 1, "decoder_units": 1}

    def __init__(
        self,
        units: tuple[int, ...] = (128, 128, 128, 128),
        code: int = 8,
        decoder_units: tuple[int, ...] = (),
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        **kwargs,
    ):
        super().__init__(mean, std, **kwargs)
        widened = tuple(decoder_units) or tuple(units)[::-1]
        check_positive("autoencoder", units=tuple(units), code=code, decoder_units=widened)
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
        self.check_features(input_shape[-1])
        size = math.prod(input_shape[1:])
        shape = (None, size)
        for hidden, norm in zip(self.hidden, self.norms, strict=True):
            hidden.build(shape)
            shape = (None, hidden.units)
            norm.build(shape)
        self.head = layers.Dense(size, dtype=logits_dtype(self.dtype_policy), name="head")
        self.head.build(shape)
        self.shaped = layers.Reshape(tuple(input_shape[1:]), dtype=self.dtype_policy, name="shaped")
        self.built = True

    def call(self, x, training=None):
        x = self.flatten(self.standardized(x))
        for hidden, norm in zip(self.hidden, self.norms, strict=True):
            x = self.activate(norm(hidden(x), training=training))
        x = self.head(x)
        return x if self.shaped.target_shape == x.shape[1:] else self.shaped(x)

    def get_config(self):
        widths = tuple(layer.units for layer in self.hidden)  # as built: channel pruning makes them smaller
        units, widened = widths[: self.encoded], widths[self.encoded + 1 :]
        return super().get_config() | {
            "units": units,
            "code": widths[self.encoded],
            "decoder_units": () if widened == units[::-1] else widened,
        }
