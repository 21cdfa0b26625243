"""Mixing of images and their labels: each image with the next one of its batch, the last with the first."""

from typing import Any

import numpy as np
from keras import ops

from zoo.data.augmentation.draws import Draws

# Number of equally likely values that stand for a beta distribution.
QUANTILES = 4096


def beta(alpha: float, draws: Draws) -> Any:
    """Return numbers drawn from Beta(alpha, alpha), (batch,): one of its quantiles each."""
    from scipy import stats

    table = stats.beta(alpha, alpha).ppf((np.arange(QUANTILES) + 0.5) / QUANTILES).astype(np.float32)
    return ops.take(ops.convert_to_tensor(table), ops.cast(draws.integer(0, QUANTILES - 1), "int32"))


def mixup(images: Any, labels: Any, weight: Any) -> tuple[Any, Any]:
    """Return weighted means of images and labels.

    Args:
        images: Images (batch, height, width, channels), or samples of sound (batch, samples).
        labels: Probabilities of the classes (batch, classes).
        weight: Share of the image itself, (batch,).
    """
    ones = (1,) * (len(images.shape) - 1)
    own, other = (ops.reshape(share, (-1, *ones)) for share in (weight, 1 - weight))
    mixed = own * images + other * ops.roll(images, -1, axis=0)
    return mixed, weight[:, None] * labels + (1 - weight)[:, None] * ops.roll(labels, -1, axis=0)


def cutmix(images: Any, labels: Any, box: Any) -> tuple[Any, Any]:
    """Return images in which a box is that of another one, and labels mixed by the share of its area.

    Args:
        images: Images (batch, height, width, channels).
        labels: Probabilities of the classes (batch, classes).
        box: Which pixels come from the other image, (batch, height, width, 1) bool.
    """
    mixed = ops.where(box, ops.roll(images, -1, axis=0), images)
    share = ops.mean(ops.cast(box, "float32"), axis=(1, 2))
    return mixed, (1 - share) * labels + share * ops.roll(labels, -1, axis=0)


def boxes(images: Any, height: Any, width: Any, draws: Draws) -> Any:
    """Return rectangles at random places that lie within the images, (batch, height, width, 1) bool.

    Args:
        images: Images (batch, height, width, channels).
        height: Height of each rectangle as a share of the image's, (batch,).
        width: Width of each as a share of the image's, (batch,).
        draws: Random numbers of the places.
    """
    rows = _interval(images.shape[1], height, draws)
    columns = _interval(images.shape[2], width, draws)
    return ops.logical_and(rows[:, :, None, None], columns[:, None, :, None])


def _interval(size: int, share: Any, draws: Draws) -> Any:
    """Return which of `size` pixels lie within an interval of a share of them, (batch, size) bool."""
    length = ops.round(ops.clip(share, 0.0, 1.0) * size)
    start = ops.floor(draws.uniform() * (size - length + 1))[:, None]
    place = ops.arange(size, dtype="float32")[None]
    return ops.logical_and(place >= start, place < start + length[:, None])
