"""Choose the range of an activation so that rounding it to integers changes it least."""

import numpy as np

BINS = 2048
_SHARES = np.linspace(1.0, 0.05, 96)  # of the largest and of the smallest value that was seen


def best_range(counts: np.ndarray, edges: np.ndarray, levels: int = 256) -> tuple[float, float]:
    """Return the range with the least mean squared error: of rounding inside it, and of clipping outside it.

    Args:
        counts: (bins,) Number of values in each bin.
        edges: (bins + 1,) Ends of the bins, from the smallest to the largest value that was seen.
        levels: Number of integers.

    Returns:
        (lowest, highest), which contains 0.
    """
    low, high = min(float(edges[0]), 0.0), max(float(edges[-1]), 0.0)
    ends = [low, high]
    for _ in range(2):  # one end after the other, and again
        for end, seen in enumerate((low, high)):
            if seen:
                trials = [[*ends[:end], seen * share, *ends[end + 1 :]] for share in _SHARES]
                ends = trials[int(np.argmin([range_error(counts, edges, *trial, levels) for trial in trials]))]
    return ends[0], ends[1]


def range_error(counts: np.ndarray, edges: np.ndarray, low: float, high: float, levels: int = 256) -> float:
    """Return the mean squared error of the values of a histogram in a range of integers.

    Args:
        counts: (bins,) Number of values in each bin.
        edges: (bins + 1,) Ends of the bins.
        low: Lowest value of the range, at most 0.
        high: Highest value of the range, at least 0.
        levels: Number of integers.
    """
    scale = (high - low) / (levels - 1)
    if not scale:
        return float("inf")
    centres, half = (edges[1:] + edges[:-1]) / 2, (edges[1:] - edges[:-1]) / 2
    zero = np.rint(-low / scale)
    rounded = (np.clip(np.rint(centres / scale) + zero, 0, levels - 1) - zero) * scale
    inside = np.abs(rounded - centres) <= scale / 2
    # Bins are narrower than a step or about as wide: inside, values are spread evenly over a step.
    error = np.where(inside, scale**2 / 12, np.square(rounded - centres) + half**2 / 3)
    return float((counts * error).sum() / max(counts.sum(), 1))
