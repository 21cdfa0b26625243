"""`Column`: the inputs of a split that are read and decoded when they are looked at, with the interface of an array.

As with a dataset of h5py, indexing reads: `column[3]`, `column[10:20]` and `column[indices]` are arrays. `take` does
not read: it returns a column of fewer examples.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from zoo.console.errors import UsageError
from zoo.system.machine import available_memory, cores

# Most examples, and most bytes of them, that are read at a time where all are walked through.
PART, PART_BYTES = 1024, 1 << 26
# Mean size in bytes from which a picture is decoded faster by two threads than by one: the decoding of smaller ones is
# mostly Python, which runs in one thread at a time (28x28 grey PNG: 207 us with two threads, 104 with one).
SMALL_BYTES = 10_000


def parts(array: Any) -> Iterator[slice]:
    """Yield slices that walk through an array or a column (examples, ...) a few examples at a time."""
    each = max(1, int(np.prod(array.shape[1:], dtype=np.int64)) * array.dtype.itemsize)
    rows = max(1, min(PART, PART_BYTES // each))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))


class Source(Protocol):
    """Where the encoded examples are."""

    def __len__(self) -> int: ...

    def read(self, rows: np.ndarray) -> Sequence[bytes | memoryview]:
        """Return the bytes of examples.

        Raises:
            OSError: They cannot be read.
        """

    def name(self, row: int) -> str:
        """Return the name of an example for messages."""

    def identity(self) -> Any:
        """Return a JSON-serializable value that changes when the examples are written anew."""


class Decoder(Protocol):
    """How the bytes of an example become an array of one shape.

    Attributes:
        shape: Shape of an example.
        dtype: Type of its numbers.
        identity: JSON-serializable value that differs where the arrays differ.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    identity: Any

    def decode(self, content: bytes | memoryview) -> np.ndarray:
        """Return one example.

        Raises:
            ValueError: The bytes are damaged or have another form; the message says why.
        """


class Column:
    """Examples that are read from a source and decoded when they are looked at.

    Args:
        source: Where their bytes are.
        decoder: How bytes become an array.
        rows: Rows of the source in the order of the examples; default, all.
        then: Function of arrays (examples, ...) that follows decoding, and dtype and shape of what it makes of one.
    """

    def __init__(
        self,
        source: Source,
        decoder: Decoder,
        rows: np.ndarray | None = None,
        then: tuple[Callable[[np.ndarray], np.ndarray], Any, tuple[int, ...]] | None = None,
    ):
        self.source, self.decoder, self._then = source, decoder, then
        self.rows = np.arange(len(source)) if rows is None else rows
        self.dtype = np.dtype(then[1] if then else decoder.dtype)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *(self._then[2] if self._then else self.decoder.shape))

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of all examples when they are decoded."""
        return self.size * self.dtype.itemsize

    def take(self, indices: np.ndarray) -> "Column":
        """Return a column of the examples at these indices; nothing is read."""
        return Column(self.source, self.decoder, self.rows[indices], self._then)

    def joined(self, others: Sequence["Column"]) -> "Column":
        """Return a column of these examples and those of other columns; nothing is read.

        Raises:
            UsageError: Columns of other sources.
        """
        if any(other.source is not self.source for other in others):
            raise UsageError(
                "expected examples of one source, received several; give a --memory that holds all examples decoded"
            )
        rows = np.concatenate([self.rows, *(other.rows for other in others)])
        return Column(self.source, self.decoder, rows, self._then)

    def mapped(self, function: Callable[[np.ndarray], np.ndarray], dtype: Any, shape: tuple[int, ...]) -> "Column":
        """Return a column whose arrays (examples, ...) are passed through a function when they are read.

        Args:
            function: Function of an array of examples.
            dtype: Type of its numbers.
            shape: Shape of one example that it returns.
        """
        return Column(self.source, self.decoder, self.rows, (function, dtype, shape))

    def name(self, index: int) -> str:
        """Return the name of an example for messages."""
        return self.source.name(int(self.rows[index]))

    def __getitem__(self, index: Any) -> np.ndarray:
        """Return decoded examples, as indexing of an array (examples, ...) does.

        Raises:
            UsageError: An example that cannot be read any more; the message names it.
        """
        if isinstance(index, tuple):
            return self[index[0]][(slice(None), *index[1:]) if np.ndim(self.rows[index[0]]) else index[1:]]
        rows = self.rows[index]
        if np.ndim(rows) == 0:
            return self._read(np.array([rows]))[0]
        return self._read(rows)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        free = available_memory()
        if free is not None and self.nbytes > free:
            raise UsageError(
                f"expected examples that fit in the {free:,} bytes of free memory, received {len(self):,} of"
                f" {self.nbytes:,} bytes"
            )
        out = np.empty(self.shape, self.dtype)
        for part in parts(self):
            out[part] = self[part]
        return out if dtype is None else out.astype(dtype, copy=False)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        bad: dict[int, str] = {}
        found = self.decoded(rows, bad)
        if bad:
            first = min(bad)
            raise UsageError(
                f"{self.source.name(int(rows[first]))}: cannot be read: {bad[first]}; the data changed since the start"
            )
        return self._then[0](found) if self._then else found

    def decoded(self, rows: np.ndarray, bad: dict[int, str]) -> np.ndarray:
        """Return the examples at rows of the source, zeros where one cannot be decoded.

        Args:
            rows: Rows of the source.
            bad: Takes the reason by the place in `rows` of each example that cannot be decoded.
        """
        out = np.zeros((len(rows), *self.decoder.shape), self.decoder.dtype)
        contents = self.source.read(rows)

        def fill(part: range) -> None:
            for place in part:
                try:
                    if isinstance(contents[place], OSError):
                        raise contents[place]
                    out[place] = self.decoder.decode(contents[place])
                except (ValueError, OSError) as error:
                    bad[place] = str(error)

        sizes = [len(content) for content in contents[:32] if not isinstance(content, OSError)]
        several = len(rows) > 1 and sizes and sum(sizes) / len(sizes) > SMALL_BYTES
        if several and cores() > 1:
            list(_threads().map(fill, [range(start, len(rows), cores()) for start in range(cores())]))
        else:
            fill(range(len(rows)))
        return out


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    """Return the threads that decode, one per core; Pillow releases the interpreter lock while it decodes."""
    return ThreadPoolExecutor(cores(), thread_name_prefix="decode")
