"""TransformerLM: a decoder alone, trained to predict the next token (Radford et al., 2018).

Differs from that paper by default: layer normalisation comes before each part and after the last, as in its successor
(2019), and positions are sinusoidal.
"""

from typing import Literal

import keras
from keras import ops

from zoo.models.parts.attention import check_widths
from zoo.models.parts.base import ZooModel
from zoo.models.parts.blocks import Stack, sizes_of
from zoo.models.parts.layers import token_embedding, token_head, token_logits


@keras.saving.register_keras_serializable("zoo")
class TransformerLM(ZooModel):
    """A language model: embed each token, add positions, apply causal blocks, score every token as the next one.

    Args:
        vocabulary_size: number of token ids.
        num_layers: number of blocks.
        model_dim: width of every step.
        num_heads: attention heads; `model_dim` must be a multiple, unless `key_dim` is given.
        ff_dim: width inside each block's feed-forward part.
        dropout: share dropped in training of embedded steps, attention weights and each part's output, in [0, 1).
        norm: "pre" or "post", layer normalisation before or after each part.
        activation: "relu" or "gelu", of the feed-forward parts.
        position: "sinusoidal" or "learned".
        tied: score the next token by the table that embeds tokens (Press & Wolf, 2017), not by a kernel of its own.
        key_dim: width of each head; default, `model_dim` divided by `num_heads`.

    Input shape: (batch, time) token ids. Padding comes last, where no step before it attends to it.
    Output shape: (batch, time, vocabulary_size), logits of the token after each.

    A cache is two tensors, keys and values, each (num_layers, batch, num_heads, length, key_dim). `prefill` and
    `decode_step` compute from tensors alone, with static shapes, and take no part in training.

    Raises:
        ValueError: sizes that are not positive or do not divide, or a name that is not one of those above.
    """

    WIDTHS = {"model_dim": "num_heads", "key_dim": 1, "ff_dim": 1}

    def __init__(
        self,
        vocabulary_size: int,
        num_layers: int = 2,
        model_dim: int = 128,
        num_heads: int = 4,
        ff_dim: int = 512,
        dropout: float = 0.1,
        norm: Literal["pre", "post"] = "pre",
        activation: Literal["relu", "gelu"] = "gelu",
        position: Literal["sinusoidal", "learned"] = "sinusoidal",
        tied: bool = True,
        key_dim: int | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"vocabulary_size": vocabulary_size, "num_layers": num_layers, "ff_dim": ff_dim}
        check_widths("transformer_lm", model_dim, num_heads, key_dim, **sizes)
        self.vocabulary_size = vocabulary_size
        self.num_layers = num_layers
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.ff_dim = ff_dim
        self.dropout = dropout
        self.norm = norm
        self.activation = activation
        self.position = position
        self.tied = tied
        self.key_dim = key_dim
        policy = self.dtype_policy  # see SimpleNet
        self.embedding = token_embedding(vocabulary_size, model_dim, policy, "embedding")
        self.decoder = Stack(
            num_layers, num_heads, key_dim, ff_dim, dropout, activation, norm, position, model_dim**0.5, causal=True,
            dtype=policy, name="decoder",
        )  # fmt: skip
        self.head = None if tied else token_head(vocabulary_size, policy)

    def build(self, input_shape):
        if len(input_shape) != 2:
            raise ValueError(f"transformer_lm: expected (time,) token ids, received shape {tuple(input_shape[1:])}")
        self.embedding.build(input_shape)
        self.decoder.build((*input_shape, self.model_dim))
        if self.head is not None:
            self.head.build((None, None, self.model_dim))
        self.built = True

    def call(self, ids, training=None):
        return token_logits(self.decoder(self.embedding(ids), training=training), self.embedding, self.head)

    def empty_cache(self, batch, length):
        """Return a cache with room for `length` tokens."""
        return self.decoder.empty_cache(batch, length)

    def prefill(self, ids, length):
        """Return the logits of `call` for a prompt, and a cache with room for `length` tokens that begins with it.

        Args:
            ids: (batch, time), padded at the end: whatever follows a shorter prompt at its own position takes the
                padding's place.
            length: tokens of prompt and continuation, at least `time`.
        """
        x, cache = self.decoder.prefill(self.embedding(ids), length)
        return token_logits(x, self.embedding, self.head), cache

    def decode_step(self, ids, position, cache):
        """Return the logits that `call` has at one position, (batch, vocabulary_size), and the cache with its token.

        Args:
            ids: (batch,), the token at the position.
            position: from 0, whole: () or (batch,).
            cache: of all tokens before it.
        """
        x, cache = self.decoder.step(self.embedding(ops.expand_dims(ids, 1)), position, cache)
        return token_logits(x, self.embedding, self.head)[:, 0], cache

    def get_config(self):
        return super().get_config() | {
            "vocabulary_size": self.vocabulary_size,
            "num_layers": self.num_layers,
            "model_dim": self.model_dim,
            **sizes_of("transformer_lm", self.decoder.blocks),
            "dropout": self.dropout,
            "norm": self.norm,
            "activation": self.activation,
            "position": self.position,
            "tied": self.tied,
        }
