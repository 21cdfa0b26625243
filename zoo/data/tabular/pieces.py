"""The rows of a table file, some at a time, for a table that is larger than the memory that it may take."""

import codecs
import io
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo.config.task_facts import COMPRESSED, ending_of_table
from zoo.console.errors import UsageError
from zoo.data.reading import Tally
from zoo.data.tabular import arrow, header, lines, traits
from zoo.data.tabular.header import DELIMITERS, PARQUET
from zoo.data.tabular.kinds import Evidence, Form
from zoo.data.tabular.table import BAD, TIMES_LARGER, Table, refuse_type, valued

# Most values, and most characters of them, that are in memory at a time.
CELLS, CHARACTERS = 1 << 18, 1 << 23
CHUNK = 1 << 20
# Bytes of a text file that are read at a time; whole lines of them are parsed together.
BLOCK = 1 << 22
# Bytes of memory that reading a value of a Parquet file takes: in Arrow, as ours, and a mean text.
VALUE = 32
_DAMAGED = (EOFError, OSError, zlib.error)
# Line numbers of rows, and the texts of each column: an array of Arrow, or a list if Arrow cannot hold one.
Texts = tuple[Sequence[int], Mapping[str, Any]]


def fits(paths: Iterable[Path], columns: int, most: int) -> bool:
    """Return whether tables may be read whole, by the memory that reading takes.

    Args:
        paths: Tables.
        columns: Number of columns that are read.
        most: Bytes of memory that they may take.

    Raises:
        UsageError: A path that is no table.
    """
    left = most
    for path in paths:
        header.columns_of(path)  # refuses what is no table
        left -= _memory_of_columns(path, columns) if ending_of_table(path) == PARQUET else _memory(path, left)
        if left < 0:
            return False
    return True


def _memory(path: Path, most: int) -> int:
    """Return the bytes that reading a text file takes; of a compressed one no more is read than tells that it is."""
    if not path.name.lower().endswith(COMPRESSED):
        return path.stat().st_size * TIMES_LARGER
    size = 0
    try:
        with header.opened(path) as file:
            while size * TIMES_LARGER <= most and (found := file.buffer.read(CHUNK)):
                size += len(found)
    except _DAMAGED as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return size * TIMES_LARGER


def _memory_of_columns(path: Path, columns: int) -> int:
    from pyarrow import parquet

    return parquet.read_metadata(header.parquet_file(path)).num_rows * columns * VALUE


def read(
    path: Path, columns: Sequence[str], skip_bad: bool, tally: Tally, like: Mapping[str, Form] | None = None
) -> tuple[list[str], Iterator[Table]]:
    """Read a table twice: once for the types of its columns and faults of its rows, once for the values.

    Args:
        path: Path of the table.
        columns: Names of the columns to read.
        skip_bad: Whether rows with faults are left out.
        tally: Takes what was assumed and, once all rows were read, those that are left out.
        like: Form of columns in the table that a model learns from, see `kinds.Evidence.verdict`.

    Returns:
        Names of the columns in the order of the file, and an iterator over the rows.

    Raises:
        UsageError: As for `zoo.data.tabular.table.read`.
    """
    if ending_of_table(path) == PARQUET:
        return _of_parquet(path, columns, tally)
    like = like or {}
    if DELIMITERS[ending_of_table(path)] is None:
        return _of_texts(path, False, lambda tally, known: _objects(path, columns, known), skip_bad, tally, like)
    return _of_texts(
        path,
        _commas(path),
        lambda tally, known: _delimited(path, columns, skip_bad, tally, known),
        skip_bad,
        tally,
        like,
    )


def _commas(path: Path) -> bool:
    """Return whether numbers may have decimal commas, because values have another delimiter."""
    with header.opened(path) as file:
        return header.delimiter_of(path, next((line for line in file if line.strip()), "")) != ","


def _of_texts(
    path: Path,
    commas: bool,
    texts: Callable[[Tally, dict[str, None]], Iterator[Texts]],
    skip_bad: bool,
    tally: Tally,
    like: Mapping[str, Form],
) -> tuple[list[str], Iterator[Table]]:
    stamp = _stamp(path)
    known: dict[str, None] = {}
    found: dict[str, traits.Traits] = {}
    for numbers, columns in _told(path, texts(tally, known)):
        found = found or {name: traits.Traits(path, name, commas, like.get(name)) for name in columns}
        for name, values in columns.items():
            (found[name].add if isinstance(values, list) else found[name].add_column)(values, numbers)
    names = [name for name in known if name in found]
    traits.tell({name: found[name] for name in names}, skip_bad, tally)
    forms = {name: found[name].form for name in names}

    def tables() -> Iterator[Table]:
        for numbers, columns in _told(path, texts(Tally(), {})):
            table, bad = valued(path, {name: columns[name] for name in names}, numbers, forms)
            if bad:
                tally.left_out[BAD] += bad
            yield table
        _check_stamp(path, stamp)

    return names, tables()


def _of_parquet(path: Path, columns: Sequence[str], tally: Tally) -> tuple[list[str], Iterator[Table]]:
    import pyarrow
    from pyarrow import parquet

    stamp = _stamp(path)
    names = list(lines.places(path, header.columns_of(path), columns, tally))
    rows = max(1, CELLS // len(names))

    def batches() -> Iterator[Any]:
        try:
            with parquet.ParquetFile(header.parquet_file(path)) as file:
                for batch in file.iter_batches(rows, columns=names):
                    yield pyarrow.Table.from_batches([batch])
        except (pyarrow.ArrowException, OSError) as error:
            raise UsageError(f"{path}: expected a Parquet file: {' '.join(str(error).split())[:200]}") from None

    evidence = {name: Evidence(commas=False) for name in names}
    large, infinite, types = dict.fromkeys(names, False), dict.fromkeys(names, 0), {}
    for part in batches():
        for name in names:
            types[name] = part.column(name).type
            evidence[name].add(arrow.words(part.column(name)))
            large[name] |= arrow.is_large(part.column(name))
            values, count = arrow.values(part.column(name), False)
            infinite[name] += count
            if values is None:
                refuse_type(path, name, types[name])
    for name, kind in types.items():
        told = (*evidence[name].stored_as_texts(), *arrow.told(kind, large[name], infinite[name]))
        tally.notes += [f"column {name!r} {clause}" for clause in told]

    def tables() -> Iterator[Table]:
        begin = 1
        for part in batches():
            values = {name: arrow.values(part.column(name), large[name])[0] for name in names}
            yield Table(path, values, np.arange(begin, begin + part.num_rows))
            begin += part.num_rows
        _check_stamp(path, stamp)

    return names, tables()


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _check_stamp(path: Path, stamp: tuple[int, int]) -> None:
    if _stamp(path) != stamp:
        raise UsageError(f"{path}: expected a file that stays as it is, received one that was written meanwhile")


def _told(path: Path, texts: Iterator[Texts]) -> Iterator[Texts]:
    """Yield what an iterator does, and tell in a sentence what is wrong with the file."""
    try:
        yield from texts
    except UnicodeDecodeError:
        raise UsageError(f"{path}: expected UTF-8 text, received {_undecodable(path)}; save it as UTF-8") from None
    except _DAMAGED as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _undecodable(path: Path) -> str:
    """Return the first byte of a file that is not UTF-8, and its place."""
    decoder, begin = codecs.getincrementaldecoder("utf-8")(), 0
    with header.opened(path) as file:
        while True:
            chunk = file.buffer.read(CHUNK)
            waiting = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, final=not chunk)
            except UnicodeDecodeError as error:
                return f"byte {error.object[error.start]:#x} at offset {begin - waiting + error.start}"
            begin += len(chunk)


def _delimited(
    path: Path, columns: Sequence[str], skip_bad: bool, tally: Tally, known: dict[str, None]
) -> Iterator[Texts]:
    """Yield the texts of a file of values with delimiters; `known` takes the names of its columns."""
    with header.opened(path) as file:
        layout, _ = lines.layout(path, file, columns, skip_bad, tally)
    names = list(layout.places)
    known.update(dict.fromkeys(names))
    with header.opened(path) as file:
        source = _Lines(file.buffer)
        header.named(path, header.rows(source, layout.delimiter, path))
        while not source.ended():
            begin = source.number + 1
            if (block := source.block()) is not None and (found := _columns(block, layout)) is not None:
                source.skip()
                yield range(begin, begin + len(found[0])), dict(zip(names, found, strict=True))
            else:
                rows = header.rows(source, layout.delimiter, path, begin)
                yield from _together(names, layout.chosen(_until(rows, source)))
    layout.tell(tally)


def _until(rows: Iterator[tuple[int, list[str]]], source: "_Lines") -> Iterator[tuple[int, list[str]]]:
    """Yield rows until one ends where a block does."""
    for row in rows:
        yield row
        if source.at_end_of_block():
            return


def _columns(block: bytes, layout: lines.Layout) -> list[Any] | None:
    """Return the texts of each column that is read, arrays of Arrow; None if lines need a closer look.

    These are lines with another number of values, empty ones and those with quotation marks.

    Args:
        block: Whole lines.
        layout: What they are.
    """
    import pyarrow
    from pyarrow import csv

    if b"\r" in block:
        block = block.replace(b"\r\n", b"\n")
    quoted = layout.delimiter != "\t" and b'"' in block
    if quoted or b"\r" in block or b"\0" in block or block.startswith(b"\n") or b"\n\n" in block:
        return None
    if not block.isascii():
        block.decode()
    places = [str(place) for place in range(len(layout.names))]
    wanted = [places[place] for place in layout.places.values()]
    try:
        table = csv.read_csv(
            pyarrow.py_buffer(block),
            csv.ReadOptions(use_threads=False, block_size=len(block) + 1, column_names=places),
            csv.ParseOptions(delimiter=layout.delimiter, quote_char=False, ignore_empty_lines=False),
            csv.ConvertOptions(
                check_utf8=False,
                column_types=dict.fromkeys(wanted, pyarrow.string()),
                include_columns=wanted,
                strings_can_be_null=False,
            ),
        )
    except pyarrow.ArrowInvalid:
        return None
    return [table.column(name).combine_chunks() for name in wanted]


def _objects(path: Path, columns: Sequence[str], known: dict[str, None]) -> Iterator[Texts]:
    """Yield the texts of a jsonl file; `known` takes the keys of all lines."""

    def rows(file: Any) -> Iterator[tuple[int, list[str]]]:
        for number, record in lines.objects(path, file):
            known.update(dict.fromkeys(record))
            yield number, [lines.text(path, number, name, record.get(name)) for name in columns]

    with header.opened(path) as file:
        yield from _together(columns, rows(file))
    header.refuse_absent(path, list(known), columns)


def _together(names: Sequence[str], rows: Iterable[tuple[int, list[str]]]) -> Iterator[Texts]:
    """Yield the texts of several rows by column."""
    numbers, found, characters = [], [], 0

    def columns() -> dict[str, Any]:
        return {name: arrow.texts(each) for name, each in zip(names, zip(*found, strict=True), strict=True)}

    for number, row in rows:
        numbers.append(number)
        found.append(row)
        characters += sum(map(len, row))
        if len(found) * len(names) >= CELLS or characters >= CHARACTERS:
            yield numbers, columns()
            numbers, found, characters = [], [], 0
    if found:
        yield numbers, columns()


class _Lines:
    """The lines of a file of UTF-8 text with their ends, one by one or in blocks.

    Args:
        file: File that was not read yet.
    """

    def __init__(self, file: BinaryIO):
        self._file = file
        self._rest, self._block, self._first = b"", b"", True
        self._lines: Iterator[str] = iter(())
        self._left = 0  # lines of the block that were not taken
        self._whole = False  # whether none was taken
        self.number = 0  # lines that were taken

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.ended():
            raise StopIteration
        if self._whole:
            text = self._block.decode("utf-8-sig" if self._first else "utf-8")
            lines = list(io.StringIO(text, newline=""))
            self._lines, self._left, self._whole, self._first = iter(lines), len(lines), False, False
        self.number, self._left = self.number + 1, self._left - 1
        return next(self._lines)

    def ended(self) -> bool:
        """Return whether no line is left, and read a block if all lines of the last one were taken."""
        if not self._left and not self._whole:
            self._block = self._read()
            self._whole = bool(self._block)
        return not self._left and not self._whole

    def at_end_of_block(self) -> bool:
        """Return whether all lines of a block were taken."""
        return not self._left and not self._whole

    def block(self) -> bytes | None:
        """Return a block, None if some of its lines were taken."""
        return self._block if self._whole and not self._first else None

    def skip(self) -> None:
        """Leave the lines of the block out."""
        self.number += self._block.count(b"\n") + (not self._block.endswith(b"\n"))
        self._whole = False

    def _read(self) -> bytes:
        """Return the next bytes until the end of a line."""
        size = CHUNK if self._first else BLOCK
        while chunk := self._file.read(size):
            self._rest += chunk
            # The end of a line that may be the first half of another one is left for the next block.
            end = self._rest.rfind(b"\n") + 1 or self._rest.rfind(b"\r", 0, -1) + 1
            if end:
                found, self._rest = self._rest[:end], self._rest[end:]
                return found
        found, self._rest = self._rest, b""
        return found
