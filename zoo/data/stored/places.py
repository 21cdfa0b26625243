"""Files that may be on this machine or elsewhere (gs://, s3://, hf://, ...), by fsspec."""

import os
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO

from zoo.config.records import is_address
from zoo.console.errors import UsageError
from zoo.system.files import is_hidden

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]+):/+(?=[^/])")
# Packages whose file systems fsspec does not bring along.
_PACKAGES = {"gs": "gcsfs", "gcs": "gcsfs", "s3": "s3fs", "hf": "huggingface_hub"}


def address(path: Path | str) -> str:
    """Return a path as text, with the slashes of an address that `Path` makes one: two, and three of a file's."""
    return _SCHEME.sub(lambda found: f"{found[1]}://{'/' * (found[1] == 'file')}", str(path), count=1)


@lru_cache(maxsize=4096)
def is_remote(path: str) -> bool:
    """Return whether a path is an address of another file system."""
    return is_address(path)


@lru_cache
def _system(scheme: str) -> Any:
    """Return the `fsspec.AbstractFileSystem` of a scheme.

    Raises:
        UsageError: No such file system, or its package is not installed.
    """
    import fsspec

    try:
        return fsspec.filesystem(scheme)
    except ImportError:
        package = _PACKAGES.get(scheme, f"fsspec's package for {scheme}")
        raise UsageError(f"{scheme}://: expected the package {package}: pip install {package}") from None
    except ValueError:
        raise UsageError(
            f"{scheme}://: expected a file system that fsspec knows, such as {', '.join(_PACKAGES)}"
        ) from None


def system(path: str) -> Any:
    """Return the file system of an address."""
    return _system(path.partition("://")[0])


def kind_of(path: str) -> str:
    """Return "folder", "file" or "" for nothing."""
    if not is_remote(path):
        return "folder" if Path(path).is_dir() else "file" if Path(path).is_file() else ""
    try:
        return "folder" if system(path).isdir(path) else "file" if system(path).isfile(path) else ""
    except (OSError, RuntimeError) as error:
        raise UsageError(f"{path}: cannot be reached: {' '.join(str(error).split())[:200]}") from None


def files_below(path: str) -> list[str]:
    """Return the files below a folder, sorted, without hidden ones."""
    if is_remote(path):
        root = system(path)._strip_protocol(path)
        names = [f"{path.rstrip('/')}/{name.removeprefix(root).lstrip('/')}" for name in system(path).find(path)]
    else:
        names = [f"{place}/{name}" for place, _, inside in os.walk(path, followlinks=True) for name in inside]
    return sorted(name for name in names if not any(map(is_hidden, name[len(path) :].split("/"))))


def opened(path: str) -> BinaryIO:
    """Open a file for reading."""
    return system(path).open(path, "rb") if is_remote(path) else open(path, "rb")  # noqa: SIM115, PTH123


def identity(paths: Sequence[str]) -> list:
    """Return names, sizes and times or checksums of files, which change when a file is written anew."""
    found = []
    for path in paths:
        if is_remote(path):
            found.append([path, system(path).size(path), str(system(path).checksum(path))])
        else:
            stat = Path(path).stat()
            found.append([os.path.realpath(path), stat.st_size, stat.st_mtime_ns])
    return found


def ranges(path: str, spans: Sequence[tuple[int, int]]) -> list[bytes]:
    """Return parts of a file; those of a remote file are fetched together.

    Args:
        path: File.
        spans: First and last byte of each part, the last one excluded; it may lie behind the end of the file.
    """
    if is_remote(path):
        size = _size(path)
        starts, ends = zip(*((begin, min(end, size)) for begin, end in spans), strict=True)
        return system(path).cat_ranges([path] * len(spans), list(starts), list(ends), on_error="raise")
    opened = _kept_open(path)  # held until the parts are read: another thread may take it out of the cache
    return [os.pread(opened.descriptor, end - begin, begin) for begin, end in spans]


@lru_cache(maxsize=4096)
def _size(path: str) -> int:
    return system(path).size(path)


class _Opened:
    """A descriptor that is closed with the last use of it."""

    def __init__(self, path: str):
        self.descriptor = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        os.close(self.descriptor)


@lru_cache(maxsize=256)
def _kept_open(path: str) -> _Opened:
    return _Opened(path)
