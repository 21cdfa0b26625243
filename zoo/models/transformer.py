"""Transformers (Vaswani et al., 2017): an encoder for classification, and an encoder-decoder.

Differs from the paper by default: layer normalisation precedes each sublayer and follows the last one (`norm="pre"`,
Xiong et al., 2020), which trains without a long warm-up. `norm="post"` is the paper's order.
"""

from typing import Literal

import keras
from keras import layers, ops

from zoo.models.parts.attention import check_widths
from zoo.models.parts.base import ZooModel
from zoo.models.parts.blocks import Stack, sizes_of
from zoo.models.parts.layers import (
    as_rows,
    check_positive,
    logits_dtype,
    mean_of_steps,
    rows_shape,
    token_embedding,
    token_head,
    token_logits,
)
from zoo.models.parts.standardization import StandardizingModel

# Initial standard deviation of the scaled word embeddings of a classifier. It is small so that rare words, which
# training hardly changes, have little influence: one layer of width 64 reached 79.7 % on SST-2's validation split with
# 0.08, and 76.3 % with 1.
EMBEDDED = 0.1


@keras.saving.register_keras_serializable("zoo")
class TransformerClassifier(StandardizingModel):
    """Embedding, position encoding, encoder blocks, pooling over the time steps, and Dense classes.

    Args:
        num_classes: Number of classes.
        num_layers: Number of blocks.
        model_dim: Width of every time step.
        num_heads: Number of attention heads; must divide `model_dim` unless `key_dim` is given.
        ff_dim: Width of each block's feed-forward layer.
        dropout: Dropout rate of the embedded inputs, the attention weights and each sublayer's output, in [0, 1).
        norm: Position of layer normalisation, "pre" (before each sublayer) or "post" (after it).
        activation: Activation of the feed-forward layers, "relu" or "gelu".
        position: Position encoding, "sinusoidal" or "learned".
        pooling: Pooling over the time steps, "mean" or "first".
        word_dropout: Rate of words that are masked like padding in training (Iyyer et al., 2015), in [0, 1).
        vocabulary_size: Number of token ids; 0 if the inputs are features. Id 0 is padding.
        key_dim: Width of each head; None for `model_dim / num_heads`.
        mean: What is subtracted from features: one number, or one for each.
        std: What the difference is divided by, likewise.

    Input shape: (batch, time, features); (batch, height, width, channels), read row by row; or, with a vocabulary,
        token ids (batch, time), padded with 0.
    Output shape: (batch, num_classes), logits.

    Raises:
        ValueError: If a size is not positive, if the heads do not divide the width, or if a name is unknown.
    """

    WIDTHS = {"model_dim": "num_heads", "key_dim": 1, "ff_dim": 1}

    def __init__(
        self,
        num_classes: int = 10,
        num_layers: int = 2,
        model_dim: int = 64,
        num_heads: int = 4,
        ff_dim: int = 128,
        dropout: float = 0.1,
        norm: Literal["pre", "post"] = "pre",
        activation: Literal["relu", "gelu"] = "relu",
        position: Literal["sinusoidal", "learned"] = "sinusoidal",
        pooling: Literal["mean", "first"] = "mean",
        word_dropout: float = 0.0,
        vocabulary_size: int = 0,
        key_dim: int | None = None,
        mean: tuple[float, ...] = (0.0,),
        std: tuple[float, ...] = (1.0,),
        **kwargs,
    ):
        super().__init__(mean, std, **kwargs)
        sizes = {"num_classes": num_classes, "num_layers": num_layers, "ff_dim": ff_dim}
        check_widths("transformer", model_dim, num_heads, key_dim, **sizes)
        if pooling not in ("mean", "first"):
            raise ValueError(f"transformer: pooling: expected 'mean' or 'first', received {pooling!r}")
        self.num_classes = num_classes
        self.num_layers = num_layers
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.ff_dim = ff_dim
        self.dropout = dropout
        self.norm = norm
        self.activation = activation
        self.position = position
        self.pooling = pooling
        self.word_dropout = word_dropout
        self.vocabulary_size = vocabulary_size
        self.key_dim = key_dim
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        self.embedding = (
            layers.Embedding(
                vocabulary_size,
                model_dim,
                keras.initializers.RandomNormal(stddev=EMBEDDED / model_dim**0.5),
                dtype=policy,
                name="embedding",
            )
            if vocabulary_size
            else layers.Dense(model_dim, dtype=policy, name="embedding")
        )
        scale = model_dim**0.5 if vocabulary_size else 1.0
        self.encoder = Stack(
            num_layers,
            num_heads,
            key_dim,
            ff_dim,
            dropout,
            activation,
            norm,
            position,
            scale,
            dtype=policy,
            name="encoder",
        )
        self.drop_words = layers.Dropout(word_dropout, dtype=policy, name="drop_words")
        # An identity layer that quantization-aware training observes; see zoo.models.parts.attention.
        self.pooled = layers.Activation("linear", dtype=policy, name="pooled")
        self.head = layers.Dense(num_classes, dtype=logits_dtype(policy), name="head")

    def build(self, input_shape):
        shape = rows_shape(input_shape)
        if len(shape) != (2 if self.vocabulary_size else 3):
            raise ValueError(
                "transformer: expected (time, features), or (time,) token ids with a vocabulary_size;"
                f" received shape {tuple(input_shape[1:])}"
            )
        if not self.vocabulary_size:
            self.check_features(shape[-1])
        self.embedding.build(shape)
        self.encoder.build((None, shape[1], self.model_dim))
        self.head.build((None, self.model_dim))
        self.built = True

    def call(self, x, training=None):
        x = as_rows(x) if self.vocabulary_size else self.standardized(as_rows(x))
        mask = self._visible(x, training) if self.vocabulary_size else None
        x = self.encoder(self.embedding(x), mask=mask, training=training)
        return self.head(x[:, 0] if self.pooling == "first" else self.pooled(mean_of_steps(x, mask)))

    def _visible(self, ids, training):
        """Return (batch, time), true for words that are attended to and pooled."""
        mask = ops.not_equal(ids, 0)
        if not training or not self.word_dropout:
            return mask
        return self.drop_words(ops.cast(mask, self.compute_dtype), training=True) > 0

    def get_config(self):
        return super().get_config() | {
            "num_classes": self.num_classes,
            "num_layers": self.num_layers,
            "model_dim": self.model_dim,
            **sizes_of("transformer", self.encoder.blocks),
            "dropout": self.dropout,
            "norm": self.norm,
            "activation": self.activation,
            "position": self.position,
            "pooling": self.pooling,
            "word_dropout": self.word_dropout,
            "vocabulary_size": self.vocabulary_size,
        }


@keras.saving.register_keras_serializable("zoo")
class Transformer(ZooModel):
    """A sequence-to-sequence model: an encoder, and a decoder that attends to the encoder's output.

    For decoding, a cache is a pair of tensors, keys and values, each
    (num_layers, batch, num_heads, length, model_dim / num_heads). A context is such a pair for the source. `encode` and
    `decode_step` are functions of tensors with static shapes and are not used in training.

    Args:
        source_vocabulary_size: Number of token ids of the source. Id 0 is padding.
        target_vocabulary_size: Number of token ids of the target.
        num_layers: Number of blocks in the encoder, and in the decoder.
        model_dim: Width of every time step, a multiple of `num_heads`.
        num_heads: Number of attention heads.
        ff_dim: Width of each block's feed-forward layer.
        dropout: Dropout rate of the embedded inputs, the attention weights and each sublayer's output, in [0, 1).
        norm: Position of layer normalisation, "pre" (before each sublayer) or "post" (after it).
        activation: Activation of the feed-forward layers, "relu" or "gelu".
        position: Position encoding, "sinusoidal" or "learned".
        tied: Whether the target embedding is also the output layer (weight tying, Press & Wolf, 2017).
        shared_vocabulary: Whether source and target share one embedding.

    Input shape: source (batch, source time) and target (batch, time), token ids. Padding of the source is masked.
        Padding of the target must come last, where the causal mask hides it from every token before it.
    Output shape: (batch, time, target_vocabulary_size), logits of the next token.

    Raises:
        ValueError: If a size is not positive, if the heads do not divide the width, if shared vocabularies differ in
            size, or if a name is unknown.
    """

    WIDTHS = {"model_dim": "num_heads", "ff_dim": 1}

    def __init__(
        self,
        source_vocabulary_size: int,
        target_vocabulary_size: int,
        num_layers: int = 2,
        model_dim: int = 128,
        num_heads: int = 4,
        ff_dim: int = 512,
        dropout: float = 0.1,
        norm: Literal["pre", "post"] = "pre",
        activation: Literal["relu", "gelu"] = "relu",
        position: Literal["sinusoidal", "learned"] = "sinusoidal",
        tied: bool = True,
        shared_vocabulary: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive(
            "transformer",
            source_vocabulary_size=source_vocabulary_size,
            target_vocabulary_size=target_vocabulary_size,
        )
        check_widths("transformer", model_dim, num_heads, None, num_layers=num_layers, ff_dim=ff_dim)
        if shared_vocabulary and source_vocabulary_size != target_vocabulary_size:
            raise ValueError(
                f"transformer: shared_vocabulary: expected a target_vocabulary_size of {source_vocabulary_size}, equal"
                f" to source_vocabulary_size, received {target_vocabulary_size}"
            )
        self.source_vocabulary_size = source_vocabulary_size
        self.target_vocabulary_size = target_vocabulary_size
        self.num_layers = num_layers
        self.model_dim = model_dim
        self.num_heads = num_heads
        self.ff_dim = ff_dim
        self.dropout = dropout
        self.norm = norm
        self.activation = activation
        self.position = position
        self.tied = tied
        self.shared_vocabulary = shared_vocabulary
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        self.target_embedding = token_embedding(target_vocabulary_size, model_dim, policy, "target_embedding")
        self.source_embedding = (
            self.target_embedding
            if shared_vocabulary
            else token_embedding(source_vocabulary_size, model_dim, policy, "source_embedding")
        )
        sizes = (num_layers, num_heads, None, ff_dim, dropout, activation, norm, position, model_dim**0.5)
        self.encoder = Stack(*sizes, dtype=policy, name="encoder")
        self.decoder = Stack(*sizes, causal=True, cross=True, dtype=policy, name="decoder")
        self.head = None if tied else token_head(target_vocabulary_size, policy)

    def build(self, input_shape):
        if len(input_shape) != 2 or any(not isinstance(s, list | tuple) or len(s) != 2 for s in input_shape):
            raise ValueError(
                "transformer: expected two inputs, source and target, each (batch, time) token ids;"
                f" received shape {input_shape}"
            )
        source, target = (tuple(shape) for shape in input_shape)
        self.target_embedding.build(target)
        if not self.shared_vocabulary:
            self.source_embedding.build(source)
        self.encoder.build((*source, self.model_dim))
        self.decoder.build((*target, self.model_dim))
        if self.head is not None:
            self.head.build((None, None, self.model_dim))
        self.built = True

    def call(self, inputs, training=None):
        source, target = inputs
        context, mask = self._encoded(source, training)
        x = self.target_embedding(target)
        x = self.decoder(x, context=context, context_mask=mask, training=training)
        return token_logits(x, self.target_embedding, self.head)

    def encode(self, source):
        """Return the context that the decoder attends to, and its mask (batch, source time), false at padding.

        Args:
            source: Token ids (batch, source time), padded with 0.
        """
        return self._encoded(source, training=False)

    def empty_cache(self, batch, length):
        """Return an empty cache for up to `length` target tokens."""
        return self.decoder.empty_cache(batch, length)

    def decode_step(self, ids, position, cache, context, source_mask):
        """Return the logits of `call` at one position, (batch, vocabulary), and the updated cache.

        Args:
            ids: Target token ids at the position, (batch,).
            position: Position, counted from 0, as an integer tensor of shape () or (batch,).
            cache: Cache of all earlier tokens.
            context: Context returned by `encode`.
            source_mask: Mask returned by `encode`.
        """
        x = self.target_embedding(ops.expand_dims(ids, 1))
        x, cache = self.decoder.step(x, position, cache, context, source_mask)
        return token_logits(x, self.target_embedding, self.head)[:, 0], cache

    def _encoded(self, source, training):
        mask = ops.not_equal(source, 0)
        memory = self.encoder(self.source_embedding(source), mask=mask, training=training)
        return self.decoder.context(memory), mask

    def get_config(self):
        return super().get_config() | {
            "source_vocabulary_size": self.source_vocabulary_size,
            "target_vocabulary_size": self.target_vocabulary_size,
            "num_layers": self.num_layers,
            "model_dim": self.model_dim,
            "num_heads": self.num_heads,
            "ff_dim": self.ff_dim,
            "dropout": self.dropout,
            "norm": self.norm,
            "activation": self.activation,
            "position": self.position,
            "tied": self.tied,
            "shared_vocabulary": self.shared_vocabulary,
        }
