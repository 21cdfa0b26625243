"""The distribution of a kernel in few numbers. Imports neither Keras nor TensorFlow."""

from typing import Any

import numpy as np

# At equal distances of probability.
QUANTILES = 201


def summary(values: np.ndarray) -> dict[str, Any]:
    """Return the size and the quantiles of a kernel."""
    cuts = np.quantile(values.ravel(), np.linspace(0, 1, QUANTILES))
    return {"size": int(values.size), "quantiles": [float(f"{cut:.4g}") for cut in cuts]}
