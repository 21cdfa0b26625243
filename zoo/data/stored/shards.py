"""Sets in files of records: which files there are, what a record holds, and where its bytes lie.

The files are read once to find the label of every record and the bytes of its input; the result is kept in the cache.
From then on an example is read by itself.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from zoo.config import records
from zoo.config.records import PICTURE, Schema
from zoo.console.errors import UsageError, few
from zoo.data import cache
from zoo.data.dataset import Split
from zoo.data.sources.folders import SPLITS
from zoo.data.stored import array_record, parquet, places, tar, tfrecord
from zoo.data.stored.column import Column, Source
from zoo.data.stored.decoders import Numbers, Pictures
from zoo.data.stored.row import Row
from zoo.system import temporary
from zoo.system.cache import folder

# Bytes of neighbours that are read together, and bytes of a set up to which they are not: memory holds its files.
BLOCK, SMALL = 1 << 17, 1 << 30
# Number of files of a set up to which missing ones are looked for.
MOST_FILES = 100_000
# Part of every key of the cache: raise it when an index has another form.
FORMAT = 1
_READERS: dict[str, Any] = {"TFRecord": tfrecord, "ArrayRecord": array_record, "tar": tar, "Parquet": parquet}
_WORD = re.compile(r"[a-z]+")
_NUMBERED = re.compile(r"(.*?)(\d+)-of-(\d+)(.*)")
# A function that yields the records of a file; see `tfrecord.rows`.
Rows = Callable[[str, Schema, bool], Iterator[Row]]
_DTYPES = {"float32": np.dtype("<f4"), "uint8": np.dtype("u1")}


@dataclass(frozen=True)
class Shards:
    """The files of a set.

    Args:
        format: TFRecord, ArrayRecord, tar or Parquet.
        files: Files by split, with a single split "all" if their names have no split.
    """

    format: str
    files: dict[str, list[str]]


@dataclass(frozen=True)
class Indexed:
    """The records of one split.

    Args:
        source: Where the bytes of the inputs are.
        labels: Label of each record, a class index or the index of a name.
        names: Names that labels are indices of, sorted; None if they are class indices.
        schema: Fields and type of the inputs.
        shape: Shape of inputs that are numbers.
        block: Number of neighbours that are read together, see `zoo.data.batches.order`.
    """

    source: Source
    labels: np.ndarray
    names: tuple[str, ...] | None
    schema: Schema
    shape: tuple[int, ...]
    block: int


def found(path: Path | str) -> Shards:
    """Return the files of a set by split.

    Args:
        path: File, folder or address. Splits are words of the names of files or of their folders: train-00000.tar.

    Raises:
        UsageError: No files of records, files of two formats, or files of a split beside files of none.
    """
    where = places.address(path)
    kind = places.kind_of(where)
    if not kind:
        raise UsageError(f"--data {where}: expected a file or a folder, found none")
    files = [where] if kind == "file" else places.files_below(where)
    for file in files:
        records.check_unpacked(file)
    by_format: dict[str, list[str]] = {}
    for file in files:
        if name := records.format_of(file):
            by_format.setdefault(name, []).append(file)
    if len(by_format) != 1:
        have = " and ".join(sorted(by_format)) or "none"
        raise UsageError(
            f"--data {where}: expected files that end in {records.ENDINGS}, all in one format, found {have}"
        )
    (name, own), *_ = by_format.items()
    by_split: dict[str, list[str]] = {}
    for file in own:
        said = PurePath(file[len(where) :].lstrip("/") if kind == "folder" else file.rpartition("/")[2])
        words = _WORD.findall(str(said).lower())
        splits = {SPLITS[word] for word in words if word in SPLITS}
        if len(splits) > 1:
            raise UsageError(f"{file}: expected one split in the name, received {' and '.join(sorted(splits))}")
        by_split.setdefault(next(iter(splits), "all"), []).append(file)
    if kind == "file":
        by_split = {"all": own}
    if "all" in by_split and len(by_split) > 1:
        raise UsageError(
            f"--data {where}: expected train, validation or test in the name of every file or of none, found"
            f" {few(by_split['all'])} without"
        )
    if "all" not in by_split and "train" not in by_split:
        raise UsageError(f"--data {where}: expected files of train beside those of {' and '.join(sorted(by_split))}")
    return Shards(name, by_split)


def missing(found: Shards) -> list[str]:
    """Return the files that others name by their numbers, train-00001-of-00003, and that are not there."""
    have = {file for files in found.files.values() for file in files}
    wanted = {}
    for file in sorted(have):
        if parts := _NUMBERED.fullmatch(file):
            before, number, count, after = parts.groups()
            for i in range(min(int(count), MOST_FILES)):
                wanted[f"{before}{i:0{len(number)}}-of-{count}{after}"] = None
    return [file for file in wanted if file not in have]


def indexed(name: str, files: Sequence[str], schema: Schema) -> Indexed:
    """Find the records of files.

    Args:
        name: Format.
        files: Files in order.
        schema: Fields to read; what it leaves open is found in the first record.

    Raises:
        UsageError: Files that are damaged or cut, records without a field of the schema, or of different shapes.
    """
    reader = _READERS[name]
    schema = _completed(reader, files, schema)
    key = ["index", FORMAT, name, places.identity(files), vars(schema)]
    if hasattr(reader, "contents"):  # the inputs are written once, as they are
        arrays = cache.cached(key, lambda: _written(reader, files, schema))
        inputs = arrays["inputs"]
        if not Path(inputs.filename).is_file():
            raise UsageError(
                f"{folder()}: expected room for the inputs of {few(list(files))}, {inputs.nbytes:,} bytes, and"
                " permission to write; ZOO_CACHE names another folder"
            )
        files, arrays["offset"] = [str(inputs.filename)], arrays["offset"] + inputs.offset
        arrays["file"] = np.zeros_like(arrays["file"])
    else:
        arrays = cache.cached(key, lambda: _scanned(reader.rows, files, schema))
    length = arrays["length"]
    block = _block(length)
    source = reader.source(files, schema, arrays["file"], arrays["offset"], length, together=block > 1)
    shape = schema.shape
    if schema.type != PICTURE and not shape:
        shape = (int(length[0]) // _DTYPES[schema.type].itemsize,)
    names = tuple(map(str, arrays["names"])) if "names" in arrays else None
    return Indexed(source, arrays["label"], names, schema, shape, block)


def split_of(found: Indexed, y: np.ndarray, decoder: Pictures | Numbers) -> Split:
    """Return the examples of a split.

    Args:
        found: Records of the split.
        y: Class indices.
        decoder: How bytes become arrays.
    """
    return Split(Column(found.source, decoder), y, block=found.block)


def decoder_of(found: Indexed) -> Numbers:
    """Return the decoder of inputs that are numbers."""
    return Numbers(found.shape, _DTYPES[found.schema.type])


def _block(length: np.ndarray) -> int:
    """Return the number of neighbours that are read together, which depends on the records alone.

    Args:
        length: Number of bytes of each.
    """
    total = int(length.sum())
    return max(1, BLOCK * len(length) // total) if total > SMALL else 1


def _completed(reader: Any, files: Sequence[str], schema: Schema) -> Schema:
    """Return the schema with what it leaves open, by the first record."""
    rows = reader.rows if hasattr(reader, "rows") else lambda *given: (row for row, _ in reader.contents(*given))
    first = next(iter(_named(rows, files[0], schema, look=True)), None)
    if first is None:
        raise UsageError(f"{files[0]}: expected records, received none")
    return first.schema


def _named(rows: Rows, file: str, schema: Schema, look: bool = False) -> Iterator[Row]:
    """Yield the records of a file. Errors name the file and the record."""
    number = 0
    try:
        for row in rows(file, schema, look):
            yield row
            number += 1
    except UsageError:
        raise
    except (ValueError, OSError, EOFError, KeyError) as error:
        said = " ".join(str(error).split())[:300]
        raise UsageError(f"{file}: record {number:,}: {said}") from None


def _written(reader: Any, files: Sequence[str], schema: Schema) -> dict[str, np.ndarray]:
    """Return what `_scanned` does, and the bytes of all inputs one after the other."""
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True)
        path = temporary.beside(place / "inputs")
        with path.open("wb") as out:

            def rows(file: str, schema: Schema, look: bool) -> Iterator[Row]:
                for row, content in reader.contents(file, schema, look):
                    yield row._replace(offset=out.tell())
                    out.write(content)

            found = _scanned(rows, files, schema)
        inputs = np.memmap(path, np.uint8, "c")
        path.unlink()  # it lasts as long as it is mapped
        return found | {"inputs": inputs}
    except OSError as error:
        raise UsageError(f"{place}: the inputs of {few(list(files))} cannot be written there: {error}") from None


def _scanned(rows: Rows, files: Sequence[str], schema: Schema) -> dict[str, np.ndarray]:
    """Return file, offset, length and label of each record, and the names of labels that are texts."""
    offsets, lengths, labels, counts = array("q"), array("q"), array("q"), []
    codes: dict[int | str, int] = {}
    width = int(np.prod(schema.shape)) * _DTYPES[schema.type].itemsize if schema.shape else None
    for file in files:
        before = len(labels)
        for row in _named(rows, file, schema):
            if schema.type != PICTURE:
                width = row.length if width is None else width
                if row.length != width:
                    each = _DTYPES[schema.type].itemsize
                    raise UsageError(
                        f"{file}: record {row.number:,}: expected {width // each:,} values of {schema.x!r}, as"
                        f" {'--schema says' if schema.shape else 'the first record has'}, received"
                        f" {row.length // each:,}"
                    )
            offsets.append(row.offset)
            lengths.append(row.length)
            labels.append(codes.setdefault(row.label, len(codes)))
        counts.append(len(labels) - before)
    if not labels:
        raise UsageError(f"{few(list(files))}: expected records, received none")
    if len({type(label) for label in codes}) > 1:
        raise UsageError(f"{files[0]}: expected labels of one type, received texts and whole numbers")
    found = {
        "file": np.repeat(np.arange(len(files), dtype=np.int32), counts),
        "offset": np.frombuffer(offsets, np.int64),
        "length": np.frombuffer(lengths, np.int64),
    }
    known = list(codes)
    if isinstance(known[0], int):
        return found | {"label": np.array(known, np.int64)[np.frombuffer(labels, np.int64)]}
    names = sorted(known)
    place = {name: i for i, name in enumerate(names)}
    table = np.array([place[name] for name in known], np.int32)
    return found | {"names": np.array(names), "label": table[np.frombuffer(labels, np.int64)]}
