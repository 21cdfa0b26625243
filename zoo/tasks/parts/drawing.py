"""Images drawn by a generator from random codes, and signs that its training fails."""

from typing import Any

import keras
import numpy as np

BATCH = 500  # images that are drawn at once
SURE = 0.9  # probability from which an image counts as recognised
SHOWN = 64  # images in the report and in a grid
# Number of consecutive epochs that make a collapse or a divergence.
IN_A_ROW = 3
# Diversity below which a generator has collapsed. Real images have 1, a good generator has more than 0.5.
COLLAPSED = 0.2
# Factor of the smallest Frechet distance so far above which training has diverged.
DIVERGED = 3.0


def codes(model: keras.Model, count: int, seed: int, labels: np.ndarray | None = None) -> np.ndarray:
    """Return codes that images are drawn from, (count, code_size) float32. More codes begin with the same ones.

    Args:
        model: Model with `code_size` and `latent_size`, such as `zoo.models.GAN`.
        count: Number of images.
        seed: Random seed of the noise.
        labels: Class indices, (count,), for a model that draws by class.
    """
    rng = np.random.Generator(np.random.Philox(key=seed))
    return coded(rng.standard_normal((count, model.latent_size), np.float32), labels, classes(model))


def draw(model: keras.Model, codes: np.ndarray) -> np.ndarray:
    """Return the images of codes, (count, height, width, channels) float32, pixels in [0, 1]."""
    parts = (model.sample(keras.ops.convert_to_tensor(codes[i : i + BATCH])) for i in range(0, len(codes), BATCH))
    return np.concatenate([np.asarray(keras.ops.convert_to_numpy(part), np.float32) for part in parts])


def grid_labels(model: keras.Model, count: int) -> np.ndarray | None:
    """Return the classes of a grid, one for each column, None for a model without classes."""
    return np.arange(count) % number if (number := classes(model)) else None


def columns(model: keras.Model, count: int) -> int:
    """Return the number of images in a row of a grid."""
    return classes(model) or int(np.ceil(np.sqrt(count)))


def classes(model: keras.Model) -> int:
    """Return the number of classes that a model draws, 0 without classes."""
    return model.code_size - model.latent_size


def coded(noise: np.ndarray, labels: np.ndarray | None, classes: int) -> np.ndarray:
    """Return codes of noise and one-hot labels, of noise alone without classes."""
    return np.concatenate([noise, np.eye(classes, dtype=np.float32)[labels]], axis=1) if classes else noise


def remarks(history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the epochs, from 1, at which the generator had collapsed, and those at which training had diverged.

    A generator has collapsed if its samples were less than COLLAPSED times as diverse as real images for IN_A_ROW
    epochs. Training has diverged if the Frechet distance was more than DIVERGED times the smallest one before for as
    many epochs.

    Args:
        history: Rows of all epochs. Those without scores of samples are ignored.
    """
    rows = [row for row in history if "val_frechet_distance" in row]
    alike = [row["val_diversity"] < COLLAPSED for row in rows]
    best = np.minimum.accumulate([row["val_frechet_distance"] for row in rows])
    far = [row["val_frechet_distance"] > DIVERGED * low for row, low in zip(rows, best, strict=True)]
    return {"collapsed": _in_a_row(rows, alike), "diverged": _in_a_row(rows, far)}


def _in_a_row(rows: list[dict[str, Any]], bad: list[bool]) -> list[int]:
    ends = range(IN_A_ROW - 1, len(rows))
    return [int(rows[i]["epoch"]) + 1 for i in ends if all(bad[i + 1 - IN_A_ROW : i + 1])]
