"""Means and deviations of the frames that a front end makes of training sounds, which models standardise by."""

import numpy as np

from zoo.data.dataset import Split
from zoo.data.images import scaled
from zoo.models.parts.sound import SoundFeatures

# Largest number of clips that are looked at, evenly spread, and of those that are looked at together.
LOOKED_AT, TOGETHER = 1000, 16
# Smallest deviation that is divided by: bands of digital silence have none.
LEAST = 1e-2


def statistics(front: SoundFeatures, train: Split) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each column of the frames of training clips.

    Args:
        front: Front end.
        train: Clips, (examples, samples).
    """
    chosen = np.unique(np.linspace(0, len(train) - 1, LOOKED_AT).round().astype(np.int64))
    count, total, squares = 0, 0.0, 0.0
    for first in range(0, len(chosen), TOGETHER):
        x = scaled(train.take(chosen[first : first + TOGETHER]).x)
        frames = np.asarray(front(x), np.float64).reshape(-1, front.columns)
        count, total, squares = count + len(frames), total + frames.sum(0), squares + np.square(frames).sum(0)
    mean = total / count
    std = np.sqrt(np.maximum(squares / count - np.square(mean), LEAST**2))
    return tuple(float(f"{each:.7g}") for each in mean), tuple(float(f"{each:.7g}") for each in std)
