"""Messages between the workers that train a model, for callbacks that know the model alone."""

from typing import Any

import keras
import numpy as np

from strategies import collective


def is_chief(model: keras.Model) -> bool:
    """Whether this process is the chief of the workers that train a model, or the only one."""
    strategy = _strategy(model)
    return strategy is None or not collective.worker(strategy)


def of_chief(model: keras.Model, values: np.ndarray) -> np.ndarray:
    """Return the chief's values on every worker.

    Args:
        model: Compiled model.
        values: Array of the same shape on all workers.
    """
    strategy = _strategy(model)
    return values if strategy is None else collective.gather(strategy, values)[0]


def _strategy(model: keras.Model) -> Any:
    """Return the strategy of a model. On JAX, where one process trains, there is none."""
    return getattr(model, "distribute_strategy", None)
