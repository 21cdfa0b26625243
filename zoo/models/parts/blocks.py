"""Transformer blocks, pre-norm or post-norm, with or without a context; and stacks of them, with caches."""

from typing import Literal

from keras import layers, ops

from zoo.models.parts.attention import MultiHeadCrossAttention, MultiHeadSelfAttention, PositionEncoding
from zoo.models.parts.normalization import LayerNormalization


class Block(layers.Layer):
    """Self-attention, attention to a context where there is one, and a feed-forward part, each added to its input.

    Args:
        num_heads: attention heads.
        key_dim: width of each head, None: the input's width divided by `num_heads`.
        ff_dim: width inside the feed-forward part.
        dropout: share dropped in training of attention weights and of each part's output, in [0, 1).
        causal: each step attends only to itself and earlier ones.
        activation: "relu" or "gelu", of the feed-forward part.
        norm: "pre" gives x + part(norm(x)) (Xiong et al., 2020), "post" norm(x + part(x)) (Vaswani et al., 2017).
        cross: attend to a context.

    Call arguments:
        x: (batch, time, features).
        mask: (batch, time), true where a step may be attended to; default, everywhere.
        context: keys and values as `cross_attention.project` makes them.
        context_mask: (batch, context time), true where the context may be attended to; default, everywhere.

    Output shape: (batch, time, features).

    Raises:
        ValueError: an unknown activation or norm.
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
        """Return what a causal block without a context gives, and its cache; see MultiHeadSelfAttention."""
        attended, cache = self.attention.prefill(self._before(self.attention_norm, x), length)
        return self._rest(x, attended, None, None, training=False), cache

    def step(self, x, position, cache, context=None, context_mask=None):
        """Return what `call` gives for one new step, and the cache with it; see MultiHeadSelfAttention."""
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
    """Return num_heads, key_dim and ff_dim as they are: fewer than asked for, once channels were taken out.

    Raises:
        ValueError: the blocks differ, so that one number could not say it.
    """
    widths = {(block.attention.num_heads, block.attention.key_dim, block.expand.units) for block in blocks}
    if len(widths) > 1:
        raise ValueError(f"{owner}: expected blocks of one size, received (heads, key_dim, ff_dim) {widths}")
    (found,) = widths
    return dict(zip(("num_heads", "key_dim", "ff_dim"), found, strict=True))


class Stack(layers.Layer):
    """Positions, dropout, blocks one after the other, and with pre-norm a normalisation behind the last.

    Args:
        num_layers: number of blocks.
        num_heads: of each block, as key_dim, ff_dim, dropout, causal, activation, norm and cross are.
        position: "sinusoidal" or "learned".
        scale: what the input is multiplied by before positions are added.

    Call arguments:
        x: (batch, time, features), embedded steps.
        mask: (batch, time), true where a step may be attended to; default, everywhere.
        context: keys and values for every block, as `context` makes them.
        context_mask: (batch, context time), true where the context may be attended to; default, everywhere.

    Output shape: (batch, time, features).

    A cache is two tensors, keys and values, each (layers, batch, heads, length, d_k).
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
        """Return keys and values, each (layers, batch, heads, time, d_k), of a memory (batch, time, features)."""
        return _stacked([block.cross_attention.project(memory) for block in self.blocks])

    def empty_cache(self, batch, length):
        """Return a cache with room for `length` steps."""
        attention = self.blocks[0].attention
        shape = (len(self.blocks), batch, attention.num_heads, length, attention.key_dim)
        return ops.zeros(shape, self.compute_dtype), ops.zeros(shape, self.compute_dtype)

    def prefill(self, x, length):
        """Return what a causal stack without a context gives, and a cache of `length` steps that begins with x's."""
        x, caches = self.positions(x), []
        for block in self.blocks:
            x, cache = block.prefill(x, length)
            caches.append(cache)
        return self.last_norm(x), _stacked(caches)

    def step(self, x, position, cache, context=None, context_mask=None):
        """Return what `call` gives for one new step, and the cache with it.

        Args:
            x: (batch, 1, features).
            position: of the step, a whole number: () or (batch,).
            cache: of the steps before.
            context: as for `call`.
            context_mask: as for `call`.
        """
        x, caches = self.positions.step(x, position, cache[0].shape[3]), []
        # By indices, since nothing is trained here: TensorFlow gives such parts without a copy.
        known, given = self._each(cache, _by_index), self._each(context, _by_index)
        for block, before, each in zip(self.blocks, known, given, strict=True):
            x, after = block.step(x, position, before, each, context_mask)
            caches.append(after)
        return self.last_norm(x), _stacked(caches)

    def _each(self, pair, parts=ops.unstack):
        """Return the keys and values of each block."""
        count = len(self.blocks)
        return [None] * count if pair is None else list(zip(*(parts(x, count) for x in pair), strict=True))


def _by_index(x, count):
    return [x[i] for i in range(count)]


def _stacked(pairs):
    return tuple(ops.stack(each) for each in zip(*pairs, strict=True))
