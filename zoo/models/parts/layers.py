"""Functions that more than one model needs."""

import keras
from keras import layers, ops


def as_rows(x: keras.KerasTensor) -> keras.KerasTensor:
    """View an image as the sequence of its rows.

    Args:
        x: Images (batch, height, width, channels), or a sequence (batch, time, features), which passes unchanged.

    Returns:
        Sequence (batch, height, width * channels).
    """
    if len(x.shape) != 4:
        return x
    _, height, width, channels = x.shape
    return ops.reshape(x, (-1, height, width * channels))


def rows_shape(input_shape: tuple) -> tuple:
    """Return the output shape of `as_rows` for an input shape."""
    if len(input_shape) != 4:
        return tuple(input_shape)
    batch, height, width, channels = input_shape
    return (batch, height, width * channels)


def mean_of_steps(x: keras.KerasTensor, mask: keras.KerasTensor | None) -> keras.KerasTensor:
    """Average over the time steps.

    Args:
        x: Sequence (batch, time, features).
        mask: Mask (batch, time), true where a time step counts; None for everywhere.

    Returns:
        Mean (batch, features), or zeros where no time step counts.
    """
    if mask is None:
        return ops.mean(x, axis=1)
    weight = ops.cast(mask, x.dtype)[..., None]
    total = ops.maximum(ops.sum(weight, axis=1), 1)  # an empty text divides by 1, not by 0
    return ops.sum(x * weight, axis=1) / total


def logits_dtype(policy: keras.DTypePolicy) -> str:
    """Return the dtype of logits: float32 or higher, because a softmax over bfloat16 logits is imprecise."""
    return "float64" if policy.compute_dtype == "float64" else "float32"


def check_positive(owner: str, **sizes: int | tuple[int, ...]) -> None:
    """Raise ValueError naming the first size that is not a positive whole number."""
    for name, value in sizes.items():
        for number in value if isinstance(value, tuple) else (value,):
            if number < 1:
                raise ValueError(f"{owner}: {name}: expected positive whole numbers, received {value}")


def token_embedding(
    vocabulary_size: int, model_dim: int, policy: keras.DTypePolicy, name: str
) -> layers.ReversibleEmbedding:
    """Return a token embedding that can also be the output layer.

    Its values have variance 1 / model_dim. The blocks receive them times sqrt(model_dim), with variance 1; and logits
    have variance 1 if the time steps do.
    """
    return layers.ReversibleEmbedding(
        vocabulary_size,
        model_dim,
        embeddings_initializer=keras.initializers.RandomNormal(stddev=model_dim**-0.5),
        reverse_dtype=policy.compute_dtype,
        dtype=policy,
        name=name,
    )


def token_head(vocabulary_size: int, policy: keras.DTypePolicy) -> layers.Dense:
    """Return the output layer of a model whose token embedding is not tied to it."""
    return layers.Dense(vocabulary_size, use_bias=False, dtype=policy, name="head")


def token_logits(
    x: keras.KerasTensor, embedding: layers.ReversibleEmbedding, head: layers.Dense | None
) -> keras.KerasTensor:
    """Return logits (batch, time, vocabulary) of time steps (batch, time, features).

    With a bfloat16 policy the product is of bfloat16 numbers, which the processor sums in float32; in float32 it would
    take longer than all blocks. The logits are cast to float32 for the softmax over the vocabulary.

    Args:
        x: Output of the last block (batch, time, features).
        embedding: Token embedding, which is the output layer if `head` is None.
        head: Separate output layer, or None.
    """
    logits = embedding(x, reverse=True) if head is None else head(x)
    return ops.cast(logits, logits_dtype(embedding.dtype_policy))
