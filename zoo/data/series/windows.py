"""Windows of series, which are cut out when they are looked at: each row is in memory once."""

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np

from zoo.data.series.rows import Rows
from zoo.data.stored.column import Column


class Windows(Column):
    """The same number of consecutive rows for each example, with the interface of an array (examples, time, columns).

    Args:
        values: Rows of all series, (rows, columns) float32.
        starts: First row of each example, (examples,).
        length: Number of rows of an example.
        offset: Number of rows that are left out before them.
        then: Function of arrays (examples, ...) that follows, with dtype and shape of what it makes of one.
        source: Rows that the values are of, with their times and series; None where nobody asks for them.
    """

    def __init__(
        self,
        values: np.ndarray,
        starts: np.ndarray,
        length: int,
        offset: int = 0,
        then: tuple[Callable[[np.ndarray], np.ndarray], Any, tuple[int, ...]] | None = None,
        source: Rows | None = None,
    ):
        self.values, self.rows, self.length, self.offset, self._then = values, starts, length, offset, then
        self.source = source
        self.dtype = np.dtype(then[1]) if then else values.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *(self._then[2] if self._then else (self.length, self.values.shape[1])))

    def take(self, indices: np.ndarray) -> "Windows":
        """Return the windows at these indices; nothing is read."""
        return Windows(self.values, self.rows[indices], self.length, self.offset, self._then, self.source)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray], dtype: Any, shape: tuple[int, ...]) -> "Windows":
        """Return windows whose arrays are passed through a function when they are read; see `Column.mapped`."""
        return Windows(self.values, self.rows, self.length, self.offset, (function, dtype, shape), self.source)

    def name(self, index: int) -> str:
        """Return the name of an example for messages."""
        return f"window {index}"

    def _read(self, rows: np.ndarray) -> np.ndarray:
        found = self.values[rows[:, None] + (self.offset + np.arange(self.length))]
        return self._then[0](found) if self._then else found


def marks_of(values: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Return a mark of each window, (windows, 16) uint8: a hash of all rows, and the first row of the window.

    Args:
        values: Rows of all series.
        starts: First row of each window.
    """
    whole = hashlib.blake2b(np.ascontiguousarray(values).tobytes(), digest_size=8).digest()
    found = np.empty((len(starts), 16), np.uint8)
    found[:, :8] = np.frombuffer(whole, np.uint8)
    found[:, 8:] = np.ascontiguousarray(starts, np.int64).view(np.uint8).reshape(-1, 8)
    return found
