"""TransformerLM: a decoder-only transformer, trained to predict the next token (Radford et al., 2018).

Differs from the paper by default: layer normalisation precedes each sublayer and follows the last one, as in its
successor (2019), and positions are sinusoidal.
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
    """A language model: embedding, position encoding, causal blocks, and logits of the next token.

    For decoding, a cache is a pair of tensors, keys and values, each (num_layers, batch, num_heads, length, key_dim).
    `prefill` and `decode_step` are functions of tensors with static shapes and are not used in training.

    Args:
        vocabulary_size: Number of token ids.
        num_layers: Number of blocks.
        model_dim: Width of every time step.
        num_heads: Number of attention heads; must divide `model_dim` unless `key_dim` is given.
        ff_dim: Width of each block's feed-forward layer.
        dropout: Dropout rate of the embedded inputs, the attention weights and each sublayer's output, in [0, 1).
        norm: Position of layer normalisation, "pre" (before each sublayer) or "post" (after it).
        activation: Activation of the feed-forward layers, "relu" or "gelu".
        position: Position encoding, "sinusoidal" or "learned".
        tied: Whether the token embedding is also the output layer (weight tying, Press & Wolf, 2017).
        key_dim: Width of each head; None for `model_dim / num_heads`.

    Input shape: token ids (batch, time). Padding must come last, where the causal mask hides it from every token
        before it.
    Output shape: (batch, time, vocabulary_size), logits of the next token.

    Raises:
        ValueError: If a size is not positive, if the heads do not divide the width, or if a name is unknown.
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
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
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
        """Return an empty cache for up to `length` tokens."""
        return self.decoder.empty_cache(batch, length)

    def prefill(self, ids, length):
        """Return the logits of `call` for a prompt, and a cache that holds the prompt.

        Args:
            ids: Token ids of the prompts (batch, time), padded at the end. `decode_step` overwrites the padding of
                shorter prompts.
            length: Number of tokens that the cache has room for, prompt and continuation; at least `time`.
        """
        x, cache = self.decoder.prefill(self.embedding(ids), length)
        return token_logits(x, self.embedding, self.head), cache

    def decode_step(self, ids, position, cache):
        """Return the logits of `call` at one position, (batch, vocabulary_size), and the updated cache.

        Args:
            ids: Token ids at the position, (batch,).
            position: Position, counted from 0, as an integer tensor of shape () or (batch,).
            cache: Cache of all earlier tokens.
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
