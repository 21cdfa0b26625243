"""A cache of decoded images on disk: decoding MNIST's 70,000 PNG files takes longer than training on them."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

from zoo.system import temporary
from zoo.system.cache import folder

# Part of every key. Raise it when decoding or resizing returns different arrays.
FORMAT = 1


def fingerprint(root: Path, files: list[Path]) -> list:
    """Return the names, sizes and times of files, which change when a file is added, removed or written.

    Args:
        root: Folder that the names are relative to.
        files: Files below the folder.
    """
    stats = [(file.relative_to(root).as_posix(), file.stat()) for file in files]
    return [str(root.resolve()), [(name, s.st_size, s.st_mtime_ns) for name, s in stats]]


def cached(key: object, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of `make()`, memory-mapped from disk if they are in the cache.

    Args:
        key: JSON-serializable key that differs whenever `make` would return different arrays.
        make: Function that returns named arrays.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, key], default=str).encode()).hexdigest()[:32]
    place = folder() / digest
    if not place.is_dir():
        arrays = make()
        # A cache that cannot be written (read-only or full) only makes the next run slower.
        with contextlib.suppress(OSError):
            _write(place, arrays)
        return arrays
    return {file.stem: np.load(file, mmap_mode="r") for file in place.glob("*.npy")}


def _write(place: Path, arrays: dict[str, np.ndarray]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with temporary.folder(place.parent) as made:
        written = made / place.name
        written.mkdir()
        for name, array in arrays.items():
            np.save(written / f"{name}.npy", array)
        written.rename(place)  # atomic; fails if another process wrote the same arrays first
