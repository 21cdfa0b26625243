"""SelfAttentionClassifier: a small classifier made of self-attention blocks (Vaswani et al., 2017).

Differs from the paper in the blocks: layer normalisation precedes each sublayer (pre-norm, Xiong et al., 2020), which
trains without a long warm-up.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.attention import PositionEncoding, check_widths
from zoo.models.parts.blocks import Block, sizes_of
from zoo.models.parts.layers import as_rows, logits_dtype, mean_of_steps, rows_shape
from zoo.models.parts.normalization import LayerNormalization
from zoo.models.parts.standardization import StandardizingModel


@keras.saving.register_keras_serializable("zoo")
class SelfAttentionClassifier(StandardizingModel):
    """Embedding, position encoding, self-attention blocks, mean over the time steps, and Dense classes.

    Args:
        num_classes: Number of classes.
        model_dim: Width of every time step.
        num_heads: Number of attention heads; must divide `model_dim` unless `key_dim` is given.
        ff_dim: Width of each block's feed-forward layer.
        num_blocks: Number of blocks.
        dropout: Dropout rate of the attention weights and of each sublayer's output, in [0, 1).
        position: Position encoding, "sinusoidal" or "learned".
        causal: Whether each time step attends only to itself and earlier ones.
        vocabulary_size: Number of token ids; 0 if the inputs are features. Id 0 is padding.
        key_dim: Width of each head; None for `model_dim / num_heads`.
        mean: What is subtracted from features: one number, or one for each.
        std: What the difference is divided by, likewise.

    Input shape: (batch, time, features); (batch, height, width, channels), read row by row; or, with a vocabulary,
        token ids (batch, time), padded with 0.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: If a size is not positive or the heads do not divide the width.
    """

    WIDTHS = {"model_dim": "num_heads", "key_dim": 1, "ff_dim": 1}

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
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        **kwargs,
    ):
        super().__init__(mean, std, **kwargs)
        check_widths(
            "self_attention",
            model_dim,
            num_heads,
            key_dim,
            num_classes=num_classes,
            ff_dim=ff_dim,
            num_blocks=num_blocks,
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
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
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
        self.norm = LayerNormalization(dtype=policy, name="norm")
        # An identity layer that quantization-aware training observes; see zoo.models.parts.attention.
        self.pooled = layers.Activation("linear", dtype=policy, name="pooled")
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        shape = rows_shape(input_shape)
        if len(shape) != (2 if self.vocabulary_size else 3):
            raise ValueError(
                "self_attention: expected (time, features), or (time,) token ids with a vocabulary_size;"
                f" received shape {tuple(input_shape[1:])}"
            )
        if not self.vocabulary_size:
            self.check_features(shape[-1])
        self.embed.build(shape)
        shape = (None, shape[1], self.model_dim)
        for layer in [self.positions, *self.blocks, self.norm]:
            layer.build(shape)
        self.head.build((None, self.model_dim))
        self.built = True

    def call(self, x, training=None):
        x = as_rows(x) if self.vocabulary_size else self.standardized(as_rows(x))
        mask = ops.not_equal(x, 0) if self.vocabulary_size else None  # (batch, time)
        x = self.positions(self.embed(x))
        for block in self.blocks:
            x = block(x, mask=mask, training=training)
        return self.head(self.pooled(mean_of_steps(self.norm(x), mask)))

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "model_dim": self.model_dim,
            **sizes_of("self_attention", self.blocks),
            "num_blocks": self.num_blocks,
            "dropout": self.dropout,
            "position": self.position,
            "causal": self.causal,
            "vocabulary_size": self.vocabulary_size,
        }


class _Block(Block):
    """A block under the class name that saved models refer to."""
