"""Scores of masks, accumulated a few pictures at a time: nothing of the size of a split is kept."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.scores import intervals

# Distance within which two borders agree, as a share of the picture's diagonal (Csurka et al., 2013).
TOLERANCE = 0.0075


@dataclass(frozen=True)
class Counts:
    """What the scores of some pictures are computed from.

    Args:
        confusion: Pixels by true and by predicted class, (classes, classes) int64.
        pixels: Pixels of each picture that are right, true and predicted, by class, (pictures, 3, classes) int64.
        borders: Sum of the border scores of the classes of each picture, and number of these classes, (pictures, 2).
        losses: Mean cross-entropy of each picture, (pictures,); NaN where only classes are known.
    """

    confusion: np.ndarray
    pixels: np.ndarray
    borders: np.ndarray
    losses: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)


def counted(predicted: np.ndarray, masks: np.ndarray, classes: int, ignored: int, losses: np.ndarray) -> Counts:
    """Return the counts of some pictures.

    Args:
        predicted: Predicted class of each pixel, (pictures, height, width).
        masks: True class of each pixel, or `ignored`.
        classes: Number of classes.
        ignored: Class of pixels that do not count.
        losses: Loss of each picture, (pictures,).
    """
    confusion = np.zeros((classes, classes), np.int64)
    pixels, borders = np.zeros((len(masks), 3, classes), np.int64), np.zeros((len(masks), 2))
    for picture, (found, truth) in enumerate(zip(predicted, masks, strict=True)):
        counts = truth != ignored
        cells = classes * truth[counts].astype(np.int64) + found[counts]
        own = np.bincount(cells, minlength=classes**2).reshape(classes, classes)
        confusion += own
        pixels[picture] = own.diagonal(), own.sum(1), own.sum(0)
        borders[picture] = border_scores(np.where(counts, found, ignored), truth, ignored)
    return Counts(confusion, pixels, borders, np.asarray(losses, np.float64))


def joined(parts: Iterable[Counts]) -> Counts:
    """Return the counts of all pictures."""
    parts = list(parts)
    rows = ([getattr(part, name) for part in parts] for name in ("pixels", "borders", "losses"))
    return Counts(sum(part.confusion for part in parts), *map(np.concatenate, rows))


def losses_of(log_p: np.ndarray, masks: np.ndarray, ignored: int) -> np.ndarray:
    """Return the mean cross-entropy of the pixels of each picture that count, (pictures,).

    Args:
        log_p: Logarithms of probabilities, (pictures, height, width, classes).
        masks: True class of each pixel, or `ignored`.
        ignored: Class of pixels that do not count.
    """
    counts = masks != ignored
    truth = np.where(counts, masks, 0).astype(np.int64)
    each = -np.take_along_axis(log_p, truth[..., None], axis=-1)[..., 0]
    return (each * counts).sum((1, 2), dtype=np.float64) / np.maximum(counts.sum((1, 2)), 1)


def border_scores(found: np.ndarray, truth: np.ndarray, ignored: int) -> tuple[float, int]:
    """Return the sum of the border scores of the classes of a picture, and the number of classes with a border.

    The score of a class is the F1 of the share of its predicted border that is near the true one, and of the share of
    the true border that is near the predicted one (Csurka et al., 2013).

    Args:
        found: Predicted classes (height, width), `ignored` where the truth is.
        truth: True classes.
        ignored: Class of pixels that do not count.
    """
    from scipy.spatial import cKDTree

    reach = max(1.0, TOLERANCE * float(np.hypot(*truth.shape)))
    total, count = 0.0, 0
    mine, theirs = (_border(mask, ignored) for mask in (found, truth))
    for index in np.union1d(found[mine], truth[theirs]):
        places = [np.argwhere(at & (mask == index)) for at, mask in ((mine, found), (theirs, truth))]
        count += 1
        if all(map(len, places)):
            trees = [cKDTree(points) for points in places]
            near = [
                np.isfinite(tree.query(points, distance_upper_bound=reach + 1e-6)[0]).mean()
                for tree, points in zip(trees[::-1], places, strict=True)
            ]
            total += 2 * near[0] * near[1] / (near[0] + near[1]) if sum(near) else 0.0
    return total, count


def _border(mask: np.ndarray, ignored: int) -> np.ndarray:
    """Return which pixels have a neighbour of another class, (height, width) bool; ignored ones are no neighbours."""
    border = np.zeros(mask.shape, bool)
    for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
        differs = (one != other) & (one != ignored) & (other != ignored)
        if one.shape[0] < mask.shape[0]:
            border[1:] |= differs
            border[:-1] |= differs
        else:
            border[:, 1:] |= differs
            border[:, :-1] |= differs
    return border


def scores(counts: Counts) -> dict[str, Any]:
    """Return the scores of a split: mIoU, pixel accuracy, border F1 and loss.

    Mean IoU is taken over the classes that occur, in the truth or in the answers. Border F1 is the mean over pictures
    of the mean over the classes that have a border there. The loss is left out where only classes are known.
    """
    found = figures(_terms(counts).sum(0, keepdims=True), counts.confusion.shape[0])
    values = {name: float(value[0]) for name, value in found.items()}
    if np.isfinite(counts.losses).all():
        values["loss"] = float(counts.losses.mean())
    return values | {"examples": len(counts)}


def intervals_of(counts: Counts) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of the scores. The bootstrap draws pictures."""
    classes = counts.confusion.shape[0]
    losses = counts.losses[:, None] if np.isfinite(counts.losses).all() else np.zeros((len(counts), 0))
    terms = np.concatenate([_terms(counts), losses], axis=1)

    def drawn(sums: np.ndarray) -> dict[str, np.ndarray]:
        found = figures(sums, classes)
        return found | ({"loss": sums[:, -1] / len(counts)} if losses.size else {})

    return intervals.of_sums(terms, drawn)


def figures(sums: np.ndarray, classes: int) -> dict[str, np.ndarray]:
    """Return scores of sums over pictures, (resamples,) each.

    Args:
        sums: (resamples, 3 classes + 2): right, true and predicted pixels by class, border scores and pictures.
        classes: Number of classes.
    """
    right, true, predicted = (sums[:, i * classes : (i + 1) * classes] for i in range(3))
    iou, occurs = iou_of(right, true, predicted)
    border, bordered = sums[:, 3 * classes], sums[:, 3 * classes + 1]
    return {
        "miou": iou.sum(1) / np.maximum(occurs.sum(1), 1),
        "pixel_accuracy": right.sum(1) / np.maximum(true.sum(1), 1),
        "boundary_f1": np.where(bordered > 0, border / np.maximum(bordered, 1), 1.0),
    }


def iou_of(right: np.ndarray, true: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return intersection over union of each class, 0 for one that does not occur, and which classes occur."""
    union = true + predicted - right
    return right / np.maximum(union, 1), union > 0


def _terms(counts: Counts) -> np.ndarray:
    """Return what `figures` sums up of each picture, (pictures, 3 classes + 2)."""
    total, of = counts.borders.T
    border = np.stack([np.where(of > 0, total / np.maximum(of, 1), 0), of > 0], axis=1)
    return np.concatenate([counts.pixels.reshape(len(counts), -1).astype(np.float64), border], axis=1)


def per_class(counts: Counts, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return IoU, recall, precision and F1 of the pixels of each class, its share of them, and its number of pictures.

    The IoU of a class that does not occur is None.
    """
    right, true, predicted = counts.pixels.sum(0)
    iou, occurs = iou_of(right, true, predicted)
    total = max(int(true.sum()), 1)
    return [
        {
            "class": name,
            "iou": float(iou[i]) if occurs[i] else None,
            "recall": float(right[i] / true[i]) if true[i] else 0.0,
            "precision": float(right[i] / predicted[i]) if predicted[i] else 0.0,
            "f1": float(2 * right[i] / (true[i] + predicted[i])) if occurs[i] else 0.0,
            "pixels": float(true[i] / total),
            "examples": int((counts.pixels[:, 1, i] > 0).sum()),
        }
        for i, name in enumerate(class_names)
    ]


def worst(counts: Counts, count: int) -> list[tuple[int, float]]:
    """Return the pictures with the lowest mean IoU of their own classes, the lowest first, with it."""
    right, true, predicted = counts.pixels.transpose(1, 0, 2)
    iou, occurs = iou_of(right, true, predicted)
    own = iou.sum(1) / np.maximum(occurs.sum(1), 1)
    own = np.where(occurs.any(1), own, 1.0)
    order = np.argsort(own, kind="stable")[:count]
    return [(int(i), float(own[i])) for i in order]
