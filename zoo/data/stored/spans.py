"""Examples that are spans of bytes in files: the fields of records in TFRecord files, the members of tar archives."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from zoo.data.stored import places

# Bytes of a file that are read at once where neighbours are used together, and most bytes of them that are kept: those
# of two windows of `zoo.data.batches.order`, whose blocks lie across two chunks each.
CHUNK = 1 << 17
KEPT = 96 << 20


class Spans:
    """Spans of bytes, one for each example.

    Args:
        files: Paths or addresses of the files.
        file: Index of the file of each example, (examples,).
        offset: First byte of each example in its file, (examples,).
        length: Number of bytes of each, (examples,).
        together: Whether neighbours are used together, so that whole chunks of a file are read.
    """

    def __init__(
        self, files: Sequence[str], file: np.ndarray, offset: np.ndarray, length: np.ndarray, *, together: bool
    ):
        self.files, self._file, self._offset, self._length = list(files), file, offset, length
        self._longest = int(length.max(initial=0))
        self._together = together and self._longest <= CHUNK
        self._chunks: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._file)

    def name(self, row: int) -> str:
        return f"{PurePath(self.files[self._file[row]]).name}, bytes from {self._offset[row]:,}"

    def identity(self) -> Any:
        return places.identity(self.files)

    def read(self, rows: np.ndarray) -> Sequence[bytes]:
        file, offset, length = (column[rows] for column in (self._file, self._offset, self._length))
        if self._together:
            return self._from_chunks(file, offset, length)
        found: list[Any] = [b""] * len(rows)
        for number in np.unique(file):
            own = np.flatnonzero(file == number)
            spans = [(int(offset[i]), int(offset[i] + length[i])) for i in own]
            for i, content in zip(own, places.ranges(self.files[number], spans), strict=True):
                found[i] = content
        return found

    def _from_chunks(self, file: np.ndarray, offset: np.ndarray, length: np.ndarray) -> list[bytes]:
        chunk = offset // CHUNK
        keys = list(zip(file.tolist(), chunk.tolist(), strict=True))
        begins, ends = (offset - chunk * CHUNK).tolist(), (offset - chunk * CHUNK + length).tolist()
        with self._lock:
            missing: dict[int, list[int]] = {}
            for number, place in dict.fromkeys(keys):
                if (number, place) in self._chunks:
                    self._chunks.move_to_end((number, place))
                else:
                    missing.setdefault(number, []).append(place)
            for number, wanted in missing.items():
                # A record that begins in a chunk may end behind it.
                spans = [(place * CHUNK, (place + 1) * CHUNK + self._longest) for place in wanted]
                for place, content in zip(wanted, places.ranges(self.files[number], spans), strict=True):
                    self._chunks[number, place] = content
            chunks = self._chunks
            found = [chunks[key][begin:end] for key, begin, end in zip(keys, begins, ends, strict=True)]
            while len(chunks) * (CHUNK + self._longest) > KEPT and len(chunks) > 1:
                chunks.popitem(last=False)
        return found
