"""Features that one scale for a whole input would round away."""

import numpy as np

# Number of steps between the smallest and the largest integer, by the precision of a recipe that rounds inputs.
STEPS = {"int8": 255, "dynamic": 255, "int4": 255, "int16x8": 65_535}
# Steps that a standard deviation of a feature has to span.
FEWEST = 4


def lost(low: float, high: float, deviations: np.ndarray, steps: int) -> np.ndarray:
    """Return which features vary by fewer than FEWEST steps in a standard deviation.

    Args:
        low: Smallest value of all features.
        high: Largest value of all features.
        deviations: (features,) Standard deviation of each.
        steps: Number of steps between the smallest and the largest value of the scale, which includes zero.
    """
    step = (max(high, 0.0) - min(low, 0.0)) / steps
    return (deviations > 0) & (deviations < FEWEST * step)
