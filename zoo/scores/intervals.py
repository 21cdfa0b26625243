"""Confidence intervals of scores, by the percentile bootstrap (Efron and Tibshirani, 1993, chapter 13).

The test examples are resampled with replacement, and the interval contains the middle 95 % of the scores of the
resamples. It reflects only the choice of the test examples, not the variation between trainings.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000
SEED = 0
# Largest number of resampled examples in memory.
DRAWN = 1 << 20
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
# Lower and upper end.
Interval = list[float]


def of_share(count: int, total: int) -> Interval:
    """Return the interval of a share of independent examples, such as an accuracy.

    The count of a resample has a binomial distribution, so this is the limit of the bootstrap for many resamples. If
    all or no examples count, the resamples do not vary, and the exact interval of Clopper and Pearson (1934) is used.

    Args:
        count: Number of examples that count, such as the correct ones.
        total: Number of examples, 1 or more.
    """
    from scipy import special  # not scipy.stats, which takes a second to import

    if 0 < count < total:
        ends = np.ceil(special.bdtrik(_ENDS, total, count / total))
        below = np.maximum(ends - 1, 0)  # used where rounding pushed the inverse past an integer
        return [float(end) / total for end in np.where(special.bdtr(below, total, count / total) >= _ENDS, below, ends)]
    reach = _ENDS[0] ** (1 / total)
    return [0.0, 1 - reach] if count == 0 else [reach, 1.0]


def of_shares(scores: Mapping[str, Any], totals: Mapping[str, int]) -> dict[str, Interval]:
    """Return the interval of each score that is a share of examples.

    Args:
        scores: Scores by name.
        totals: Number of examples of each share, by name of the score.
    """
    return {
        name: of_share(round(scores[name] * total), total) for name, total in totals.items() if name in scores and total
    }


def of_sums(
    terms: Any, figures: Callable[[np.ndarray], Mapping[str, np.ndarray]], resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Return the intervals of scores that are functions of sums over examples.

    A score that is the same in all resamples has no interval.

    Args:
        terms: Contribution of each example to each sum, (examples, terms), an array or a scipy.sparse matrix.
        figures: Function from sums (resamples, terms) to scores by name, (resamples,) each.
        resamples: Number of resamples.
    """
    found = figures(resampled(terms, resamples))
    return {
        name: [float(end) for end in np.quantile(values, _ENDS)]
        for name, values in found.items()
        if values.min() < values.max()
    }


def resampled(terms: Any, resamples: int) -> np.ndarray:
    """Return the sums over resampled examples, (resamples, terms) float64. The resamples are reproducible.

    Args:
        terms: Contribution of each example to each sum; see `of_sums`.
        resamples: Number of resamples.
    """
    # RandomState, because the stream of a Generator may change between releases of NumPy (NEP 19), and receipts are
    # verified with these numbers.
    random = np.random.RandomState(SEED)
    count, at_once = terms.shape[0], max(1, DRAWN // terms.shape[0])
    parts = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = random.randint(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=rows * count).reshape(rows, count)
        parts.append(times.astype(np.float64) @ terms)
    return np.concatenate(parts)
