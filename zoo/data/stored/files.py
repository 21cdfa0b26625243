"""Examples that are whole files, such as the pictures of a folder."""

import functools
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.data import cache


class Files:
    """Files below a folder, one example each.

    Paths are kept as one text, because a path object takes 300 bytes.

    Args:
        root: Folder.
        files: Files below it, or elsewhere.
    """

    def __init__(self, root: Path, files: Sequence[Path]):
        self.root = root
        begin = f"{root}/"
        names = [str(file).removeprefix(begin).encode(errors="surrogateescape") for file in files]
        self._names = b"".join(names)
        self._ends = np.cumsum([len(name) for name in names], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._ends)

    def name(self, row: int) -> str:
        begin = self._ends[row - 1] if row else 0
        return self._names[begin : self._ends[row]].decode(errors="surrogateescape")

    def path(self, row: int) -> Path:
        """Return the path of a file."""
        return self.root / self.name(row)  # also for a name that is a whole path

    def read(self, rows: np.ndarray) -> Sequence[bytes | OSError]:
        return [_content(os.path.join(self.root, self.name(int(row)))) for row in rows]  # noqa: PTH118  (faster)

    def identity(self) -> Any:
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> list:
        return cache.fingerprint(self.root, [self.name(row) for row in range(len(self))])


def _content(path: str) -> bytes | OSError:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  (a path object for each example takes longer than reading it)
            return file.read()
    except OSError as error:
        return OSError(error.strerror or str(error))
