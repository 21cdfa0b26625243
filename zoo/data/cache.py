"""A cache of decoded examples on disk: decoding MNIST's 70,000 PNG files takes longer than training on them.

Each entry is a folder of .npy files and contents.json, which has the size and the CRC-32 of each file. They are
compared whenever an entry is read, at 2 GB a second on one core, four times as fast as BLAKE2b. CRC-32 finds a file
that was cut, a page that was never written, flipped bits and mixed-up files: it misses one random change in four
billion. It is no protection from somebody who may write to the cache, who could write contents.json as well.
"""

import contextlib
import hashlib
import json
import os
import shutil
import sys
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.documents import from_json
from zoo.console.errors import UsageError
from zoo.system import temporary
from zoo.system.cache import folder
from zoo.system.files import write_json

# Part of every key. Raise it when decoding or resizing returns different arrays, or an entry has another form.
FORMAT = 5
CONTENTS = "contents.json"
# End of the name of a damaged entry.
DAMAGED = ".damaged"
CHUNK = 1 << 24


def fingerprint(root: Path, names: Iterable[str]) -> list:
    """Return the names, sizes and times of files, which change when a file is added, removed or written.

    Args:
        root: Folder that the names are relative to.
        names: Names of the files below the folder.
    """
    return [str(root.resolve()), [(name, *_stat(os.path.join(root, name))) for name in names]]  # noqa: PTH118


def _stat(path: str) -> tuple[int, int]:
    try:
        found = os.stat(path)  # noqa: PTH116  (four times as fast)
    except OSError:  # such as a link to nothing
        return -1, -1
    return found.st_size, found.st_mtime_ns


def cached(key: object, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Return the arrays of `make()`, memory-mapped from disk if they are in the cache.

    A damaged entry is reported on standard error, set aside and made again.

    Args:
        key: JSON-serializable key that differs whenever `make` would return different arrays.
        make: Function that returns named arrays.
    """
    place = _place(key)
    if (found := _kept(place)) is not None:
        return found
    arrays = make()
    # A cache that cannot be written (read-only or full) only makes the next run slower.
    with contextlib.suppress(OSError):
        _write(place, arrays)
        return _mapped(place, [f"{name}.npy" for name in arrays])  # the memory of `arrays` becomes free
    return arrays


def written(key: object, write: Callable[[Path], None]) -> dict[str, np.ndarray]:
    """Return the arrays of the .npy files that a function writes, memory-mapped; they are never in memory as a whole.

    Args:
        key: JSON-serializable key as for `cached`.
        write: Function that writes the files into a folder.

    Raises:
        UsageError: The cache cannot be written.
    """
    place = _place(key)
    if (found := _kept(place)) is not None:
        return found
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary.folder(place.parent) as made:
            files = made / place.name
            files.mkdir()
            write(files)
            _finish(files, place)
        return _mapped(place, [path.name for path in place.glob("*.npy")])
    except OSError as error:
        raise UsageError(
            f"{place.parent}: expected a cache with room for examples that are larger than --memory:"
            f" {error.strerror or error}; ZOO_CACHE names another folder"
        ) from None


def _place(key: object) -> Path:
    return folder() / hashlib.sha256(json.dumps([FORMAT, key], default=str).encode()).hexdigest()[:32]


def _kept(place: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an entry, None if there is none; a damaged one is set aside."""
    if not place.is_dir():
        return None
    try:
        return _read(place)
    except (OSError, ValueError) as error:
        aside = _set_aside(place)
        print(f"{place}: the cached examples are damaged ({error}) and are made again{aside}", file=sys.stderr)
    return None


def _read(place: Path) -> dict[str, np.ndarray]:
    """Return the arrays of an entry.

    Raises:
        OSError: A file is missing or cannot be read.
        ValueError: A file is not the one that was written.
    """
    contents = from_json((place / CONTENTS).read_bytes(), CONTENTS)
    if not isinstance(contents, dict):
        raise ValueError(f"{CONTENTS}: expected an object")
    for name, expected in contents.items():
        if _checked(place / name) != expected:
            raise ValueError(f"{name} is not as it was written")
    return _mapped(place, contents)


def _mapped(place: Path, names: Iterable[str]) -> dict[str, np.ndarray]:
    """Return arrays mapped into memory; writing to them would not change the files."""
    return {name.removesuffix(".npy"): np.load(place / name, mmap_mode="c") for name in names}


def _checked(path: Path) -> dict[str, Any]:
    """Return the size and the CRC-32 of a file."""
    checksum = size = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            checksum, size = zlib.crc32(chunk, checksum), size + len(chunk)
    return {"bytes": size, "crc32": f"{checksum:08x}"}


def _set_aside(place: Path) -> str:
    """Move a damaged entry away, in the place of an earlier one, and return where it is for the message."""
    aside = place.with_name(place.name + DAMAGED)
    try:
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
    except OSError:  # the cache is read-only, or another process was faster
        return ""
    return f"; they are kept in {aside.name}"


def _write(place: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write an entry: files, contents and folders are on the disk before the entry has its name.

    Raises:
        OSError: It cannot be written, or would fill the disk by more than a half of what is free.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    if 2 * sum(array.nbytes for array in arrays.values()) > shutil.disk_usage(place.parent).free:
        raise OSError(f"{place.parent}: too little space")
    with temporary.folder(place.parent) as made:
        files = made / place.name
        files.mkdir()
        for name, array in arrays.items():
            with (files / f"{name}.npy").open("wb") as file:
                np.save(file, array)
        _finish(files, place)


def _finish(files: Path, place: Path) -> None:
    """Give an entry its name after its files, contents and folders are on the disk.

    Raises:
        OSError: It cannot be written.
    """
    paths = sorted(files.glob("*.npy"))
    for path in paths:
        _sync(path)
    write_json(files / CONTENTS, {path.name: _checked(path) for path in paths})
    try:
        files.rename(place)  # atomic
    except OSError:  # another process wrote the same arrays first
        if not place.is_dir():
            raise
    _sync(place.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
