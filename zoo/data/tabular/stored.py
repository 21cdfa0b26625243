"""Tables that are larger than the memory they may take: their columns are in files of the cache.

A column of numbers or dates is one file. A column of texts is two: the UTF-8 texts after each other, and their ends.
What is read of them at a time is bounded; one column of numbers is read at once, where its quantiles are looked for.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from zoo.console.documents import from_json
from zoo.console.errors import UsageError
from zoo.data import cache, marks
from zoo.data.reading import Tally
from zoo.data.stored import places
from zoo.data.stored.column import Column
from zoo.data.tabular import arrow, encoding, pieces
from zoo.data.tabular.encoding import Input
from zoo.data.tabular.kinds import Form, Kind
from zoo.data.tabular.table import KINDS, Table

# Rows that are read together lie in at most so many times as many rows of the file.
SPREAD = 8


@dataclasses.dataclass(frozen=True)
class StoredTable(Table):
    """Rows of typed columns in files.

    Args:
        path: File that they were read from, for messages.
        columns: Name of the files of each column, in the order of the table.
        lines: Line of the file of each row, (rows,).
        arrays: Files of the columns.
        rows: Place of each row in them.
        identity: What the files depend on.
    """

    columns: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray] = dataclasses.field(kw_only=True)
    rows: np.ndarray = dataclasses.field(kw_only=True)
    identity: Any = dataclasses.field(kw_only=True)

    def kind(self, name: str) -> Kind:
        place = self._place(name)
        return "texts" if f"{place}.ends" in self.arrays else KINDS[self.arrays[place].dtype.kind]

    def column(self, name: str) -> np.ndarray:
        parts = [part.columns[name] for part in self.pieces([name])]
        return np.concatenate(parts) if parts else self._read(name, 0, 0, {})

    def missing(self, name: str) -> np.ndarray:
        if self.kind(name) != "texts":
            return super().missing(name)
        ends = self.arrays[f"{self._place(name)}.ends"]
        return np.diff(_part(ends, 0, len(ends)), prepend=0)[self.rows] == 0

    def take(self, indices: np.ndarray) -> "StoredTable":
        return dataclasses.replace(self, lines=self.lines[indices], rows=self.rows[indices])

    def only(self, names: Sequence[str]) -> Table:
        return Table(self.path, {name: self.column(name) for name in names}, self.lines)

    def pieces(self, names: Sequence[str] | None = None) -> Iterator[Table]:
        names = list(self.names if names is None else names)
        known: dict[str, str] = {}  # each text once
        for start, chosen, low, high in _together(self.rows, self._step(names)):
            values = {name: self._read(name, low, high, known)[chosen - low] for name in names}
            yield Table(self.path, values, self.lines[start : start + len(chosen)])

    def _place(self, name: str) -> str:
        return super().column(name)

    def _step(self, names: Sequence[str]) -> int:
        """Return how many rows of some columns are read together."""
        texts = [f"{self._place(name)}.bytes" for name in names if self.kind(name) == "texts"]
        characters = sum(len(self.arrays[text]) for text in texts) // max(1, len(self.arrays["lines"]))
        return max(1, min(pieces.CELLS // len(names), pieces.CHARACTERS // max(1, characters)))

    def _read(self, name: str, low: int, high: int, known: dict[str, str]) -> np.ndarray:
        place = self._place(name)
        if self.kind(name) != "texts":
            return _part(self.arrays[place], low, high)
        ends = _part(self.arrays[f"{place}.ends"], max(low - 1, 0), high)
        ends = ends if low else np.concatenate([np.zeros(1, ends.dtype), ends])
        content = _part(self.arrays[f"{place}.bytes"], int(ends[0]), int(ends[-1]))
        texts, places = arrow.distinct(arrow.from_bytes(content, ends - ends[0]))
        found = np.empty(len(texts), object)
        found[:] = [known.setdefault(text, text) for text in texts]
        return found[places]


def read(
    path: Path, columns: Sequence[str], skip_bad: bool, tally: Tally, like: Mapping[str, Form] | None = None
) -> StoredTable:
    """Return a table whose columns are in the cache, where they are written when it is read for the first time.

    Args:
        path: Path of the table.
        columns: Names of the columns to read.
        skip_bad: Whether rows with faults are left out.
        tally: Takes what was assumed, and the rows that are left out.
        like: Form of columns in the table that a model learns from, see `kinds.Evidence.verdict`.

    Raises:
        UsageError: As for `zoo.data.tabular.table.read`; or the cache cannot be written.
    """
    like = dict(like or {})
    identity = ["table", places.identity([str(path)]), list(columns), skip_bad, like]

    def write(folder: Path) -> None:
        own = Tally()
        names, tables = pieces.read(path, columns, skip_bad, own, like)
        forms: Mapping[str, Form] = {}
        with _Writer(folder) as writer:
            for table in tables:
                forms = table.forms
                for place, name in enumerate(names):
                    writer.add(str(place), table.columns[name])
                writer.add("lines", table.lines)
        facts = {"names": names, "notes": own.notes, "left_out": own.left_out, "forms": forms}
        np.save(folder / "facts.npy", np.frombuffer(json.dumps(facts).encode(), np.uint8))
        if not writer.counts.get("lines"):
            raise UsageError(f"{path}: expected at least one row after the names of the columns, received none")

    arrays = cache.written(identity, write)
    facts = from_json(arrays["facts"].tobytes(), "facts.npy")
    tally.notes += facts["notes"]
    tally.left_out.update(facts["left_out"])
    lines = _part(arrays["lines"], 0, len(arrays["lines"]))
    files = {name: str(place) for place, name in enumerate(facts["names"])}
    rows = np.arange(len(lines))
    table = StoredTable(path, files, lines, forms=facts["forms"], arrays=arrays, rows=rows, identity=identity)
    tally.unit, tally.columns = "rows", table.told()
    return table


def marks_of(table: StoredTable, names: Sequence[str]) -> np.ndarray:
    """Return what `encoding.marks_of` does; it is kept in the cache for all rows of the table."""

    def write(folder: Path) -> None:
        with _Writer(folder) as writer:
            for piece in _whole(table).pieces(names):
                columns = [
                    arrow.texts_of(piece.numbers(name))
                    if piece.kind(name) == "numbers"
                    else arrow.texts(piece.texts(name))
                    for name in names
                ]
                writer.add("marks", marks.of_contents(arrow.joined(columns, encoding.BETWEEN)))

    found = cache.written(["marks", table.identity, list(names)], write)["marks"]
    out = np.empty((len(table), marks.BYTES), np.uint8)
    for start, chosen, low, high in _together(table.rows, pieces.CELLS):
        out[start : start + len(chosen)] = _part(found, low, high)[chosen - low]
    return out


def encoded(table: StoredTable, inputs: Sequence[Input]) -> Column:
    """Return rows as a model takes them, each of which is read when it is looked at.

    Args:
        table: Rows with all columns of the inputs.
        inputs: What the inputs are.
    """
    names = list(dict.fromkeys(each["name"] for each in inputs))

    def write(folder: Path) -> None:
        with _Writer(folder) as writer:
            for piece in _whole(table).pieces(names):
                writer.add("x", encoding.encoded(piece, inputs))

    x = cache.written(["encoded", table.identity, [dict(each) for each in inputs]], write)["x"]
    return Column(EncodedRows(table.path, x), EncodedRow((len(inputs),)), table.rows)


def _whole(table: StoredTable) -> StoredTable:
    """Return all rows of the files, in their order."""
    count = len(table.arrays["lines"])
    return dataclasses.replace(table, rows=np.arange(count), lines=_part(table.arrays["lines"], 0, count))


def _together(rows: np.ndarray, step: int) -> Iterator[tuple[int, np.ndarray, int, int]]:
    """Yield rows that are read together: the place of the first, the rows, and the span of the file that they are in.

    Args:
        rows: Rows of the file.
        step: Most rows at a time.
    """
    start = 0
    while start < len(rows):
        chosen = rows[start : start + step]
        while len(chosen) > 1 and chosen.max() - chosen.min() > SPREAD * step:
            chosen = chosen[: len(chosen) // 2]
        yield start, chosen, int(chosen.min()), int(chosen.max()) + 1
        start += len(chosen)


def _part(array: np.ndarray, low: int, high: int) -> np.ndarray:
    """Return rows of a file. They are read, not mapped: pages of a map stay in the memory of the process."""
    count = int(np.prod(array.shape[1:], dtype=np.int64))
    offset = array.offset + low * count * array.dtype.itemsize
    return np.fromfile(array.filename, array.dtype, (high - low) * count, offset=offset).reshape(-1, *array.shape[1:])


class EncodedRows:
    """Rows of numbers in a file of the cache.

    Args:
        path: Table that they are from, for messages.
        array: File, (rows, inputs) float32.
    """

    def __init__(self, path: Path, array: np.ndarray):
        self._path, self._file, self._begin = path, str(array.filename), array.offset
        self._count, self._bytes = len(array), array.shape[1] * array.dtype.itemsize

    def __len__(self) -> int:
        return self._count

    def name(self, row: int) -> str:
        return f"{self._path}, row {row + 1:,}"

    def identity(self) -> Any:
        return places.identity([self._file])

    def read(self, rows: np.ndarray) -> Sequence[memoryview | bytes]:
        if not len(rows):
            return []
        begins = (self._begin + rows * self._bytes).tolist()
        if (np.diff(rows) == 1).all():
            content = memoryview(places.ranges(self._file, [(begins[0], begins[-1] + self._bytes)])[0])
            return [content[place : place + self._bytes] for place in range(0, len(content), self._bytes)]
        return places.ranges(self._file, [(begin, begin + self._bytes) for begin in begins])


@dataclasses.dataclass(frozen=True)
class EncodedRow:
    """Numbers of a row as they lie in memory, which may be infinite.

    Args:
        shape: (inputs,).
    """

    shape: tuple[int]
    dtype = np.dtype(np.float32)

    @property
    def identity(self) -> Any:
        return ["row", *self.shape]

    def decode(self, content: bytes | memoryview) -> np.ndarray:
        return np.frombuffer(content, self.dtype)


class _Writer:
    """Files of a folder that grow by arrays.

    Args:
        folder: Folder of the files.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._files: dict[str, tuple[BinaryIO, np.ndarray]] = {}
        self._end: dict[str, int] = {}
        self.counts: dict[str, int] = {}  # rows by name

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *failure: object) -> None:
        for name, (file, like) in self._files.items():
            file.seek(0)
            _write_header(file, like, self.counts[name])
            file.close()

    def add(self, name: str, values: np.ndarray) -> None:
        """Add rows to a file, which the first rows make; texts (rows,) of objects are added to two."""
        if values.dtype == object:
            encoded_texts = [text.encode() for text in values]
            end = self._end.get(name, 0)
            ends = end + np.cumsum([len(text) for text in encoded_texts], dtype=np.int64)
            self._end[name] = int(ends[-1]) if len(ends) else end
            self.add(f"{name}.bytes", np.frombuffer(b"".join(encoded_texts), np.uint8))
            self.add(f"{name}.ends", ends)
            return
        if name not in self._files:
            file = (self._folder / f"{name}.npy").open("wb")
            self._files[name], self.counts[name] = (file, values[:0]), 0
            _write_header(file, values, 0)
        self._files[name][0].write(values.tobytes())
        self.counts[name] += len(values)


def _write_header(file: BinaryIO, like: np.ndarray, count: int) -> None:
    """Write the header of an .npy file, which has the same length whatever the number of rows."""
    header = {
        "descr": np.lib.format.dtype_to_descr(like.dtype),
        "fortran_order": False,
        "shape": (count, *like.shape[1:]),
    }
    np.lib.format.write_array_header_1_0(file, header)
