"""Multi-head self-attention (Vaswani et al., 2017), positions, and a small classifier built from them.

Differs from the paper in the classifier's blocks: layer normalisation comes before each part (pre-norm, Xiong et
al., 2020), which trains without a long warm-up.
"""

from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from zoo.models.layers import as_rows, check_positive, logits_dtype, rows_shape

# Vaswani et al. (2017), section 3.5: wavelengths from 2 pi to 10,000 times 2 pi.
LONGEST_WAVELENGTH = 10_000
# The score of a hidden key: its weight is below 1e-38 beside any score above -12, and a row in which every key is
# hidden stays finite. A larger number would leave an 8-bit file no steps to tell the other scores apart.
HIDDEN = -100.0


@keras.saving.register_keras_serializable("zoo")
class MultiHeadSelfAttention(layers.Layer):
    """softmax(Q K^T / sqrt(d_k)) V for several heads, with one projection for Q, K and V.

    Args:
        num_heads: number of heads.
        key_dim: width d_k of each head; default, the input's width divided by `num_heads`.
        dropout: share of the attention weights dropped in training, in [0, 1).
        causal: hide every later step from a step.

    Call arguments:
        x: (batch, time, features).
        mask: (batch, time), true where a step may be attended to; default, everywhere.

    Output shape: (batch, time, features).

    Raises:
        ValueError: when built, if the width is not a multiple of `num_heads` and `key_dim` is not given.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("self_attention", num_heads=num_heads)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.dropout = dropout
        self.causal = causal
        self.supports_masking = True
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")
        # Layers, where an operation would do, so that quantization-aware training sees what passes.
        self.scores = layers.Activation("linear", dtype=self.dtype_policy, name="scores")
        self.softmax = layers.Activation("softmax", dtype=self.dtype_policy, name="softmax")
        self.heads = layers.Activation("linear", dtype=self.dtype_policy, name="heads")

    def build(self, input_shape):
        width = input_shape[-1]
        if self.key_dim is None and width % self.num_heads:
            raise ValueError(
                f"self_attention: expected a width that is a multiple of num_heads={self.num_heads}, received {width}"
            )
        self.key_dim = self.key_dim or width // self.num_heads
        self.query_key_value = layers.Dense(
            3 * self.num_heads * self.key_dim, dtype=self.dtype_policy, name="query_key_value"
        )
        self.query_key_value.build((None, None, width))
        self.output_projection = layers.Dense(width, dtype=self.dtype_policy, name="output_projection")
        self.output_projection.build((None, None, self.num_heads * self.key_dim))
        self.built = True

    def call(self, x, mask=None, training=None):
        time = x.shape[1]
        x = self.query_key_value(x)
        x = ops.reshape(x, (-1, time, 3, self.num_heads, self.key_dim))
        x = ops.transpose(x, (2, 0, 3, 1, 4))  # (3, batch, heads, time, d_k)
        query, key, value = x[0] / self.key_dim**0.5, x[1], x[2]
        scores = self.scores(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))  # (batch, heads, time, time)
        if self.causal:
            visible = np.tri(time, dtype=bool)
            scores = ops.where(visible, scores, ops.cast(HIDDEN, scores.dtype))
        if mask is not None:
            scores = ops.where(mask[:, None, None, :], scores, ops.cast(HIDDEN, scores.dtype))
        weights = self.drop(self.softmax(scores), training=training)
        heads = ops.transpose(self.heads(ops.matmul(weights, value)), (0, 2, 1, 3))  # (batch, time, heads, d_k)
        return self.output_projection(ops.reshape(heads, (-1, time, self.num_heads * self.key_dim)))

    def get_config(self):
        return super().get_config() | {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "dropout": self.dropout,
            "causal": self.causal,
        }


def sinusoidal_positions(time: int, width: int) -> np.ndarray:
    """Return the fixed position encoding of Vaswani et al. (2017), section 3.5: (time, width), float32.

    Even columns hold sin(t / L^(i / width)), odd ones the cosine, with L = LONGEST_WAVELENGTH.
    """
    column = np.arange(width)
    rate = LONGEST_WAVELENGTH ** -(2 * (column // 2) / width)
    angle = np.arange(time)[:, None] * rate
    return np.where(column % 2 == 0, np.sin(angle), np.cos(angle)).astype("float32")


@keras.saving.register_keras_serializable("zoo")
class PositionEncoding(layers.Layer):
    """Add a vector for each position: sinusoidal (fixed) or learned.

    Args:
        kind: "sinusoidal" or "learned". A learned encoding has one row for each step of the length it is built
            for, and takes no longer sequence.

    Input and output shape: (batch, time, features).
    """

    def __init__(self, kind: Literal["sinusoidal", "learned"] = "sinusoidal", **kwargs):
        super().__init__(**kwargs)
        if kind not in ("sinusoidal", "learned"):
            raise ValueError(f"position: expected 'sinusoidal' or 'learned', received {kind!r}")
        self.kind = kind

    def build(self, input_shape):
        _, time, width = input_shape
        if self.kind == "learned":
            self.table = self.add_weight(shape=(time, width), initializer="random_normal", name="table")
        self.built = True

    def call(self, x):
        _, time, width = x.shape
        if self.kind == "sinusoidal":
            return x + ops.cast(sinusoidal_positions(time, width), x.dtype)
        return x + ops.cast(self.table[:time], x.dtype)

    def get_config(self):
        return super().get_config() | {"kind": self.kind}


@keras.saving.register_keras_serializable("zoo")
class SelfAttentionClassifier(keras.Model):
    """Embed each step, add positions, apply self-attention blocks, average over the steps, Dense classes.

    Args:
        num_classes: number of classes.
        model_dim: width of every step.
        num_heads: attention heads; `model_dim` must be a multiple, unless `key_dim` is given.
        ff_dim: width inside each block's feed-forward part.
        num_blocks: number of blocks.
        dropout: share dropped in training of attention weights and of each part's output, in [0, 1).
        position: "sinusoidal" or "learned".
        causal: each step attends only to itself and earlier ones.
        vocabulary_size: number of token ids, 0 for inputs that are features. Id 0 is padding.
        key_dim: width of each head; default, `model_dim` divided by `num_heads`.

    Input shape: (batch, time, features), (batch, height, width, channels) read row by row, or with a vocabulary
        (batch, time) token ids padded with 0.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: sizes that are not positive or do not divide.
    """

    def __init__(
        self,
        num_classes: int = 10,
        model_dim: int = 64,
        num_heads: int = 4,
        ff_dim: int = 128,
        num_blocks: int = 2,
        dropout: float = 0.1,
        position: Literal["sinusoidal", "learned"] = "learned",
        causal: bool = False,
        vocabulary_size: int = 0,
        key_dim: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive(
            "self_attention",
            num_classes=num_classes,
            model_dim=model_dim,
            num_heads=num_heads,
            ff_dim=ff_dim,
            num_blocks=num_blocks,
            key_dim=1 if key_dim is None else key_dim,
        )
        if key_dim is None and model_dim % num_heads:
            raise ValueError(
                f"self_attention: model_dim: expected a multiple of num_heads={num_heads}, received {model_dim}"
            )
        self.num_classes = num_classes
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.ff_dim = ff_dim
        self.num_blocks = num_blocks
        self.dropout = dropout
        self.position = position
        self.causal = causal
        self.vocabulary_size = vocabulary_size
        self.key_dim = key_dim
        policy = self.dtype_policy  # see SimpleNet
        self.embed = (
            layers.Embedding(vocabulary_size, model_dim, dtype=policy, name="embedding")
            if vocabulary_size
            else layers.Dense(model_dim, dtype=policy, name="embedding")
        )
        self.positions = PositionEncoding(position, dtype=policy, name="positions")
        self.blocks = [
            _Block(num_heads, key_dim, ff_dim, dropout, causal, dtype=policy, name=f"block_{i + 1}")
            for i in range(num_blocks)
        ]
        self.norm = layers.LayerNormalization(dtype=policy, name="norm")
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        shape = rows_shape(input_shape)
        if len(shape) != (2 if self.vocabulary_size else 3):
            raise ValueError(
                "self_attention: expected (time, features), or (time,) token ids with a vocabulary_size;"
                f" received shape {tuple(input_shape[1:])}"
            )
        self.embed.build(shape)
        shape = (None, shape[1], self.model_dim)
        for layer in [self.positions, *self.blocks, self.norm]:
            layer.build(shape)
        self.head.build((None, self.model_dim))
        self.built = True

    def call(self, x, training=None):
        x = as_rows(x)
        mask = ops.not_equal(x, 0) if self.vocabulary_size else None  # (batch, time)
        x = self.positions(self.embed(x))
        for block in self.blocks:
            x = block(x, mask=mask, training=training)
        x = self.norm(x)
        if mask is None:
            return self.head(ops.mean(x, axis=1))
        weight = ops.cast(mask, x.dtype)[..., None]
        total = ops.maximum(ops.sum(weight, axis=1), 1)  # an empty text divides by 1, not by 0
        return self.head(ops.sum(x * weight, axis=1) / total)

    def get_config(self):
        # Fewer, once channels were taken out; of every block alike, or one number could not say it.
        widths = {(block.attention.num_heads, block.attention.key_dim, block.expand.units) for block in self.blocks}
        if len(widths) > 1:
            raise ValueError(f"self_attention: expected blocks of one size, received (heads, key_dim, ff_dim) {widths}")
        ((num_heads, key_dim, ff_dim),) = widths
        return super().get_config() | {
            "num_classes": self.num_classes,
            "model_dim": self.model_dim,
            "num_heads": num_heads,
            "ff_dim": ff_dim,
            "num_blocks": self.num_blocks,
            "dropout": self.dropout,
            "position": self.position,
            "causal": self.causal,
            "vocabulary_size": self.vocabulary_size,
            "key_dim": key_dim,
        }


class _Block(layers.Layer):
    """x + attention(norm(x)), then x + feed_forward(norm(x))."""

    def __init__(self, num_heads, key_dim, ff_dim, dropout, causal, **kwargs):
        super().__init__(**kwargs)
        self.supports_masking = True
        policy = self.dtype_policy
        self.attention_norm = layers.LayerNormalization(dtype=policy, name="attention_norm")
        self.attention = MultiHeadSelfAttention(num_heads, key_dim, dropout, causal, dtype=policy, name="attention")
        self.feed_norm = layers.LayerNormalization(dtype=policy, name="feed_norm")
        self.expand = layers.Dense(ff_dim, "gelu", dtype=policy, name="expand")
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")
        self.attended = layers.Add(dtype=policy, name="attended")
        self.fed = layers.Add(dtype=policy, name="fed")
        self.ff_dim = ff_dim

    def build(self, input_shape):
        for layer in (self.attention_norm, self.attention, self.feed_norm, self.expand):
            layer.build(input_shape)
        self.contract = layers.Dense(input_shape[-1], dtype=self.dtype_policy, name="contract")
        self.contract.build((*input_shape[:-1], self.ff_dim))
        self.built = True

    def call(self, x, mask=None, training=None):
        attended = self.attention(self.attention_norm(x), mask=mask, training=training)
        x = self.attended([x, self.drop(attended, training=training)])
        fed = self.contract(self.expand(self.feed_norm(x)))
        return self.fed([x, self.drop(fed, training=training)])
