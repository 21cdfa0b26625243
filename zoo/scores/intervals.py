"""Confidence intervals of what was measured: between which figures other test examples of the same kind would give.

The percentile bootstrap (Efron and Tibshirani, 1993, chapter 13): examples are drawn anew with replacement, as many as
there are, and an interval holds the middle 95 % of the figures of such draws. It is about the choice of the examples
alone; another training gives another model.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

LEVEL = 0.95
RESAMPLES = 1000
SEED = 0
# Drawn examples in memory at once, of all resamples together.
DRAWN = 1 << 20
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
# The lowest and the highest figure.
Interval = list[float]


def of_share(count: int, total: int) -> Interval:
    """Return the interval of a share of independent examples.

    The count of a resample is binomial, so this is what a bootstrap comes to with ever more of them. Where all examples
    are alike, no resample differs, and the exact interval of Clopper and Pearson (1934) stands in.

    Args:
        count: of those that are meant.
        total: examples, 1 or more.
    """
    from scipy import special  # scipy.stats has both, and takes a second to import

    if 0 < count < total:
        ends = np.ceil(special.bdtrik(_ENDS, total, count / total))
        below = np.maximum(ends - 1, 0)  # where rounding carried the inverse beyond a whole number
        return [float(end) / total for end in np.where(special.bdtr(below, total, count / total) >= _ENDS, below, ends)]
    reach = _ENDS[0] ** (1 / total)
    return [0.0, 1 - reach] if count == 0 else [reach, 1.0]


def of_shares(scores: Mapping[str, Any], totals: Mapping[str, int]) -> dict[str, Interval]:
    """Return the interval of each share that is among scores, by the number of examples that it is of."""
    return {
        name: of_share(round(scores[name] * total), total) for name, total in totals.items() if name in scores and total
    }


def of_sums(
    terms: Any, figures: Callable[[np.ndarray], Mapping[str, np.ndarray]], resamples: int = RESAMPLES
) -> dict[str, Interval]:
    """Return the intervals of figures that follow from sums over examples; none of a figure that never differs.

    Args:
        terms: (examples, terms), an array or of scipy.sparse: what each example adds to each sum.
        figures: from sums, (resamples, terms), to figures by name, (resamples,) each.
        resamples: how often examples are drawn.
    """
    found = figures(resampled(terms, resamples))
    return {
        name: [float(end) for end in np.quantile(values, _ENDS)]
        for name, values in found.items()
        if values.min() < values.max()
    }


def resampled(terms: Any, resamples: int) -> np.ndarray:
    """Return sums over examples that are drawn with replacement, (resamples, terms) float64, always the same.

    Args:
        terms: as of `of_sums`.
        resamples: how often examples are drawn.
    """
    # Not a Generator, whose draws may be others in another release of NumPy (NEP 19): receipts are verified with it.
    random = np.random.RandomState(SEED)
    count, at_once = terms.shape[0], max(1, DRAWN // terms.shape[0])
    parts = []
    for start in range(0, resamples, at_once):
        rows = min(at_once, resamples - start)
        drawn = random.randint(0, count, (rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(drawn.reshape(-1), minlength=rows * count).reshape(rows, count)
        parts.append(times.astype(np.float64) @ terms)
    return np.concatenate(parts)
