"""What more than one model needs."""

import keras
from keras import ops


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


def logits_dtype(policy: keras.DTypePolicy) -> str:
    """Return the dtype of a head: not below float32, because a softmax over bfloat16 logits loses digits."""
    return "float64" if policy.compute_dtype == "float64" else "float32"


def check_positive(owner: str, **sizes: int | tuple[int, ...]) -> None:
    """Raise ValueError naming the first size that is not a positive whole number."""
    for name, value in sizes.items():
        for number in value if isinstance(value, tuple) else (value,):
            if number < 1:
                raise ValueError(f"{owner}: {name}: expected positive whole numbers, received {value}")
