"""ArrayRecord files of `tf.train.Example`, read by the library that Grain reads them with.

Its records lie in compressed groups, so that only the library finds them by their number.
"""

import threading
from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from zoo.config.records import Schema
from zoo.console.errors import UsageError
from zoo.data.stored import examples, places
from zoo.data.stored.row import Row

# Records that are read at once.
BATCH = 256


def rows(file: str, schema: Schema, look: bool) -> Iterator[Row]:
    """Yield the records of a file; see `tfrecord.rows`. The place of a record is its number."""
    data = _opened([file])
    for start in range(0, len(data), BATCH):
        numbers = range(start, min(start + BATCH, len(data)))
        for number, record in zip(numbers, _read(data, numbers), strict=True):
            yield examples.row(number, record, 0, schema, look)._replace(offset=number)


def _opened(files: Sequence[str]) -> Any:
    """Return the records of files as an `ArrayRecordDataSource`.

    Raises:
        UsageError: Files elsewhere, which the library does not read.
        ValueError: A damaged file.
    """
    if remote := [file for file in files if places.is_remote(file)]:
        raise UsageError(f"{remote[0]}: expected ArrayRecord files on this machine; copy them, or use TFRecord files")
    from array_record.python.array_record_data_source import ArrayRecordDataSource

    try:
        return ArrayRecordDataSource(list(files))
    except Exception as error:  # of the library's native code
        raise ValueError(f"damaged or cut: {error}") from None


def _read(data: Any, numbers: Sequence[int]) -> Sequence[bytes]:
    try:
        return data.__getitems__(list(numbers))
    except Exception as error:  # of the library's native code
        raise ValueError(f"damaged or cut: {error}") from None


class ArrayRecords:
    """The inputs of the records of ArrayRecord files.

    Args:
        files: Paths of the files.
        schema: Fields to read.
        file: Index of the file of each record, (records,).
        number: Number of each record in its file, (records,).
    """

    def __init__(self, files: Sequence[str], schema: Schema, file: np.ndarray, number: np.ndarray):
        self.files, self.schema, self._file, self._number = list(files), schema, file, number
        self._data: Any = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._file)

    def name(self, row: int) -> str:
        return f"{PurePath(self.files[self._file[row]]).name}, record {self._number[row]:,}"

    def identity(self) -> Any:
        return [places.identity(self.files), vars(self.schema)]

    def read(self, rows: np.ndarray) -> list[bytes]:
        with self._lock:  # the files are opened once
            self._data = self._data or _opened(self.files)
        found = []
        for record in _read(self._data, rows.tolist()):  # all records are in the index, in the order of the files
            field = examples.fields(record)[self.schema.x]
            found.append(record[field.begin : field.end])
        return found


def source(
    files: Sequence[str], schema: Schema, file: np.ndarray, offset: np.ndarray, length: np.ndarray, *, together: bool
) -> ArrayRecords:
    """Return where the inputs of the records are."""
    return ArrayRecords(files, schema, file, offset)
