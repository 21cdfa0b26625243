"""Transformer blocks, pre-norm or post-norm, with optional cross-attention, and stacks of blocks with caches."""

from typing import Literal

from keras import layers, ops

from zoo.models.parts.attention import MultiHeadCrossAttention, MultiHeadSelfAttention, PositionEncoding
from zoo.models.parts.normalization import LayerNormalization


class Block(layers.Layer):
    """Self-attention, optional cross-attention and a feed-forward layer, each with a residual connection.

    Args:
        num_heads: Number of attention heads.
        key_dim: Width of each head; None for the input width divided by `num_heads`.
        ff_dim: Width of the feed-forward layer.
        dropout: Dropout rate of the attention weights and of each sublayer's output, in [0, 1).
        causal: Whether each time step attends only to itself and earlier ones.
        activation: Activation of the feed-forward layer, "relu" or "gelu".
        norm: "pre" for x + sublayer(norm(x)) (Xiong et al., 2020), "post" for norm(x + sublayer(x)) (Vaswani et al.,
            2017).
        cross: Whether the block has cross-attention to a context.

    Call arguments:
        x: Sequence (batch, time, features).
        mask: Mask (batch, time), true where a time step may be attended to; None for everywhere.
        context: Keys and values from `cross_attention.project`.
        context_mask: Mask (batch, context time), true where the context may be attended to; None for everywhere.

    Output shape: (batch, time, features).

    Raises:
        ValueError: If the activation or the norm is unknown.
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None,
        ff_dim: int,
        dropout: float,
        causal: bool,
        activation: Literal["relu", "gelu"] = "gelu",
        norm: Literal["pre", "post"] = "pre",
        cross: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if activation not in ("relu", "gelu"):
            raise ValueError(f"activation: expected 'relu' or 'gelu', received {activation!r}")
        if norm not in ("pre", "post"):
            raise ValueError(f"norm: expected 'pre' or 'post', received {norm!r}")
        self.supports_masking = True
        self.norm = norm
        self.ff_dim = ff_dim
        policy = self.dtype_policy
        self.attention_norm = LayerNormalization(dtype=policy, name="attention_norm")
        self.attention = MultiHeadSelfAttention(num_heads, key_dim, dropout, causal, dtype=policy, name="attention")
        self.feed_norm = LayerNormalization(dtype=policy, name="feed_norm")
        self.expand = layers.Dense(ff_dim, activation, dtype=policy, name="expand")
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")
        self.attended = layers.Add(dtype=policy, name="attended")
        self.fed = layers.Add(dtype=policy, name="fed")
        self.cross_attention = None
        if cross:
            self.cross_norm = LayerNormalization(dtype=policy, name="cross_norm")
            self.cross_attention = MultiHeadCrossAttention(
                num_heads, key_dim, dropout, dtype=policy, name="cross_attention"
            )
            self.crossed = layers.Add(dtype=policy, name="crossed")

    def build(self, input_shape):
        for layer in (self.attention_norm, self.attention, self.feed_norm, self.expand):
            layer.build(input_shape)
        self.contract = layers.Dense(input_shape[-1], dtype=self.dtype_policy, name="contract")
        self.contract.build((*input_shape[:-1], self.ff_dim))
        if self.cross_attention is not None:
            self.cross_norm.build(input_shape)
            self.cross_attention.build(input_shape)
        self.built = True

    def call(self, x, mask=None, context=None, context_mask=None, training=None):
        attended = self.attention(self._before(self.attention_norm, x), mask=mask, training=training)
        return self._rest(x, attended, context, context_mask, training)

    def prefill(self, x, length):
        """Return the output of a causal block without a context, and its cache; see `MultiHeadSelfAttention`."""
        attended, cache = self.attention.prefill(self._before(self.attention_norm, x), length)
        return self._rest(x, attended, None, None, training=False), cache

    def step(self, x, position, cache, context=None, context_mask=None):
        """Return the output for one new time step, and the updated cache; see `MultiHeadSelfAttention`."""
        attended, cache = self.attention.step(self._before(self.attention_norm, x), position, cache)
        return self._rest(x, attended, context, context_mask, training=False), cache

    def _rest(self, x, attended, context, context_mask, training):
        x = self._after(self.attention_norm, self.attended, x, attended, training)
        if self.cross_attention is not None:
            y = self._before(self.cross_norm, x)
            y = self.cross_attention(y, context, mask=context_mask, training=training)
            x = self._after(self.cross_norm, self.crossed, x, y, training)
        fed = self.contract(self.expand(self._before(self.feed_norm, x)))
        return self._after(self.feed_norm, self.fed, x, fed, training)

    def _before(self, norm, x):
        return norm(x) if self.norm == "pre" else x

    def _after(self, norm, add, x, y, training):
        x = add([x, self.drop(y, training=training)])
        return x if self.norm == "pre" else norm(x)


def sizes_of(owner: str, blocks: list[Block]) -> dict[str, int | None]:
    """Return num_heads, key_dim and ff_dim of blocks as built: channel pruning makes them smaller.

    Args:
        owner: Name of the model, for the message.
        blocks: Blocks of the model.

    Raises:
        ValueError: If the blocks differ in size.
    """
    widths = {(block.attention.num_heads, block.attention.key_dim, block.expand.units) for block in blocks}
    if len(widths) > 1:
        raise ValueError(f"{owner}: expected blocks of one size, received (heads, key_dim, ff_dim) {widths}")
    (found,) = widths
    return dict(zip(("num_heads", "key_dim", "ff_dim"), found, strict=True))


class Stack(layers.Layer):
    """Position encoding, dropout, a sequence of blocks, and with pre-norm a final normalisation.

    A cache is a pair of tensors, keys and values, each (layers, batch, heads, length, d_k).

    Args:
        num_layers: Number of blocks.
        num_heads: Number of attention heads of each block.
        key_dim: Width of each head; see `Block`.
        ff_dim: Width of each block's feed-forward layer.
        dropout: Dropout rate; see `Block`. It also applies to the input.
        activation: Activation of the feed-forward layers, "relu" or "gelu".
        norm: Position of layer normalisation, "pre" or "post"; see `Block`.
        position: Position encoding, "sinusoidal" or "learned".
        scale: Factor on the input before positions are added.
        causal: Whether each time step attends only to itself and earlier ones.
        cross: Whether the blocks have cross-attention to a context.

    Call arguments:
        x: Embedded sequence (batch, time, features).
        mask: Mask (batch, time), true where a time step may be attended to; None for everywhere.
        context: Keys and values for every block, from the method `context`.
        context_mask: Mask (batch, context time), true where the context may be attended to; None for everywhere.

    Output shape: (batch, time, features).
    """

    def __init__(
        self,
        num_layers: int,
        num_heads: int,
        key_dim: int | None,
        ff_dim: int,
        dropout: float,
        activation: Literal["relu", "gelu"],
        norm: Literal["pre", "post"],
        position: Literal["sinusoidal", "learned"],
        scale: float,
        causal: bool = False,
        cross: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        policy = self.dtype_policy
        self.positions = PositionEncoding(position, scale, dtype=policy, name="positions")
        self.drop = layers.Dropout(dropout, dtype=policy, name="drop")
        self.blocks = [
            Block(
                num_heads,
                key_dim,
                ff_dim,
                dropout,
                causal,
                activation,
                norm,
                cross,
                dtype=policy,
                name=f"block_{i + 1}",
            )
            for i in range(num_layers)
        ]
        last = LayerNormalization if norm == "pre" else layers.Identity
        self.last_norm = last(dtype=policy, name="last_norm")

    def build(self, input_shape):
        for layer in [self.positions, *self.blocks, self.last_norm]:
            layer.build(input_shape)
        self.built = True

    def call(self, x, mask=None, context=None, context_mask=None, training=None):
        x = self.drop(self.positions(x), training=training)
        for block, each in zip(self.blocks, self._each(context), strict=True):
            x = block(x, mask=mask, context=each, context_mask=context_mask, training=training)
        return self.last_norm(x)

    def context(self, memory):
        """Return keys and values (layers, batch, heads, time, d_k) of the encoder's output (batch, time, features)."""
        return _stacked([block.cross_attention.project(memory) for block in self.blocks])

    def empty_cache(self, batch, length):
        """Return an empty cache for up to `length` time steps."""
        attention = self.blocks[0].attention
        shape = (len(self.blocks), batch, attention.num_heads, length, attention.key_dim)
        return ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)

    def prefill(self, x, length):
        """Return the output of a causal stack without a context, and a cache for `length` time steps that holds x."""
        x, caches = self.positions(x), []
        for block in self.blocks:
            x, cache = block.prefill(x, length)
            caches.append(cache)
        return self.last_norm(x), _stacked(caches)

    def step(self, x, position, cache, context=None, context_mask=None):
        """Return the output for one new time step, and the updated cache.

        Args:
            x: New time step (batch, 1, features).
            position: Position of the time step, an integer tensor of shape () or (batch,).
            cache: Cache of the earlier time steps.
            context: Keys and values for every block, as for `call`.
            context_mask: Mask of the context, as for `call`.
        """
        x, caches = self.positions.step(x, position, cache[0].shape[3]), []
        # Indexing, which TensorFlow does without a copy; no gradient is needed here.
        known, given = self._each(cache, _by_index), self._each(context, _by_index)
        for block, before, each in zip(self.blocks, known, given, strict=True):
            x, after = block.step(x, position, before, each, context_mask)
            caches.append(after)
        return self.last_norm(x), _stacked(caches)

    def _each(self, pair, parts=ops.unstack):
        """Split the keys and values of all blocks into a pair for each block."""
        count = len(self.blocks)
        return [None] * count if pair is None else list(zip(*(parts(x, count) for x in pair), strict=True))


def _by_index(x, count):
    return [x[i] for i in range(count)]


def _stacked(pairs):
    return tuple(ops.stack(each) for each in zip(*pairs, strict=True))
