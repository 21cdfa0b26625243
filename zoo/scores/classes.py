"""Scores of classes: loss, accuracy, precision, recall and F1, their intervals, and the confusion matrix.

Memory and time grow with the number of classes, not with its square: probabilities are computed for some examples at a
time, and a confusion matrix of many classes is sparse.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from zoo.runs.inference import probabilities
from zoo.scores import intervals

# Top-5 accuracy is informative only if there are clearly more than five classes.
TOP, TOP_ABOVE_CLASSES = 5, 10
# Confusion matrices of more classes are sparse.
MOST_DENSE = 1000
# Largest number of probabilities in memory.
AT_ONCE = 1 << 22


def scores(logits: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Return the scores of a split: loss, accuracy, macro precision, recall and F1, and top-5 accuracy of many classes.

    Args:
        logits: Logits, (examples, classes) or (examples, time, classes).
        y: Labels, (examples,) or (examples, time).
    """
    classes = logits.shape[-1]
    labels = y.reshape(-1)
    losses, answers = _losses(logits, labels)
    rows = _of_counts(labels, logits.argmax(-1).reshape(-1), range(classes))
    result = {
        "loss": float(losses.mean()),
        "accuracy": float((answers == labels).mean()),
        **{name: float(np.mean([row[name] for row in rows])) for name in ("precision", "recall", "f1")},
        "examples": len(labels),
    }
    if classes > TOP_ABOVE_CLASSES:
        hits = sum(int((_ranks(p, labels[part]) < TOP).sum()) for part, p in _parts(logits))
        result["top_5_accuracy"] = float(hits / len(labels))
    return result


def _ranks(p: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return how many classes are ahead of each label: more probable ones, and equal ones with a larger index."""
    own = p[np.arange(len(p)), labels, None]
    ties = (p == own) & (np.arange(p.shape[1]) > labels[:, None])
    return (p > own).sum(1) + ties.sum(1)


def _parts(logits: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the probabilities of all answers, (part, classes), some at a time."""
    rows = logits.reshape(-1, logits.shape[-1])
    size = max(1, AT_ONCE // rows.shape[1])
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        yield part, probabilities(rows[part])


def _losses(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the cross-entropy and the answer of each label, (labels,) each."""
    losses, answers = np.empty(len(labels)), np.empty(len(labels), np.int64)
    for part, p in _parts(logits):
        right = p[np.arange(len(p)), labels[part]]
        losses[part] = -np.log(np.maximum(right, np.finfo(np.float64).tiny))
        answers[part] = p.argmax(-1)
    return losses, answers


def answers_of(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the most probable class of each example and its probability, (examples,) each.

    Args:
        logits: Logits, (examples, classes).
    """
    answers, sure = np.empty(len(logits), np.int64), np.empty(len(logits))
    for part, p in _parts(logits):
        answers[part], sure[part] = p.argmax(-1), p.max(-1)
    return answers, sure


def intervals_of(found: dict[str, Any], logits: np.ndarray, y: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of the scores of a split. The bootstrap draws examples, with all of their steps.

    Args:
        found: Scores, as `scores` returns them.
        logits: Logits, (examples, classes) or (examples, time, classes).
        y: Labels, (examples,) or (examples, time).
    """
    from scipy import sparse

    classes, steps, labels = logits.shape[-1], y[0].size, y.reshape(-1)
    losses, answers = _losses(logits, labels)
    right = answers == labels
    # For each example the loss, and for each class how often it is right, true and predicted.
    row, columns = np.arange(len(labels)) // steps, (labels[right], classes + labels, 2 * classes + answers)
    places = (np.concatenate([row, row[right], row, row]), np.concatenate([0 * row, *(1 + c for c in columns)]))
    values = np.concatenate([losses, np.ones(len(places[0]) - len(losses))])
    terms = sparse.coo_array((values, places), shape=(len(y), 1 + 3 * classes)).tocsr()
    known = np.bincount(labels, minlength=classes) > 0

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        hits, true, predicted = (sums[:, 1 + i * classes : 1 + (i + 1) * classes] for i in range(3))
        there = true > 0
        return {
            "accuracy": hits.sum(1) / true.sum(1),
            "precision": _macro(hits / np.maximum(predicted, 1), there, known),
            "recall": _macro(hits / np.maximum(true, 1), there, known),
            "f1": _macro(2 * hits / np.maximum(true + predicted, 1), there, known),
            "loss": sums[:, 0] / true.sum(1),
        }

    drawn = intervals.of_sums(terms, figures)
    if y.ndim > 1:
        return drawn
    return drawn | intervals.of_shares(found, dict.fromkeys(("accuracy", "top_5_accuracy"), len(y)))


def _macro(values: np.ndarray, there: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the means over classes of resamples, (resamples,).

    A class with few examples is missing from many resamples. Counted as zero there, it would push the interval below
    the score itself; it is left out instead.

    Args:
        values: Value of each class, (resamples, classes).
        there: Whether the class has examples in the resample, (resamples, classes).
        known: Whether it has examples at all, (classes,).
    """
    if there[:, known].all():
        return values.mean(1)
    return (values * there).sum(1) / there.sum(1) * known.mean()


def confusion_matrix(logits: np.ndarray, y: np.ndarray) -> Any:
    """Return the counts of a confusion matrix, (classes, classes) int64, with a row for each true class.

    It is a numpy array, or a scipy.sparse.csr_array for more than `MOST_DENSE` classes.
    """
    classes = logits.shape[-1]
    labels, answers = y.reshape(-1).astype(np.int64), logits.argmax(-1).reshape(-1)
    if classes <= MOST_DENSE:
        return np.bincount(classes * labels + answers, minlength=classes**2).reshape(classes, classes)
    from scipy import sparse

    return sparse.coo_array((np.ones(len(labels), np.int64), (labels, answers)), shape=(classes, classes)).tocsr()


def per_class(confusion: Any, class_names: Sequence[Any]) -> list[dict[str, Any]]:
    """Return precision, recall, F1 and number of examples for each class.

    Args:
        confusion: Confusion matrix, as `confusion_matrix` returns it.
        class_names: Names of the classes.
    """
    return _rows(confusion.diagonal(), confusion.sum(1), confusion.sum(0), class_names)


def _of_counts(labels: np.ndarray, answers: np.ndarray, class_names: Sequence[Any]) -> list[dict[str, Any]]:
    """Return what `per_class` returns, from labels and answers."""
    every = (labels[labels == answers], labels, answers)
    return _rows(*(np.bincount(values, minlength=len(class_names)) for values in every), class_names)


def _rows(
    right: np.ndarray, true: np.ndarray, predicted: np.ndarray, class_names: Sequence[Any]
) -> list[dict[str, Any]]:
    rows = []
    for i, name in enumerate(class_names):
        total = true[i] + predicted[i]
        rows.append(
            {
                "class": name,
                "precision": float(right[i] / predicted[i]) if predicted[i] else 0.0,
                "recall": float(right[i] / true[i]) if true[i] else 0.0,
                "f1": float(2 * right[i] / total) if total else 0.0,
                "examples": int(true[i]),
            }
        )
    return rows
