"""Choose the integers and scales of a layer's weights so that its outputs change least.

A layer computes y = W x. With the second moments M = E[x x'] of its inputs, integers Q and a scale s per row change the
outputs of a row by e' M e on average, with e = s q - w. Nearest rounding ignores that errors of several weights can
cancel out: `rounded` follows the second-order method of Frantar et al. (GPTQ, 2022), then improves one weight at a time
while that helps, and fits the scales by least squares.
"""

import numpy as np

# Shares of the largest weight that are tried as the end of the range, and repetitions of descent and least squares.
RATIOS = np.linspace(0.35, 1.0, 27)
# Wider ranges that a row with few weights tries: with another scale, the rounding errors of such a row may cancel out.
WIDER = np.linspace(1.02, 1.3, 12)
ROUNDS, SWEEPS, BLOCK = 1, 4, 64
_TINY = 1e-30


def errors(difference: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """Return the mean squared change of every output, (rows,).

    Args:
        difference: (rows, columns) Changes of the weights.
        moments: (columns, columns) Second moments of the inputs, or (rows, columns, columns) if every row has its own.
    """
    return (_times(difference, moments) * difference).sum(-1)


def best_scales(
    weights: np.ndarray, moments: np.ndarray, most: int, shared: bool = False, ratios: np.ndarray = RATIOS
) -> np.ndarray:
    """Return the scale per row, among shares of the largest weight, with the least error after nearest rounding.

    Args:
        weights: (rows, columns).
        moments: Second moments of the inputs, as in `errors`.
        most: Largest integer.
        shared: Whether all rows share one scale.
        ratios: Shares to try.

    Returns:
        (rows,) Scales above 0.
    """
    largest = np.abs(weights).max(1, initial=0.0)
    largest = np.full_like(largest, largest.max()) if shared else largest
    full = np.where(largest > 0, largest, 1.0) / most
    candidates = np.stack([full * ratio for ratio in ratios])  # (ratios, rows)
    found = np.stack([errors(_nearest(weights, s, most) * s[:, None] - weights, moments) for s in candidates])
    if shared:
        return candidates[found.sum(1).argmin()]
    return candidates[found.argmin(0), np.arange(len(weights))]


def rounded(
    weights: np.ndarray, moments: np.ndarray, most: int, *, shared: bool = False, zeros: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return integers and scales with a small error of the outputs.

    Args:
        weights: (rows, columns).
        moments: Second moments of the inputs, as in `errors`, positive definite.
        most: Largest integer; the smallest is -most.
        shared: Whether all rows share one scale.
        zeros: (rows, columns) Where the integer has to be 0, for pruned weights; default, nowhere.

    Returns:
        (rows, columns) integers as float64, and (rows,) scales.
    """
    zeros = np.zeros(weights.shape, bool) if zeros is None else zeros
    # With many levels nothing is gained by cutting off the largest weights.
    ratios = RATIOS if most < 32 else RATIOS[-1:]
    if moments.ndim == 3 and not shared:
        return _best_of(weights, moments, most, zeros, [*ratios, *WIDER])
    scales = best_scales(np.where(zeros, 0, weights), moments, most, shared, ratios)
    if moments.ndim == 2:
        integers = _second_order(weights, moments, scales, most, zeros)
    else:
        integers = np.where(zeros, 0, _nearest(weights, scales, most))
    for _ in range(ROUNDS):
        integers = descended(weights, moments, scales, integers, most, zeros)
        scales = _fitted(weights, moments, scales, integers, shared)
    return descended(weights, moments, scales, integers, most, zeros), scales


def _best_of(
    weights: np.ndarray, moments: np.ndarray, most: int, zeros: np.ndarray, ratios: list[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `rounded` does for rows with moments of their own: the best of many scales, each after descent."""
    largest = np.abs(np.where(zeros, 0, weights)).max(1, initial=0.0)
    full, tried = np.where(largest > 0, largest, 1.0) / most, []
    for ratio in ratios:
        scales = full * ratio
        nearest_ones = np.where(zeros, 0, _nearest(weights, scales, most))
        integers = descended(weights, moments, scales, nearest_ones, most, zeros)
        scales = _fitted(weights, moments, scales, integers, shared=False)
        tried.append((errors(integers * scales[:, None] - weights, moments), integers, scales))
    best = np.argmin([error for error, _, _ in tried], 0)
    rows = np.arange(len(weights))
    return np.stack([each for _, each, _ in tried])[best, rows], np.stack([each for _, _, each in tried])[best, rows]


def descended(
    weights: np.ndarray,
    moments: np.ndarray,
    scales: np.ndarray,
    integers: np.ndarray,
    most: int,
    zeros: np.ndarray,
) -> np.ndarray:
    """Return integers in which no change of a single one reduces a row's error, after at most SWEEPS sweeps.

    Args:
        weights: (rows, columns).
        moments: Second moments of the inputs, as in `errors`.
        scales: (rows,).
        integers: (rows, columns) to begin with; not changed.
        most: Largest integer.
        zeros: (rows, columns) Where the integer has to be 0.
    """
    integers, columns = integers.copy(), weights.shape[1]
    slopes = _times(integers * scales[:, None] - weights, moments)  # half the gradient of the error
    curvature = np.broadcast_to(np.diagonal(moments, axis1=-2, axis2=-1), weights.shape)
    for _ in range(SWEEPS):
        before = integers.copy()
        for begin in range(0, columns, BLOCK):
            block = slice(begin, min(begin + BLOCK, columns))
            inside, started = moments[..., block, block], integers[:, block].copy()
            for j in range(begin, block.stop):
                new = np.rint(integers[:, j] - slopes[:, j] / (scales * curvature[:, j] + _TINY)).clip(-most, most)
                new[zeros[:, j]] = 0
                step = (new - integers[:, j]) * scales
                better = step * (2 * slopes[:, j] + step * curvature[:, j]) < 0
                step, integers[:, j] = step * better, np.where(better, new, integers[:, j])
                slopes[:, block] += step[:, None] * inside[..., j - begin, :]
            moved = (integers[:, block] - started) * scales[:, None]
            slopes[:, block.stop :] += _times(moved, moments[..., block, block.stop :])
            slopes[:, :begin] += _times(moved, moments[..., block, :begin])
        if np.array_equal(before, integers):
            break
    return integers


def _times(rows: np.ndarray, moments: np.ndarray) -> np.ndarray:
    return rows @ moments if moments.ndim == 2 else np.einsum("rd,rde->re", rows, moments)


def nearest(
    weights: np.ndarray, moments: np.ndarray, most: int, *, shared: bool = False, zeros: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the nearest integers, and the scales with which their error is least; arguments are those of `rounded`."""
    scales = best_scales(weights, moments, most, shared)
    integers = _nearest(weights, scales, most)
    return (integers if zeros is None else np.where(zeros, 0, integers)), scales


def _nearest(weights: np.ndarray, scales: np.ndarray, most: int) -> np.ndarray:
    return np.rint(weights / scales[:, None]).clip(-most, most)


def _factor(moments: np.ndarray) -> np.ndarray:
    """Return the upper triangular factor of the inverse of moments, damped until rounding errors leave them positive.

    Inputs that are hardly ever other than 0 have moments whose inverse is not positive in float64.
    """
    mean = float(np.trace(moments)) / len(moments)
    for share in (0.0, 1e-6, 1e-4, 1e-2):
        try:
            damped = moments + share * mean * np.eye(len(moments))
            return np.linalg.cholesky(np.linalg.inv(damped)).T
        except np.linalg.LinAlgError:
            continue
    return np.eye(len(moments))  # every column by itself


def _second_order(
    weights: np.ndarray, moments: np.ndarray, scales: np.ndarray, most: int, zeros: np.ndarray
) -> np.ndarray:
    """Round one column after the other, and let the later ones compensate for its error (Frantar et al., 2022)."""
    order = np.argsort(-np.diag(moments), kind="stable")
    factor = _factor(moments[np.ix_(order, order)])
    left, zeros, columns = weights[:, order], zeros[:, order], len(order)
    integers = np.empty_like(left)
    for begin in range(0, columns, BLOCK):
        end = min(begin + BLOCK, columns)
        errors_of = np.empty((len(left), end - begin))
        for j in range(begin, end):
            integers[:, j] = np.where(zeros[:, j], 0, np.rint(left[:, j] / scales).clip(-most, most))
            errors_of[:, j - begin] = error = (left[:, j] - integers[:, j] * scales) / factor[j, j]
            left[:, j + 1 : end] -= np.outer(error, factor[j, j + 1 : end])
        left[:, end:] -= errors_of @ factor[begin:end, end:]
    return integers[:, np.argsort(order)]


def _fitted(
    weights: np.ndarray, moments: np.ndarray, scales: np.ndarray, integers: np.ndarray, shared: bool
) -> np.ndarray:
    """Return the scales with the least error for these integers: s = q' M w / q' M q."""
    product = _times(integers, moments)
    above, below = (product * weights).sum(1), (product * integers).sum(1)
    if shared:
        above, below = np.full_like(above, above.sum()), np.full_like(below, below.sum())
    usable = (above > 0) & (below > 0)
    return np.where(usable, above / np.where(usable, below, 1), scales)
