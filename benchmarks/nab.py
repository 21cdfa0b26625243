"""The score of the Numenta Anomaly Benchmark (Lavin and Ahmad, 2015, arXiv:1510.03336), with its standard profile.

A detection inside a window counts once, the more the earlier it is; one outside costs the more the farther it is behind
the last window. The score is 0 for a detector that never alarms and 100 for one that alarms at the first point of every
window and nowhere else. As in the benchmark, one threshold for all series is chosen such that the score is largest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Weights of the standard profile: a detected window, a false alarm, a missed window.
DETECTED, FALSE_ALARM, MISSED = 1.0, 0.11, 1.0
# Share of a series, and of this many points at most, in which nothing is scored: detectors get to know the series.
PROBATION, MOST = 0.15, 5000
# Distance behind a window, in widths of it, from which a false alarm counts in full.
FAR = 3.0


@dataclass(frozen=True)
class Labelled:
    """Scores of a detector for one series.

    Args:
        scores: Score of each point, (points,).
        windows: First and last index of each window of an anomaly, in order.
    """

    scores: np.ndarray
    windows: Sequence[tuple[int, int]]

    @property
    def first(self) -> int:
        """Index of the first point that is scored."""
        return probation(len(self.scores))


def probation(points: int) -> int:
    """Return the number of points of a series that are not scored."""
    return int(min(PROBATION * points, PROBATION * MOST))


def sigmoid(position: np.ndarray | float) -> np.ndarray:
    """Return the weight of a detection at a position relative to the end of a window, in widths of it.

    It is nearly 1 at the window's begin (-1), 0 at its end, and -1 far behind it.
    """
    position = np.asarray(position, np.float64)
    return np.where(position > FAR, -1.0, 2 / (1 + np.exp(5 * np.minimum(position, FAR))) - 1)


def weights(series: Labelled) -> tuple[np.ndarray, np.ndarray]:
    """Return what a detection at each point adds to the score, and the window that each point is in, -1 for none."""
    points = np.arange(len(series.scores))
    found, within = np.full(len(points), -FALSE_ALARM), np.full(len(points), -1)
    for number, (first, last) in enumerate(series.windows):
        width = last - first + 1
        behind = points > last
        found[behind] = FALSE_ALARM * sigmoid((points[behind] - last) / max(width - 1, 1))
        inside = (points >= first) & (points <= last)
        found[inside] = DETECTED * sigmoid(-(last - points[inside] + 1) / width) / sigmoid(-1.0)
        within[inside] = number
    return found, within


def raw(series: Labelled, threshold: float) -> float:
    """Return the score of one series: what the detections add, less what missed windows cost."""
    found, within = weights(series)
    alarms = (series.scores >= threshold) & (np.arange(len(series.scores)) >= series.first)
    total = float(found[alarms & (within < 0)].sum())
    for number in range(len(series.windows)):
        own = alarms & (within == number)
        total += float(found[own].max()) if own.any() else -MISSED
    return total


def score(corpus: Mapping[str, Labelled], threshold: float) -> float:
    """Return the score of all series, from 0 for a detector without alarms to 100 for a perfect one."""
    count = sum(len(series.windows) for series in corpus.values())
    total = sum(raw(series, threshold) for series in corpus.values())
    return 100 * (total + MISSED * count) / ((DETECTED + MISSED) * count)


def best(corpus: Mapping[str, Labelled], candidates: int = 400) -> tuple[float, float]:
    """Return the largest score of all series, and its threshold.

    Args:
        corpus: Scores of the series.
        candidates: Number of thresholds that are tried: quantiles of all scores, closer to each other for large ones.
    """
    everything = np.concatenate([series.scores[series.first :] for series in corpus.values()])
    shares = 1 - np.geomspace(1 / len(everything), 0.5, candidates)
    thresholds = np.unique(np.append(np.quantile(everything, shares), everything.max() + 1))
    found = [score(corpus, threshold) for threshold in thresholds]
    return max(found), float(thresholds[int(np.argmax(found))])
