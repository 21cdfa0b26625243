"""Standardisation of inputs as the first layer of a model, so that a file takes values as they are."""

from typing import Any

import keras
from keras import layers, ops

from zoo.models.parts.base import ZooModel
from zoo.models.parts.floating import InFloat

Numbers = tuple[float, ...]
# Width of a feature in deviations, on both sides, and how much wider all features together may be than the narrowest
# one: by then it has lost two of eight bits.
SIDES, LOST = 3, 4


class StandardizingModel(ZooModel):
    """A model that computes (x - mean) / std of its inputs first.

    Args:
        mean: What is subtracted from the inputs: one number, or one for each feature (the last axis).
        std: What the difference is divided by, likewise.

    Raises:
        ValueError: A deviation of 0, or lists of different lengths.
    """

    def __init__(self, mean: Numbers, std: Numbers, **kwargs):
        super().__init__(**kwargs)
        self.family = type(self).__name__
        check_standardization(self.family, tuple(mean), tuple(std))
        self.mean = tuple(mean)
        self.std = tuple(std)
        self.standardize = standardization(self.mean, self.std, self.dtype_policy)

    def check_features(self, features: int) -> None:
        """Raise ValueError unless mean and std have one number, or one for each of this many features."""
        for name, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, features):
                raise ValueError(
                    f"{self.family}: {name}: expected one number, or one for each of {features} features, received"
                    f" {len(numbers)}"
                )

    def standardized(self, x: Any) -> Any:
        """Return inputs as the rest of the model takes them."""
        return x if self.standardize is None else self.standardize(x)

    def get_config(self):
        return super().get_config() | {"mean": self.mean, "std": self.std}


def check_standardization(owner: str, mean: Numbers, std: Numbers) -> None:
    """Raise ValueError for deviations that nothing can be divided by, or for lists of different lengths."""
    if not all(std):
        raise ValueError(f"{owner}: std: expected numbers other than 0, received {std}")
    if len(mean) != len(std) and 1 not in (len(mean), len(std)):
        raise ValueError(f"{owner}: expected as many numbers in mean as in std, received {len(mean)} and {len(std)}")


@keras.saving.register_keras_serializable("zoo")
class FloatRescaling(InFloat):
    """A product and a sum along the last axis that stay in float32 in every file.

    Args:
        scale: Factor of each feature.
        offset: What is added to each product.
    """

    def __init__(self, scale: Numbers, offset: Numbers, **kwargs):
        super().__init__(**kwargs)
        self.scale = tuple(scale)
        self.offset = tuple(offset)

    def call(self, x):
        scale, offset = (ops.convert_to_tensor(values, x.dtype) for values in (self.scale, self.offset))
        return x * scale + offset

    def get_config(self):
        return super().get_config() | {"scale": self.scale, "offset": self.offset}


def standardization(mean: Numbers, std: Numbers, policy: keras.DTypePolicy) -> layers.Layer | None:
    """Return the layer that computes (x - mean) / std along the last axis, None if that changes nothing.

    Where features have ranges of their own, the layer stays in float32 in every file: in eight bits, one scale for all
    of them would leave those of small numbers with a few steps.

    Args:
        mean: What is subtracted: one number, or one for each feature.
        std: What the difference is divided by, likewise.
        policy: Precision of the layer.
    """
    count = max(len(mean), len(std))
    means, deviations = (values * count if len(values) == 1 else values for values in (mean, std))
    scale = [1 / one for one in deviations]
    offset = [-m / s for m, s in zip(means, deviations, strict=True)]
    if scale == [1] * count and offset == [0] * count:
        return None
    if spans(means, deviations) > LOST:
        return FloatRescaling(tuple(scale), tuple(offset), dtype=policy, name="standardize")
    values = (scale[0], offset[0]) if count == 1 else (scale, offset)
    return layers.Rescaling(*values, dtype=policy, name="standardize")


def spans(mean: Numbers, std: Numbers) -> float:
    """Return how many times wider the range of all features is than that of the narrowest one."""
    low = min(m - SIDES * abs(s) for m, s in zip(mean, std, strict=True))
    high = max(m + SIDES * abs(s) for m, s in zip(mean, std, strict=True))
    return (high - low) / (2 * SIDES * min(map(abs, std)))
