"""PatchTransformer: a transformer over patches of one series at a time (PatchTST, Nie et al., 2023).

Differs from the paper in its blocks, which have layer normalisation in place of batch normalisation.
"""

from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from zoo.models.parts.blocks import Stack, sizes_of
from zoo.models.parts.forecaster import Forecaster
from zoo.models.parts.layers import check_positive


@keras.saving.register_keras_serializable("zoo")
class PatchTransformer(Forecaster):
    """Patches of each column, an encoder that all columns share, and one linear layer from all patches to the future.

    Args:
        horizon: Number of steps to forecast.
        means: Mean of each column; see `Forecaster`.
        deviations: Standard deviation of each column.
        known: Number of known columns.
        quantiles: Quantiles to forecast; none for the mean.
        patch: Number of steps in a patch.
        stride: Number of steps from one patch to the next.
        num_layers: Number of encoder blocks.
        model_dim: Width of a patch inside the encoder.
        num_heads: Number of attention heads; must divide `model_dim` unless `key_dim` is given.
        ff_dim: Width of each block's feed-forward layer.
        dropout: Dropout rate, in [0, 1).
        norm: Position of layer normalisation, "pre" or "post".
        key_dim: Width of each head; None for `model_dim / num_heads`.
        normalization: "instance", "last" or "none".
        known_units: Width of the hidden layer for known columns.

    Input shape and output shape: see `Forecaster`.

    Raises:
        ValueError: If a size is not positive, or a patch is longer than a window.

    Reference: Nie, Nguyen, Sinthong and Kalagnanam: A time series is worth 64 words. ICLR 2023.
    """

    WIDTHS = {"model_dim": "num_heads", "key_dim": 1, "ff_dim": 1}

    def __init__(
        self,
        horizon: int = 96,
        means: tuple[float, ...] = (0.0,),
        deviations: tuple[float, ...] = (1.0,),
        known: int = 0,
        quantiles: tuple[float, ...] = (),
        patch: int = 16,
        stride: int = 8,
        num_layers: int = 3,
        model_dim: int = 16,
        num_heads: int = 4,
        ff_dim: int = 128,
        dropout: float = 0.3,
        norm: Literal["pre", "post"] = "post",
        key_dim: int | None = None,
        normalization: Literal["instance", "last", "none"] = "instance",
        known_units: int = 16,
        **kwargs,
    ):
        super().__init__(
            "patch_transformer", horizon, means, deviations, known, quantiles, normalization, known_units, **kwargs
        )
        sizes = {"patch": patch, "stride": stride, "num_layers": num_layers, "model_dim": model_dim, "ff_dim": ff_dim}
        check_positive("patch_transformer", **sizes, num_heads=num_heads)
        self.patch, self.stride = patch, stride
        self.num_layers = num_layers
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.ff_dim = ff_dim
        self.dropout = dropout
        self.norm = norm
        self.key_dim = key_dim
        policy = self.dtype_policy
        self.embed = layers.Dense(model_dim, dtype=policy, name="embed")
        self.encoder = Stack(
            num_layers, num_heads, key_dim, ff_dim, dropout, "gelu", norm, "learned", 1.0, dtype=policy, name="encoder"
        )
        self.flatten = layers.Flatten(dtype=policy, name="flatten")
        self.head = layers.Dense(self.horizon * self.answers, dtype=policy, name="head")

    def build_forecast(self, lookback):
        if self.patch > lookback:
            raise ValueError(f"patch_transformer: patch: expected at most the {lookback} steps of a window, received"
                             f" {self.patch}")  # fmt: skip
        # As in the paper, the last value is repeated once more for `stride` steps, so that no step is left out.
        starts = np.arange(0, lookback + self.stride - self.patch + 1, self.stride)
        self.places = np.minimum(starts[:, None] + np.arange(self.patch), lookback - 1)  # (patches, patch)
        self.embed.build((None, len(starts), self.patch))
        self.encoder.build((None, len(starts), self.model_dim))
        self.head.build((None, len(starts) * self.model_dim))

    def forecast(self, x, training=None):
        series = ops.reshape(ops.transpose(x, (0, 2, 1)), (-1, x.shape[1]))  # (batch * targets, time)
        patches = self.embed(ops.take(series, self.places, axis=1))  # (batch * targets, patches, model_dim)
        y = self.head(self.flatten(self.encoder(patches, training=training)))
        y = ops.reshape(y, (-1, self.targets, self.horizon, self.answers))
        return ops.transpose(y, (0, 2, 1, 3))

    def get_config(self):
        return super().get_config() | {
            "patch": self.patch,
            "stride": self.stride,
            "num_layers": self.num_layers,
            "model_dim": self.model_dim,
            **sizes_of("patch_transformer", self.encoder.blocks),
            "dropout": self.dropout,
            "norm": self.norm,
        }
