"""Standardisation of inputs as the first layer of a model, so that a file takes values as they are."""

from typing import Any

import keras
from keras import layers

from zoo.models.parts.base import ZooModel

Numbers = tuple[float, ...]


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


def standardization(mean: Numbers, std: Numbers, policy: keras.DTypePolicy) -> layers.Rescaling | None:
    """Return the layer that computes (x - mean) / std along the last axis, None if that changes nothing.

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
    values = (scale[0], offset[0]) if count == 1 else (scale, offset)
    return layers.Rescaling(*values, dtype=policy, name="standardize")
