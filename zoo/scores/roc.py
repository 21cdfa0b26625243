"""Scores of a detector that gives each example a number: ROC, areas under it, and a threshold by false alarms.

Every function takes scores that are larger for anomalies. Ties count half, as in the statistic of Mann and Whitney.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from zoo.scores.intervals import LEVEL, RESAMPLES, SEED, Interval, of_share

# Largest share of false alarms of the partial area, that of the DCASE challenge 2020, task 2 (Koizumi et al., 2020).
PARTIAL = 0.1
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)


class Curve(NamedTuple):
    """A receiver operating characteristic, from no alarms to nothing but alarms.

    Attributes:
        false_alarms: Share of the normal examples that are called anomalous, (points,), increasing.
        detected: Share of the anomalies that are, (points,).
    """

    false_alarms: np.ndarray
    detected: np.ndarray


def curve(scores: np.ndarray, anomalous: np.ndarray) -> Curve:
    """Return the ROC curve of scores.

    Args:
        scores: Score of each example, (examples,).
        anomalous: Whether each is an anomaly, (examples,); both kinds occur.
    """
    return Curve(*(shares[0] for shares in _curves(scores, anomalous, np.ones((1, len(scores))))))


def _curves(scores: np.ndarray, anomalous: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return false alarms and detections, (samples, points) each, where examples count several times."""
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))  # of examples with one score
    found = []
    for kind in (~anomalous, anomalous):
        counts = np.cumsum(times[:, order] * kind[order], axis=1)[:, last]
        found.append(np.pad(counts / counts[:, -1:], ((0, 0), (1, 0))))
    return found[0], found[1]


def auc(scores: np.ndarray, anomalous: np.ndarray) -> float:
    """Return the area under the ROC curve: the probability that an anomaly has the larger score of the two kinds."""
    return float(_area(*curve(scores, anomalous)))


def partial_auc(scores: np.ndarray, anomalous: np.ndarray, most: float = PARTIAL) -> float:
    """Return the area up to a share of false alarms, scaled so that chance has 0.5 (McClish, 1989); as scikit-learn.

    Args:
        scores: Score of each example, (examples,).
        anomalous: Whether each is an anomaly, (examples,).
        most: Largest share of false alarms.
    """
    return float(_partial(*curve(scores, anomalous), most))


def _area(false_alarms: np.ndarray, detected: np.ndarray) -> np.ndarray:
    return np.trapezoid(detected, false_alarms, axis=-1)


def _partial(false_alarms: np.ndarray, detected: np.ndarray, most: float) -> float:
    stop = int(np.searchsorted(false_alarms, most, side="right"))
    end = np.interp(most, false_alarms[stop - 1 : stop + 1], detected[stop - 1 : stop + 1])
    area = _area(np.append(false_alarms[:stop], most), np.append(detected[:stop], end))
    chance = most**2 / 2
    return 0.5 * (1 + (area - chance) / (most - chance))


def threshold(normal: np.ndarray, rate: float) -> float:
    """Return the lowest threshold that no more than a share of normal examples exceeds.

    An example is anomalous if its score is larger than the threshold. With fewer than 1 / rate examples it is the
    largest score.

    Args:
        normal: Scores of normal examples, (examples,), at least one.
        rate: Share of them, in [0, 1).
    """
    ordered = np.sort(normal)[::-1]
    return float(ordered[int(rate * len(ordered) + 1e-9)])


def at_threshold(scores: np.ndarray, anomalous: np.ndarray, limit: float) -> dict[str, float]:
    """Return the shares of normal examples and of anomalies above a threshold, each if there are such examples."""
    above = scores > limit
    found = {}
    if (~anomalous).any():
        found["false_alarms"] = float(above[~anomalous].mean())
    if anomalous.any():
        found["detected"] = float(above[anomalous].mean())
    return found


def figures(scores: np.ndarray, anomalous: np.ndarray, limit: float) -> dict[str, float]:
    """Return the areas, if both kinds of examples occur, and the shares above a threshold."""
    found: dict[str, float] = {}
    if 0 < anomalous.sum() < len(anomalous):
        found = {"auc": auc(scores, anomalous), "partial_auc": partial_auc(scores, anomalous)}
    return found | at_threshold(scores, anomalous, limit)


def intervals(scores: np.ndarray, anomalous: np.ndarray, found: Mapping[str, Any]) -> dict[str, Interval]:
    """Return the 95 % intervals of figures: bootstraps of normal examples and of anomalies, each among themselves.

    Args:
        scores: Score of each example, (examples,).
        anomalous: Whether each is an anomaly, (examples,).
        found: What `figures` returned.
    """
    kinds = {"false_alarms": ~anomalous, "detected": anomalous}
    result = {
        name: of_share(round(found[name] * int(kind.sum())), int(kind.sum()))
        for name, kind in kinds.items()
        if name in found
    }
    if "auc" not in found:
        return result
    # RandomState, because receipts are verified with these numbers; see `zoo.scores.intervals.resampled`.
    random, drawn = np.random.RandomState(SEED), {"auc": [], "partial_auc": []}
    places = [np.flatnonzero(~anomalous), np.flatnonzero(anomalous)]
    for _ in range(RESAMPLES):
        times = np.zeros((1, len(scores)))
        for kind in places:
            times[0] += np.bincount(kind[random.randint(0, len(kind), len(kind))], minlength=len(scores))
        false_alarms, detected = _curves(scores, anomalous, times)
        drawn["auc"].append(float(_area(false_alarms, detected)[0]))
        drawn["partial_auc"].append(_partial(false_alarms[0], detected[0], PARTIAL))
    for name, values in drawn.items():
        if min(values) < max(values):
            result[name] = [float(end) for end in np.quantile(values, _ENDS)]
    return result
