"""Multi-head self-attention and cross-attention (Vaswani et al., 2017) with caches, and position encodings."""

from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from zoo.models.parts.layers import check_positive

# Vaswani et al. (2017), section 3.5: wavelengths from 2 pi to 10,000 times 2 pi.
LONGEST_WAVELENGTH = 10_000
# Score of a masked key. Its weight is below 1e-38 if any other score is above -12, and a row in which every key is
# masked stays finite. A larger magnitude would leave too few 8-bit levels for the other scores.
HIDDEN = -100.0


def check_widths(owner: str, model_dim: int, num_heads: int, key_dim: int | None, **sizes: int) -> None:
    """Raise ValueError unless all sizes are positive and, without `key_dim`, the heads divide the width."""
    own = {} if key_dim is None else {"key_dim": key_dim}
    check_positive(owner, model_dim=model_dim, num_heads=num_heads, **sizes, **own)
    if key_dim is None and model_dim % num_heads:
        raise ValueError(f"{owner}: model_dim: expected a multiple of num_heads={num_heads}, received {model_dim}")


class _Attention(layers.Layer):
    """softmax(Q K^T / sqrt(d_k)) V for several heads; subclasses compute Q, K and V.

    Args:
        num_heads: Number of heads.
        key_dim: Width d_k of each head; None for the input width divided by `num_heads`.
        dropout: Dropout rate of the attention weights, in [0, 1).
    """

    def __init__(self, num_heads: int, key_dim: int | None = None, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        check_positive("attention", num_heads=num_heads)
        self.num_heads = num_heads
        self.key_dim = key_dim
        self.dropout = dropout
        self.supports_masking = True
        self.drop = layers.Dropout(dropout, dtype=self.dtype_policy, name="drop")
        # Layers instead of plain operations, so that quantization-aware training can observe their outputs.
        self.scaled = layers.Activation("linear", dtype=self.dtype_policy, name="scaled")
        self.scores = layers.Activation("linear", dtype=self.dtype_policy, name="scores")
        self.seen = layers.Activation("linear", dtype=self.dtype_policy, name="seen")
        self.softmax = layers.Activation("softmax", dtype=self.dtype_policy, name="softmax")
        self.heads = layers.Activation("linear", dtype=self.dtype_policy, name="heads")

    def set_key_dim(self, width):
        if self.key_dim is None and width % self.num_heads:
            raise ValueError(
                f"attention: expected a width that is a multiple of num_heads={self.num_heads}, received {width}"
            )
        self.key_dim = self.key_dim or width // self.num_heads

    def projection(self, parts, width, name):
        """Return a built Dense layer from `width` features to `parts` times the width of all heads."""
        dense = layers.Dense(parts * self.num_heads * self.key_dim, dtype=self.dtype_policy, name=name)
        dense.build((None, None, width))
        return dense

    def build_output(self, width):
        self.output_projection = layers.Dense(width, dtype=self.dtype_policy, name="output_projection")
        self.output_projection.build((None, None, self.num_heads * self.key_dim))

    def split(self, x, parts):
        """Split (batch, time, parts * heads * d_k) into `parts` tensors (batch, heads, time, d_k)."""
        x = ops.reshape(x, (-1, ops.shape(x)[1], parts, self.num_heads, self.key_dim))
        # Not by indexing: the gradient of each part would be a tensor as large as all parts, mostly zeros.
        return ops.unstack(ops.transpose(x, (2, 0, 3, 1, 4)), parts)

    def attend(self, query, key, value, visible, training=None):
        """Return the attention output (batch, queries, features).

        Args:
            query: Queries (batch, heads, queries, d_k).
            key: Keys (batch, heads, keys, d_k).
            value: Values (batch, heads, keys, d_k).
            visible: List of masks that broadcast to (batch, heads, queries, keys). A key is attended to where every
                mask is true.
            training: Whether attention weights are dropped.
        """
        query = self.scaled(query / self.key_dim**0.5)
        scores = self.scores(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))))  # (batch, heads, queries, keys)
        for mask in visible:
            scores = self.seen(ops.where(mask, scores, ops.cast(HIDDEN, scores.dtype)))
        weights = self.drop(self.softmax(scores), training=training)
        heads = ops.transpose(self.heads(ops.matmul(weights, value)), (0, 2, 1, 3))  # (batch, queries, heads, d_k)
        return self.output_projection(ops.reshape(heads, (-1, ops.shape(heads)[1], self.num_heads * self.key_dim)))

    def get_config(self):
        return super().get_config() | {
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "dropout": self.dropout,
        }


@keras.saving.register_keras_serializable("zoo")
class MultiHeadSelfAttention(_Attention):
    """Self-attention with one projection for queries, keys and values.

    Args:
        num_heads: Number of heads.
        key_dim: Width d_k of each head; None for the input width divided by `num_heads`.
        dropout: Dropout rate of the attention weights, in [0, 1).
        causal: Whether each time step attends only to itself and earlier ones.

    Call arguments:
        x: Sequence (batch, time, features).
        mask: Mask (batch, time), true where a time step may be attended to; None for everywhere.

    Output shape: (batch, time, features).

    Raises:
        ValueError: When the layer is built, if `num_heads` does not divide the width and `key_dim` is None.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
        **kwargs,
    ):
        super().__init__(num_heads, key_dim, dropout, **kwargs)
        self.causal = causal

    def build(self, input_shape):
        width = input_shape[-1]
        self.set_key_dim(width)
        self.query_key_value = self.projection(3, width, "query_key_value")
        self.build_output(width)
        self.built = True

    def call(self, x, mask=None, training=None):
        visible = [_causal(ops.shape(x)[1])] if self.causal else []
        if mask is not None:
            visible.append(mask[:, None, None, :])
        return self.attend(*self._project(x), visible, training)

    def prefill(self, x, length):
        """Attend causally, and return the output and a cache for later time steps.

        Args:
            x: Sequence (batch, time, features).
            length: Number of time steps that the cache has room for, at least `time`.

        Returns:
            Output (batch, time, features), and the cache: keys and values, each (batch, heads, length, d_k).
        """
        time = x.shape[1]
        query, key, value = self._project(x)
        room = ((0, 0), (0, 0), (0, length - time), (0, 0))
        y = self.attend(query, key, value, [_causal(time)], training=False)
        return y, (ops.pad(key, room), ops.pad(value, room))

    def step(self, x, position, cache):
        """Attend from one new time step to itself and the ones before it.

        Args:
            x: New time step (batch, 1, features).
            position: Position of the time step, an integer tensor of shape () or (batch,).
            cache: Keys and values of the earlier time steps, each (batch, heads, length, d_k).

        Returns:
            Output (batch, 1, features), and the updated cache.
        """
        query, key, value = self._project(x)
        position = ops.reshape(ops.cast(position, "int32"), (-1, 1, 1, 1))
        places = np.arange(cache[0].shape[2], dtype="int32")
        # `where` instead of a slice update, which allows one position for the whole batch and would need a scatter for
        # several. It becomes EQUAL and SELECT_V2 in TFLite, costs no more than reading the cache, and has static
        # shapes on JAX.
        here = ops.equal(places[:, None], position)  # (1 or batch, 1, length, 1)
        cache = ops.where(here, key, cache[0]), ops.where(here, value, cache[1])
        return self.attend(query, *cache, [ops.less_equal(places, position)], training=False), cache

    def _project(self, x):
        return self.split(self.query_key_value(x), 3)

    def get_config(self):
        return super().get_config() | {"causal": self.causal}


@keras.saving.register_keras_serializable("zoo")
class MultiHeadCrossAttention(_Attention):
    """Cross-attention to a context, whose keys and values `project` computes once.

    Args:
        num_heads: Number of heads.
        key_dim: Width d_k of each head; None for the input width divided by `num_heads`.
        dropout: Dropout rate of the attention weights, in [0, 1).

    Call arguments:
        x: Sequence (batch, time, features).
        context: Keys and values, each (batch, heads, context time, d_k).
        mask: Mask (batch, context time), true where the context may be attended to; None for everywhere.

    Output shape: (batch, time, features).

    Raises:
        ValueError: When the layer is built, if `num_heads` does not divide the width and `key_dim` is None.
    """

    def build(self, input_shape):
        width = input_shape[-1]
        self.set_key_dim(width)
        self.query = self.projection(1, width, "query")
        self.key_value = self.projection(2, width, "key_value")
        self.build_output(width)
        self.built = True

    def project(self, context):
        """Return the keys and values, each (batch, heads, time, d_k), of a context (batch, time, features)."""
        return tuple(self.split(self.key_value(context), 2))

    def call(self, x, context, mask=None, training=None):
        visible = [] if mask is None else [mask[:, None, None, :]]
        return self.attend(self.split(self.query(x), 1)[0], *context, visible, training)


def _causal(time):
    """Return a mask (time, time) in which each time step (row) attends to itself and the columns before it."""
    if isinstance(time, int):
        return np.tri(time, dtype=bool)
    steps = ops.arange(time)  # a dynamic length, for batches of several lengths
    return ops.greater_equal(steps[:, None], steps)


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
    """Add a vector for each position, sinusoidal (fixed) or learned.

    Args:
        kind: "sinusoidal" or "learned". A learned encoding has one row per time step of the length that it is built
            for, and refuses longer sequences.
        scale: Factor on the input before the positions are added.

    Input shape: (batch, time, features).
    Output shape: (batch, time, features).

    Raises:
        ValueError: If the kind is unknown, or, when called, if the sequence is longer than the learned table.
    """

    def __init__(self, kind: Literal["sinusoidal", "learned"] = "sinusoidal", scale: float = 1.0, **kwargs):
        super().__init__(**kwargs)
        if kind not in ("sinusoidal", "learned"):
            raise ValueError(f"position: expected 'sinusoidal' or 'learned', received {kind!r}")
        self.kind = kind
        self.scale = scale

    def build(self, input_shape):
        _, time, width = input_shape
        self.longest = time
        if self.kind == "learned":
            self.table = self.add_weight(shape=(time, width), initializer="random_normal", name="table")
        self.built = True

    def call(self, x):
        time, width = ops.shape(x)[1], x.shape[-1]
        return self.scaled_input(x) + ops.cast(self.rows(time, width), x.dtype)

    def step(self, x, position, length):
        """Add the vector of one position to a time step.

        Args:
            x: Time step (batch, 1, features).
            position: Position below `length`, an integer tensor of shape () or (batch,).
            length: Length of the longest sequence.
        """
        width = x.shape[-1]
        rows = ops.take(ops.cast(self.rows(length, width), x.dtype), position, axis=0)  # ([batch,] features)
        return self.scaled_input(x) + ops.reshape(rows, (-1, 1, width))

    def scaled_input(self, x):
        """Return the input times `scale`."""
        return x if self.scale == 1 else x * self.scale

    def rows(self, time, width):
        """Return the vectors of the first `time` positions, (time, width)."""
        if not isinstance(time, int):  # a dynamic length, at most the one that the layer was built for
            table = sinusoidal_positions(self.longest, width) if self.kind == "sinusoidal" else self.table
            return ops.convert_to_tensor(table)[:time]
        if self.kind == "sinusoidal":
            return sinusoidal_positions(time, width)
        if time > self.table.shape[0]:
            raise ValueError(f"position: expected at most {self.table.shape[0]} learned positions, received {time}")
        return self.table[:time]

    def get_config(self):
        return super().get_config() | {"kind": self.kind, "scale": self.scale}
