"""Scores of several labels an example: micro and macro F1, mean average precision, and the thresholds of labels."""

from typing import Any

import numpy as np

from zoo.scores import intervals

# Thresholds that are tried, rounds over all labels, and examples that a label needs for a threshold of its own.
STEPS, ROUNDS, ENOUGH = 200, 5, 50


def scores(answers: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return micro F1, macro F1 and the share of examples whose labels are all right.

    Args:
        answers: Whether a label was answered, (examples, labels) bool.
        y: Whether it holds, (examples, labels).
    """
    counted = _counts(answers, y > 0).sum(0)[None]
    found = {name: float(value[0]) for name, value in _figures(counted, answers.shape[1]).items()}
    return found | {"exact_match": float((answers == (y > 0)).all(-1).mean())}


def _counts(answers: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return for each example which labels are right, and which hold or were answered, (examples, 2 x labels)."""
    return np.concatenate([answers & y, answers.astype(np.int64) + y], axis=1).astype(np.float64)


def _figures(sums: np.ndarray, labels: int) -> dict[str, np.ndarray]:
    right, either = sums[:, :labels], sums[:, labels:]
    return {
        "micro_f1": 2 * right.sum(1) / np.maximum(either.sum(1), 1),
        "macro_f1": (2 * right / np.maximum(either, 1)).mean(1),
    }


def intervals_of(found: dict[str, Any], answers: np.ndarray, y: np.ndarray) -> dict[str, intervals.Interval]:
    """Return the 95 % intervals of scores. The bootstrap draws examples.

    Args:
        found: Scores, as `scores` returns them.
        answers: Whether a label was answered, (examples, labels) bool.
        y: Whether it holds, (examples, labels).
    """
    drawn = intervals.of_sums(_counts(answers, y > 0), lambda sums: _figures(sums, answers.shape[1]))
    return drawn | intervals.of_shares(found, {"exact_match": len(y)})


def mean_average_precision(p: np.ndarray, y: np.ndarray) -> float:
    """Return the mean over the labels of the area under precision and recall, of labels that hold somewhere.

    Args:
        p: Probabilities or logits, (examples, labels).
        y: Whether a label holds, (examples, labels).
    """
    from sklearn.metrics import average_precision_score

    held = np.flatnonzero((y > 0).any(0))
    return float(np.mean([average_precision_score(y[:, i] > 0, p[:, i]) for i in held])) if len(held) else 0.0


def thresholds(p: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return a probability for each label from which on it is answered, (labels,): that with the best micro F1.

    Labels are cut at one threshold first; then each label with enough examples gets its own where that raises the micro
    F1. Thresholds lie halfway between two probabilities that occur.

    Args:
        p: Probabilities, (examples, labels).
        y: Whether a label holds, (examples, labels).
    """
    y = y > 0
    labels = p.shape[1]
    order = np.sort(np.unique(p))
    common = (order[1:] + order[:-1]) / 2 if len(order) > 1 else order
    common = common[:: max(1, len(common) // STEPS)]
    if not len(common) or not y.any():
        return np.full(labels, 0.5)
    right = np.array([[(y[:, i] & (p[:, i] > cut)).sum() for i in range(labels)] for cut in common])
    answered = np.array([[(p[:, i] > cut).sum() for i in range(labels)] for cut in common])
    holds = y.sum(0)
    best = int(np.argmax(2 * right.sum(1) / np.maximum(answered.sum(1) + holds.sum(), 1)))
    chosen = np.full(labels, best)
    for _ in range(ROUNDS):
        before = chosen.copy()
        for i in np.flatnonzero(holds >= ENOUGH):
            others = np.arange(labels) != i
            hits = right[chosen[others], np.flatnonzero(others)].sum() + right[:, i]
            total = answered[chosen[others], np.flatnonzero(others)].sum() + answered[:, i] + holds.sum()
            gain = 2 * hits / np.maximum(total, 1)
            if gain.max() > gain[chosen[i]]:
                chosen[i] = int(gain.argmax())
        if (before == chosen).all():
            break
    return common[chosen]


def by_label(answers: np.ndarray, y: np.ndarray, names: tuple[str, ...], cuts: np.ndarray) -> list[dict[str, Any]]:
    """Return precision, recall, F1, threshold and number of examples of each label.

    Args:
        answers: Whether a label was answered, (examples, labels) bool.
        y: Whether it holds, (examples, labels).
        names: Names of the labels.
        cuts: Thresholds of the labels.
    """
    found = []
    for i, name in enumerate(names):
        holds, answered = y[:, i] > 0, answers[:, i]
        right, total = int((holds & answered).sum()), int(holds.sum()) + int(answered.sum())
        found.append(
            {
                "class": name,
                "precision": right / int(answered.sum()) if answered.any() else 0.0,
                "recall": right / int(holds.sum()) if holds.any() else 0.0,
                "f1": 2 * right / total if total else 0.0,
                "threshold": float(cuts[i]),
                "examples": int(holds.sum()),
            }
        )
    return found
