"""What more than one model needs."""

import keras
from keras import layers, ops


def as_rows(x: keras.KerasTensor) -> keras.KerasTensor:
    """View an image as the sequence of its rows.

    Args:
        x: (batch, height, width, channels), or a sequence (batch, time, features), which passes unchanged.

    Returns:
        (batch, height, width * channels).
    """
    if len(x.shape) != 4:
        return x
    _, height, width, channels = x.shape
    return ops.reshape(x, (-1, height, width * channels))


def rows_shape(input_shape: tuple) -> tuple:
    """Return the shape of `as_rows` for an input of this shape."""
    if len(input_shape) != 4:
        return tuple(input_shape)
    batch, height, width, channels = input_shape
    return (batch, height, width * channels)


def mean_of_steps(x: keras.KerasTensor, mask: keras.KerasTensor | None) -> keras.KerasTensor:
    """Average over the steps.

    Args:
        x: (batch, time, features).
        mask: (batch, time), true where a step counts; None: everywhere.

    Returns:
        (batch, features); zeros where no step counts.
    """
    if mask is None:
        return ops.mean(x, axis=1)
    weight = ops.cast(mask, x.dtype)[..., None]
    total = ops.maximum(ops.sum(weight, axis=1), 1)  # an empty text divides by 1, not by 0
    return ops.sum(x * weight, axis=1) / total


def logits_dtype(policy: keras.DTypePolicy) -> str:
    """Return the dtype of a head: not below float32, because a softmax over bfloat16 logits loses digits."""
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
    """Return a table of one vector a token that also scores tokens.

    Its numbers have a variance of 1 / model_dim: 1 where blocks get them, times sqrt(model_dim), and the scores of
    steps with variance 1 have that too.
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
    """Return what scores tokens where the table that embeds them does not."""
    return layers.Dense(vocabulary_size, use_bias=False, dtype=policy, name="head")


def token_logits(
    x: keras.KerasTensor, embedding: layers.ReversibleEmbedding, head: layers.Dense | None
) -> keras.KerasTensor:
    """Return the scores (batch, time, vocabulary) of steps (batch, time, features): the head's, or the table's.

    In bfloat16 the product is of bfloat16 numbers, summed in float32 by the processor: in float32 it would take longer
    than all blocks. What follows, a softmax over a whole vocabulary, is in float32.
    """
    logits = embedding(x, reverse=True) if head is None else head(x)
    return ops.cast(logits, logits_dtype(embedding.dtype_policy))
