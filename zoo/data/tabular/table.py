"""`Table`: the columns of a table with their types, and `read`, which reads one from a file."""

import gzip
import io
import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from zoo.config.task_facts import COMPRESSED, ending_of_table
from zoo.console.errors import UsageError, few, short
from zoo.data.reading import Tally
from zoo.data.tabular import arrow, header, kinds, lines, traits
from zoo.data.tabular.header import DELIMITERS, PARQUET
from zoo.data.tabular.kinds import Form, Kind
from zoo.system.machine import available_memory

# Bytes of memory for each byte of a file: its text, and an object of Python for each value.
TIMES_LARGER = 16
KINDS: dict[str, Kind] = {"f": "numbers", "O": "texts", "M": "times"}
USUAL: dict[Kind, Form] = {"numbers": "numbers", "texts": "texts", "times": "dates"}
# Why rows are left out.
BAD = "with another value in a column of numbers"
# Named in the line about a table.
NAMED = 3


@dataclass(frozen=True)
class Table:
    """Rows of typed columns.

    Args:
        path: File, for messages.
        columns: Values of each column by its name, in the order of the file: float64 with NaN, texts as objects with
            "", or datetime64 of microseconds with NaT for what is missing.
        lines: Line of the file of each row, (rows,); numbers from 1 of the rows of a Parquet file.
        forms: How the values of each column were written, if the file is one of texts.
    """

    path: Path
    columns: Mapping[str, np.ndarray]
    lines: np.ndarray
    forms: Mapping[str, Form] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns)

    def form(self, name: str) -> Form:
        """Return how the values of a column are written, the usual way of its type for a file that is not of texts."""
        return self.forms.get(name, USUAL[self.kind(name)])

    def kind(self, name: str) -> Kind:
        """Return the type of a column: numbers, texts or times."""
        return KINDS[self.column(name).dtype.kind]

    def column(self, name: str) -> np.ndarray:
        """Return the values of a column as they are.

        Raises:
            UsageError: There is no such column.
        """
        header.refuse_absent(self.path, self.names, [name])
        return self.columns[name]

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64, NaN where a value is missing; true and yes are 1, false and no are 0.

        Raises:
            UsageError: A column of other texts or of dates.
        """
        values = self.column(name)
        if self.kind(name) == "texts":
            return kinds.as_numbers(f"{self.path}, column {name!r}", values)
        if self.kind(name) == "times":
            raise UsageError(f"{self.path}, column {name!r}: expected numbers, received dates such as {values[0]}")
        return values

    def texts(self, name: str) -> np.ndarray:
        """Return a column as texts in an array of objects, "" where a value is missing."""
        values = self.column(name)
        if self.kind(name) == "numbers":
            return kinds.as_texts(values)
        if self.kind(name) == "times":
            found = np.empty(len(values), object)
            found[:] = np.datetime_as_string(values.astype("datetime64[s]"))
            found[np.isnat(values)] = ""
            return found
        return values

    def times(self, name: str) -> np.ndarray:
        """Return a column as datetime64 of microseconds in UTC, NaT where a value is missing.

        Raises:
            UsageError: A column of numbers or of texts.
        """
        values = self.column(name)
        if self.kind(name) != "times":
            given = next((text for text in self.texts(name) if text), "nothing")
            raise UsageError(
                f"{self.path}, column {name!r}: expected dates such as 2024-12-31 or 2024-12-31 23:59:00, received"
                f" {short(given)}"
            )
        return values

    def missing(self, name: str) -> np.ndarray:
        """Return which values of a column are missing, (rows,) bool."""
        values = self.column(name)
        return (
            values == ""
            if self.kind(name) == "texts"
            else np.isnan(values)
            if values.dtype.kind == "f"
            else np.isnat(values)
        )

    def take(self, indices: np.ndarray) -> "Table":
        """Return the rows at these indices, or those of a mask (rows,) of bool."""
        columns = {name: values[indices] for name, values in self.columns.items()}
        return Table(self.path, columns, self.lines[indices], self.forms)

    def pieces(self, names: Sequence[str] | None = None) -> Iterator["Table"]:
        """Yield the rows in order, some at a time if they are not in memory.

        Args:
            names: Columns that are needed; None for all.
        """
        yield self if names is None else self.only(names)

    def only(self, names: Sequence[str]) -> "Table":
        """Return the table with these columns alone."""
        return Table(self.path, {name: self.column(name) for name in names}, self.lines)

    def told(self) -> str:
        """Return the types of the columns and what is missing in one clause: "9 numbers, 1 text"."""
        of_kind = {kind: [n for n in self.names if self.kind(n) == kind] for kind in ("numbers", "texts", "times")}
        words = {"numbers": "of numbers", "texts": "of texts", "times": "of dates"}
        parts = [
            f"{len(names)} {words[kind]}" + (f" ({', '.join(names)})" if len(names) <= NAMED else "")
            for kind, names in of_kind.items()
            if names
        ]
        counts = {name: int(self.missing(name).sum()) for name in self.names}
        absent = [f"{count:,} in {name}" for name, count in counts.items() if count]
        said = f"; missing values: {few(absent)}" if absent else ""
        return f"{len(self.names)} columns: {', '.join(parts)}{said}"


def read(
    path: Path,
    *,
    skip_bad: bool = False,
    tally: Tally | None = None,
    columns: Collection[str] | None = None,
    like: Mapping[str, Form] | None = None,
) -> Table:
    """Read a table.

    Args:
        path: A .csv, .tsv, .jsonl or .parquet file, or one of them compressed as .gz. The first line, or the keys, name
            the columns. A .csv file without a comma in its first line may have semicolons, tabs or bars instead.
        skip_bad: Whether to leave out lines with another number of values than there are columns, or with another
            value in a column of numbers.
        tally: Takes the lines that are left out, the types of the columns and what was assumed.
        columns: Names of the columns to read; default, all. Columns without a name are not read.
        like: Form of columns in the table that a model learns from, see `kinds.Evidence.verdict`.

    Returns:
        The table. Values have no spaces around them.

    Raises:
        UsageError: The file cannot be read, is empty or damaged, names a column twice or has none of a name; a line has
            another number of values than there are columns, or another value in a column of numbers.
    """
    tally = tally or Tally()
    found = ending_of_table(path)
    if not found:
        raise UsageError(f"{path}: expected a table that ends in {header.ENDINGS}")
    if found == PARQUET:
        table = _of_parquet(path, columns, tally)
    elif DELIMITERS[found] is None:
        table = _of_objects(path, columns, skip_bad, tally, like or {})
    else:
        table = _of_lines(path, columns, skip_bad, tally, like or {})
    if not len(table):
        raise UsageError(f"{path}: expected at least one row after the names of the columns, received none")
    tally.unit, tally.columns = "rows", table.told()
    return table


def _of_lines(
    path: Path, columns: Collection[str] | None, skip_bad: bool, tally: Tally, like: Mapping[str, Form]
) -> Table:
    names, commas, rows = lines.delimited(path, io.StringIO(_content(path), newline=""), columns, skip_bad, tally)
    values: list[list[str]] = [[] for _ in names]
    numbers = []
    for number, row in rows:
        numbers.append(number)
        for column, value in zip(values, row, strict=True):
            column.append(value)
    return _typed(path, dict(zip(names, values, strict=True)), numbers, commas, skip_bad, tally, like)


def _typed(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    numbers: Sequence[int],
    commas: bool,
    skip_bad: bool,
    tally: Tally,
    like: Mapping[str, Form],
) -> Table:
    """Return a table of columns of texts with their types."""
    found = {name: traits.Traits(path, name, commas, like.get(name)) for name in columns}
    for name, texts in columns.items():
        found[name].add(texts, numbers)
    traits.tell(found, skip_bad, tally)
    table, bad = valued(path, columns, numbers, {name: each.form for name, each in found.items()})
    if bad:
        tally.left_out[BAD] += bad
    return table


def valued(
    path: Path, columns: Mapping[str, Any], numbers: Sequence[int], forms: Mapping[str, Form]
) -> tuple[Table, int]:
    """Return rows of texts as a table, without those that have another value in a column of numbers, and their number.

    Args:
        path: File, for messages.
        columns: Texts of each column, a list or an array of Arrow.
        numbers: Line of each row.
        forms: Form of each column.
    """
    found, bad = {}, np.zeros(len(numbers), bool)
    for name, texts in columns.items():
        if isinstance(texts, list):
            found[name], places = kinds.values_of([text.strip() for text in texts], forms[name])
        else:
            found[name], places = arrow.values_of_texts(texts, forms[name])
        bad[places] = True
    table = Table(path, found, np.asarray(numbers, np.int64), forms)
    return (table.take(~bad) if bad.any() else table), int(bad.sum())


def _of_objects(
    path: Path, columns: Collection[str] | None, skip_bad: bool, tally: Tally, like: Mapping[str, Form]
) -> Table:
    records, numbers, names = [], [], {}
    for number, record in lines.objects(path, io.StringIO(_content(path), newline="")):
        records.append(record)
        numbers.append(number)
        names |= dict.fromkeys(record)
    if not records:
        raise UsageError(f"{path}: expected a table, received an empty file")
    values = {
        name: [lines.text(path, number, name, row.get(name)) for number, row in zip(numbers, records, strict=True)]
        for name in lines.places(path, list(names), columns, tally)
    }
    return _typed(path, values, numbers, False, skip_bad, tally, like)


def _of_parquet(path: Path, columns: Collection[str] | None, tally: Tally) -> Table:
    import pyarrow
    from pyarrow import parquet

    known = header.columns_of(path)
    places = lines.places(path, known, columns, tally)
    try:
        table = parquet.read_table(header.parquet_file(path), columns=list(places))
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path}: expected a Parquet file: {' '.join(str(error).split())[:200]}") from None
    found, nested = {}, []
    for name in places:
        column = table.column(name)
        evidence = kinds.Evidence(commas=False)
        evidence.add(arrow.words(column))
        tally.notes += [f"column {name!r} {clause}" for clause in evidence.stored_as_texts()]
        large = arrow.is_large(column)
        values, infinite = arrow.values(column, large)
        tally.notes += [f"column {name!r} {clause}" for clause in arrow.told(column.type, large, infinite)]
        if values is not None:
            found[name] = values
        elif columns is not None:
            refuse_type(path, name, column.type)
        else:
            nested.append(f"{name} ({column.type})")
    if nested:
        tally.notes.append(f"columns that hold no single values are not read: {few(nested)}")
    if not found:
        raise UsageError(f"{path}: expected columns of numbers, texts or dates, received {few(nested) or 'none'}")
    return Table(path, found, np.arange(1, table.num_rows + 1))


def refuse_type(path: Path, name: str, kind: Any) -> NoReturn:
    """Raise UsageError for a column of lists, objects or bytes."""
    raise UsageError(f"{path}, column {name!r}: expected numbers, texts or dates, received {kind}")


def _content(path: Path) -> str:
    """Return the text of a file, compressed or not, with its line ends unchanged.

    Raises:
        UsageError: The file cannot be read, is not UTF-8, or does not fit in memory.
    """
    if not path.is_file():
        raise UsageError(f"{path}: expected a file, found {'something else' if path.exists() else 'none'}")
    free = available_memory()
    most = None if free is None else free // TIMES_LARGER
    try:
        compressed = path.name.lower().endswith(COMPRESSED)
        with gzip.open(path) if compressed else path.open("rb") as file:
            content = file.read(-1 if most is None else most + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if most is not None and len(content) > most:
        raise UsageError(
            f"{path}: expected a table that fits in the {free:,} bytes of free memory, received more than {most:,}"
            f" bytes of text, which take {TIMES_LARGER} times as many; a Parquet file takes less"
        )
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: expected UTF-8 text, received byte {content[error.start]:#x} at offset {error.start}; save it as"
            " UTF-8"
        ) from None
