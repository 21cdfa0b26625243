"""Arrays of an .npz file, checked before memory is allocated: neither pickles nor promises of a header are trusted."""

import ast
import math
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO

import numpy as np

from zoo.console.errors import UsageError, few
from zoo.system.machine import available_memory

SUFFIX = ".npy"
MAGIC = b"\x93NUMPY"
# Form of the header's length by the version of the format (NEP 1 and its versions 2.0 and 3.0).
_LENGTHS = {1: "<H", 2: "<I", 3: "<I"}
# numpy's own limit for headers that it does not trust.
MOST_HEADER = 10_000
# Deflate never shrinks its input further than this (zlib's technical description, "Maximum Compression Factor").
MOST_SHRUNK = 1032
# Booleans, integers, floats and texts; everything else (objects, records, dates, complex numbers) is refused.
KINDS = "biufU"
CHUNK = 1 << 20
# What the zip reader and the decompressor raise for content that is not what they expect.
_DAMAGED = (
    *(zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, struct.error),
    *(NotImplementedError, RuntimeError, LookupError, OverflowError),
)


def read(path: Path, wanted: Collection[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Read arrays of an .npz file. Members that are not wanted are not read.

    Args:
        path: Path of the file.
        wanted: Names of the arrays to read, where the file has them.

    Returns:
        The arrays by name, and the names of all arrays of the file.

    Raises:
        UsageError: The file is damaged, encrypted or too large for the memory, names an array twice, or a wanted member
            is not an array of numbers or texts. The message names the file and the array.
    """
    if not path.is_file():  # opening a named pipe would wait for ever
        raise UsageError(f"{path}: expected an .npz file, found none")
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(path, archive)
            chosen = {name: info for name, info in members.items() if name in wanted}
            _check_sizes(path, chosen)
            return {name: _read(path, archive, info) for name, info in chosen.items()}, list(members)
    except UsageError:
        raise
    except _DAMAGED as error:
        raise UsageError(f"{path}: expected an .npz file of plain arrays: {_said(error)}") from None


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members that are arrays, by the name of the array."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(SUFFIX)
        if name == info.filename:
            continue
        if name in found:
            raise UsageError(f"{path}: expected each array once, received {name!r} twice")
        found[name] = info
    return found


def _check_sizes(path: Path, members: dict[str, zipfile.ZipInfo]) -> None:
    """Raise UsageError for a size that the compressed bytes cannot have, or that the memory does not have."""
    for name, info in members.items():
        where = f"{path}: {name}"
        if info.flag_bits & 1:
            raise UsageError(f"{where}: expected an array without a password, received an encrypted one")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UsageError(
                f"{where}: expected an array that is stored or deflated, as numpy writes it, received compression"
                f" {zipfile.compressor_names.get(info.compress_type, info.compress_type)}"
            )
        most = info.compress_size * (MOST_SHRUNK if info.compress_type == zipfile.ZIP_DEFLATED else 1)
        if info.file_size > most or info.compress_size > path.stat().st_size:
            raise UsageError(
                f"{where}: expected a size that fits the file, received {info.file_size:,} bytes from"
                f" {info.compress_size:,} compressed ones"
            )
    total, free = sum(info.file_size for info in members.values()), available_memory()
    if free is not None and total > free:
        raise UsageError(
            f"{path}: expected arrays that fit in the {free:,} bytes of free memory, received {few(list(members))} of"
            f" {total:,} bytes"
        )


def _read(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    """Read one array; its header must account for every byte of the member."""
    where = f"{path}: {info.filename.removesuffix(SUFFIX)}"
    try:
        with archive.open(info) as file:
            kind, shape, by_columns, size = _header(where, file)
            promised = math.prod(shape) * kind.itemsize
            if size + promised != info.file_size:
                raise UsageError(
                    f"{where}: expected {promised:,} bytes for {kind} of shape {shape}, received"
                    f" {info.file_size - size:,}"
                )
            content = np.empty(promised, np.uint8)
            for start in range(0, promised, CHUNK):
                part = file.read(min(CHUNK, promised - start))
                content[start : start + len(part)] = np.frombuffer(part, np.uint8)
                if len(part) < min(CHUNK, promised - start):
                    raise UsageError(f"{where}: expected {promised:,} bytes, received {start + len(part):,}: it is cut")
            file.read(1)  # at its end the reader compares the checksum
    except UsageError:
        raise
    except _DAMAGED as error:
        raise UsageError(f"{where}: expected an undamaged array: {_said(error)}") from None
    if kind.kind == "b":
        content = (content != 0).view(np.uint8)  # any other byte would be read as a number
    array = content.view(kind).reshape(shape[::-1]).T if by_columns else content.view(kind).reshape(shape)
    if kind.kind == "U":
        _check_texts(where, array)
    return array


def _header(where: str, file: BinaryIO) -> tuple[np.dtype, tuple[int, ...], bool, int]:
    """Return type, shape, whether columns are stored one after the other, and the number of bytes of the header."""
    begin = file.read(len(MAGIC) + 2)
    if begin[:-2] != MAGIC or begin[-2] not in _LENGTHS:
        raise UsageError(f"{where}: expected an array in numpy's format, received {begin[:8]!r}")
    form = _LENGTHS[begin[-2]]
    length = struct.unpack(form, file.read(struct.calcsize(form)))[0]
    if length > MOST_HEADER:
        raise UsageError(f"{where}: expected a header of at most {MOST_HEADER:,} bytes, received {length:,}")
    text = file.read(length).decode("utf-8" if begin[-2] == 3 else "latin-1")
    try:
        described = ast.literal_eval(text.strip())
        descr, by_columns, shape = (described[key] for key in ("descr", "fortran_order", "shape"))
    except (SyntaxError, ValueError, TypeError, LookupError, MemoryError, RecursionError):
        raise UsageError(
            f"{where}: expected a header with descr, fortran_order and shape, received {text[:60]!r}"
        ) from (None)
    try:
        # A list describes records, and text other than a code, such as "i4,O", several of them.
        kind = np.dtype(descr) if isinstance(descr, str) and descr[1:2].isalpha() else None
    except (TypeError, ValueError, SyntaxError):
        kind = None
    if kind is None or kind.kind not in KINDS or not kind.itemsize or kind.subdtype or kind.hasobject:
        raise UsageError(f"{where}: expected numbers or texts, received the type {str(descr)[:60]!r}")
    whole = isinstance(shape, tuple) and all(type(n) is int and n >= 0 for n in shape)
    if not whole or not isinstance(by_columns, bool):
        raise UsageError(f"{where}: expected a shape of whole numbers, received {str(shape)[:60]}")
    return kind, shape, by_columns, len(begin) + struct.calcsize(form) + length


def _check_texts(where: str, texts: np.ndarray) -> None:
    """Raise UsageError for texts with code points that Unicode does not have."""
    codes = texts.reshape(-1).view(np.uint32).reshape(texts.size, -1)
    if texts.dtype.byteorder == (">" if np.little_endian else "<"):
        codes = codes.byteswap()
    bad = ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any(axis=1)
    if bad.any():
        raise UsageError(f"{where}: expected Unicode texts, received other code points in text {int(bad.argmax())}")
