"""Reading of the examples of a batch inside tf.data, from a column whose examples are not in memory."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from zoo.console.errors import Failed, UsageError
from zoo.data.dataset import Split, leaves
from zoo.data.stored.column import Column
from zoo.system.machine import cores

if TYPE_CHECKING:
    import tensorflow as tf

# Largest size in bytes, as float32, of the batches that are being made, and of those that wait for their use.
AHEAD_BYTES = 1 << 27

_FAILURES: list[str] = []  # what could not be read, for `told`


def batches_ahead(split: Split, batch_size: int) -> int:
    """Return how many batches are read and decoded at a time, ahead of their use.

    Args:
        split: Examples.
        batch_size: Number of examples in a batch.
    """
    one = 4 * batch_size * sum(int(np.prod(leaf.shape[1:])) for leaf in leaves(split.x))
    return int(np.clip(AHEAD_BYTES // max(one, 1), 1, max(2, cores())))


def read(column: Column, index: tf.Tensor) -> tf.Tensor:
    """Return the examples of a column at indices (batch,), as a node of the graph."""
    import tensorflow as tf

    def examples(index: np.ndarray) -> np.ndarray:
        try:
            return column[index]
        except (UsageError, OSError) as error:
            _FAILURES.append(str(error))
            raise

    found = tf.numpy_function(examples, [index], tf.as_dtype(column.dtype), stateful=False)
    return tf.ensure_shape(found, (index.shape[0], *column.shape[1:]))


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Turn the error of an example that cannot be read into one sentence.

    Raises:
        Failed: An example could not be read inside tf.data.
    """
    before = len(_FAILURES)
    try:
        yield
    except Exception as error:
        said = _FAILURES[before:]
        del _FAILURES[before:]
        tf = sys.modules.get("tensorflow")  # a host that trains on JAX may have none
        if not said or tf is None or not isinstance(error, tf.errors.OpError):
            raise
        raise Failed(said[0]) from error
