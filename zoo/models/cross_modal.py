"""CrossModal: a joint embedding space of images and captions, learnt from pairs (CLIP, Radford et al., 2021).

Differs from the paper in size: the image tower is this zoo's `cnn`, and the text tower is, by default, the mean of the
word embeddings.
"""

from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from zoo.models.cnn import CNN
from zoo.models.parts.base import ZooModel
from zoo.models.parts.blocks import Stack
from zoo.models.parts.layers import check_positive, logits_dtype, mean_of_steps, token_embedding
from zoo.objectives.pair_loss import IMAGE, TEXT, WEIGHTS

# Upper bound of the learnt scale: larger ones made the paper's training unstable.
LARGEST_SCALE = 100.0


def _bounded(log_scale):
    return ops.minimum(log_scale, float(np.log(LARGEST_SCALE)))


@keras.saving.register_keras_serializable("zoo")
class CrossModal(ZooModel):
    """An image tower and a text tower. `zoo.objectives.pair_loss.pair_scores` scores pairs of their outputs.

    Args:
        vocabulary_size: Number of token ids.
        filters: Output channels of each convolution of the image tower; see `zoo.models.CNN`.
        pools: Number of convolutions, counted from the first, that are followed by a pool.
        units: Width of the Dense layer before each tower's projection.
        batch_norm: Whether batch normalisation follows each convolution.
        text: Text tower: "mean" averages the word embeddings; "transformer" passes them through blocks that also see
            their order.
        word_dim: Width of a word embedding.
        num_layers: Number of transformer blocks.
        num_heads: Attention heads of each block; must divide `word_dim`.
        ff_dim: Width of each block's feed-forward layer.
        dropout: Dropout rate before both projections and inside the blocks, in [0, 1).
        embedding_dim: Width of the joint space, in which every vector has length 1.
        head: Scoring function of a pair: "cosine" is the cosine similarity times a learnt scale; "fusion" concatenates
            both vectors, projects them to `fusion_dim` units with a relu, and scores these.
        fusion_dim: Width of the fusion layer.
        temperature: Initial temperature, one over the initial scale.

    Input shape: images (batch, height, width, channels), pixels in [0, 1], and token ids (batch, time), padded with 0.
    Output shape: (batch, 3, width): `encode_image`, `encode_text` and, repeated for every example, `pair_weights`.

    Raises:
        ValueError: If a size is not positive, if the heads do not divide the width, or if a name is unknown.
    """

    WIDTHS = {"filters": 1, "units": 1, "word_dim": "num_heads", "ff_dim": 1, "embedding_dim": 1, "fusion_dim": 1}

    def __init__(
        self,
        vocabulary_size: int,
        filters: tuple[int, ...] = (32, 64, 64),
        pools: int = 2,
        units: int = 64,
        batch_norm: bool = False,
        text: Literal["mean", "transformer"] = "mean",
        word_dim: int = 64,
        num_layers: int = 2,
        num_heads: int = 4,
        ff_dim: int = 128,
        dropout: float = 0.0,
        embedding_dim: int = 64,
        head: Literal["cosine", "fusion"] = "cosine",
        fusion_dim: int = 128,
        temperature: float = 0.07,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sizes = {"vocabulary_size": vocabulary_size, "units": units, "word_dim": word_dim, "num_layers": num_layers}
        sizes |= {"ff_dim": ff_dim, "embedding_dim": embedding_dim, "fusion_dim": fusion_dim}
        check_positive("cross_modal", num_heads=num_heads, **sizes)
        for name, value, known in (("text", text, ("mean", "transformer")), ("head", head, ("cosine", "fusion"))):
            if value not in known:
                raise ValueError(f"cross_modal: {name}: expected {' or '.join(known)}, received {value!r}")
        if not temperature >= 1 / LARGEST_SCALE:
            raise ValueError(f"cross_modal: temperature: expected {1 / LARGEST_SCALE} or more, received {temperature}")
        self.vocabulary_size = vocabulary_size
        self.filters = tuple(filters)
        self.pools = pools
        self.units = units
        self.batch_norm = batch_norm
        self.text = text
        self.word_dim = word_dim
        self.num_layers = num_layers
        self.num_heads = num_heads
        self.ff_dim = ff_dim
        self.dropout = dropout
        self.embedding_dim = embedding_dim
        self.head = head
        self.fusion_dim = fusion_dim
        self.temperature = temperature
        policy = self.dtype_policy  # passed to every layer; see SimpleNet
        self.image = CNN(
            embedding_dim, self.filters, pools=pools, units=units, batch_norm=batch_norm, dropout=dropout,
            dtype=policy, name="image",
        )  # fmt: skip
        self.embedding = token_embedding(vocabulary_size, word_dim, policy, "embedding")
        self.encoder = None
        if text == "transformer":
            self.encoder = Stack(
                num_layers, num_heads, None, ff_dim, dropout, "gelu", "pre", "sinusoidal", word_dim**0.5,
                dtype=policy, name="encoder",
            )  # fmt: skip
        self.text_hidden = layers.Dense(units, "relu", dtype=policy, name="text_hidden")
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")
        self.text_projection = layers.Dense(embedding_dim, dtype=logits_dtype(policy), name="text_projection")
        self.image_half = self.text_half = None
        if head == "fusion":  # a Dense layer on the concatenation is the sum of two Dense layers
            wide = {"units": fusion_dim, "dtype": logits_dtype(policy)}
            self.image_half = layers.Dense(**wide, name="image_half")
            self.text_half = layers.Dense(**wide, use_bias=False, name="text_half")

    def build(self, input_shape):
        if len(input_shape) != 2 or not all(isinstance(shape, list | tuple) for shape in input_shape):
            raise ValueError(f"cross_modal: expected two inputs, images and token ids, received shape {input_shape}")
        images, ids = (tuple(shape) for shape in input_shape)
        if len(ids) != 2:
            raise ValueError(f"cross_modal: expected (time,) token ids, received shape {ids[1:]}")
        self.image.build(images)
        self.embedding.build(ids)
        if self.encoder is not None:
            self.encoder.build((*ids, self.word_dim))
        self.text_hidden.build((None, self.word_dim))
        self.text_projection.build((None, self.units))
        dtype = logits_dtype(self.dtype_policy)
        if self.head == "fusion":
            self.image_half.build((None, self.embedding_dim))
            self.text_half.build((None, self.embedding_dim))
            self.score = self.add_weight(shape=(self.fusion_dim,), dtype=dtype, autocast=False, name="score")
        else:
            first = keras.initializers.Constant(-float(np.log(self.temperature)))
            self.log_scale = self.add_weight(
                shape=(), initializer=first, constraint=_bounded, dtype=dtype, autocast=False, name="log_scale"
            )
        self.built = True

    def call(self, inputs, training=None):
        images, ids = inputs
        rows = {IMAGE: self.encode_image(images, training), TEXT: self.encode_text(ids, training)}
        rows[WEIGHTS] = ops.broadcast_to(self.pair_weights(), ops.shape(rows[IMAGE]))
        return ops.stack([rows[place] for place in sorted(rows)], axis=1)

    def encode_image(self, images, training=None):
        """Return the images' unit vectors (batch, embedding_dim), or their half of the fusion (batch, fusion_dim)."""
        x = ops.normalize(self.image(images, training=training))
        return x if self.image_half is None else self.image_half(x)

    def encode_text(self, ids, training=None):
        """Return the texts' unit vectors (batch, embedding_dim), or their half of the fusion (batch, fusion_dim)."""
        mask = ops.not_equal(ids, 0)
        x = self.embedding(ids)
        if self.encoder is not None:
            x = self.encoder(x, mask=mask, training=training)
        x = self.text_hidden(mean_of_steps(x, mask))
        x = ops.normalize(self.text_projection(self.drop(x, training=training)))
        return x if self.text_half is None else self.text_half(x)

    def pair_weights(self):
        """Return the weights of `pair_scores`, (width,). With the cosine head, each of them is the scale."""
        if self.head == "fusion":
            return ops.convert_to_tensor(self.score)
        return ops.broadcast_to(ops.exp(self.log_scale), (self.embedding_dim,))

    def get_config(self):
        return super().get_config() | {
            "vocabulary_size": self.vocabulary_size,
            "filters": self.filters,
            "pools": self.pools,
            "units": self.units,
            "batch_norm": self.batch_norm,
            "text": self.text,
            "word_dim": self.word_dim,
            "num_layers": self.num_layers,
            "num_heads": self.num_heads,
            "ff_dim": self.ff_dim,
            "dropout": self.dropout,
            "embedding_dim": self.embedding_dim,
            "head": self.head,
            "fusion_dim": self.fusion_dim,
            "temperature": self.temperature,
        }
