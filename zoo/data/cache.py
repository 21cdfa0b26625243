"""Decoded images, kept between runs: decoding MNIST's 70,000 PNG files takes longer than training on them."""

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

# Part of every key: raise it when decoding or resizing changes what it returns.
FORMAT = 1


def folder() -> Path:
    """Return where arrays are kept: $ZOO_CACHE, or keras-compression-zoo in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")) / "keras-compression-zoo"
    return Path(os.environ.get("ZOO_CACHE", default)).expanduser()


def fingerprint(root: Path, files: list[Path]) -> list:
    """Return what changes when a file is added, removed or written: names, sizes and times."""
    stats = [(file.relative_to(root).as_posix(), file.stat()) for file in files]
    return [str(root.resolve()), [(name, s.st_size, s.st_mtime_ns) for name, s in stats]]


def cached(key: object, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return `make()`, from disk and memory-mapped if it was made before.

    Args:
        key: JSON-able, and different whenever `make` would return something else.
        make: returns named arrays.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, key], default=str).encode()).hexdigest()[:32]
    place = folder() / digest
    if not place.is_dir():
        arrays = make()
        # A cache that cannot be written (read-only, full) costs time in the next run and nothing in this one.
        with contextlib.suppress(OSError):
            _write(place, arrays)
        return arrays
    return {file.stem: np.load(file, mmap_mode="r") for file in place.glob("*.npy")}


def _write(place: Path, arrays: dict[str, np.ndarray]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=place.parent))
    try:
        for name, array in arrays.items():
            np.save(temporary / f"{name}.npy", array)
        temporary.rename(place)  # atomic; fails if another process was first, whose arrays are the same
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
