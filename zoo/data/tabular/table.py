"""`Table`: the columns of a table with their types, and `read`, which reads one from a file."""

import gzip
import io
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zoo.config.task_facts import COMPRESSED, ending_of_table
from zoo.console.documents import text_of
from zoo.console.errors import UsageError, few, short
from zoo.data.reading import Tally
from zoo.data.tabular import header, kinds
from zoo.data.tabular.header import DELIMITERS, PARQUET
from zoo.data.tabular.kinds import Kind, Typed
from zoo.data.text import check_text
from zoo.system.machine import available_memory

# Bytes of memory for each byte of a file: its text, and an object of Python for each value.
TIMES_LARGER = 16
_KINDS: dict[str, Kind] = {"f": "numbers", "O": "texts", "M": "times"}
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
    """

    path: Path
    columns: Mapping[str, np.ndarray]
    lines: np.ndarray

    def __len__(self) -> int:
        return len(self.lines)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.columns)

    def kind(self, name: str) -> Kind:
        """Return the type of a column: numbers, texts or times."""
        return _KINDS[self.column(name).dtype.kind]

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
            found[:] = ["" if np.isnat(value) else str(value.astype("datetime64[s]")) for value in values]
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
        return Table(self.path, {name: values[indices] for name, values in self.columns.items()}, self.lines[indices])

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
    path: Path, *, skip_bad: bool = False, tally: Tally | None = None, columns: Collection[str] | None = None
) -> Table:
    """Read a table.

    Args:
        path: A .csv, .tsv, .jsonl or .parquet file, or one of them compressed as .gz. The first line, or the keys, name
            the columns. A .csv file without a comma in its first line may have semicolons, tabs or bars instead.
        skip_bad: Whether to leave out lines with another number of values than there are columns, or with another
            value in a column of numbers.
        tally: Takes the lines that are left out, the types of the columns and what was assumed.
        columns: Names of the columns to read; default, all. Columns without a name are not read.

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
        table = _of_objects(path, columns, skip_bad, tally)
    else:
        table = _of_lines(path, columns, skip_bad, tally)
    if not len(table):
        raise UsageError(f"{path}: expected at least one row after the names of the columns, received none")
    tally.unit, tally.columns = "rows", table.told()
    return table


def _of_lines(path: Path, columns: Collection[str] | None, skip_bad: bool, tally: Tally) -> Table:
    content = _content(path)
    first = next((line for line in content.splitlines() if line.strip()), "")
    delimiter = header.delimiter_of(path, first)
    if delimiter != DELIMITERS[ending_of_table(path)]:
        tally.notes.append(f"{path.name} has {_MARKS[delimiter]} between its values")
    lines = header.rows(io.StringIO(content, newline=""), delimiter, path)
    names = header.checked(path, *header.named(path, lines))
    places = _places(path, names, columns, tally)
    values: list[list[str]] = [[] for _ in places]
    numbers, short_rows, surplus = [], 0, 0
    for number, row in lines:
        if not row or row == [""]:
            continue
        if len(row) != len(names) and (len(row) < len(names) or any(row[len(names) :])):
            if not skip_bad:
                _refuse_row(path, number, names, row, delimiter)
            short_rows, surplus = short_rows + (len(row) < len(names)), surplus + (len(row) > len(names))
            continue
        numbers.append(number)
        for column, place in zip(values, places.values(), strict=True):
            column.append(row[place])
    for count, what in ((surplus, "more"), (short_rows, "fewer")):
        if count:
            tally.left_out[f"with {what} values than there are columns"] += count
    return _typed(path, dict(zip(places, values, strict=True)), numbers, delimiter != ",", skip_bad, tally)


_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}


def _places(path: Path, names: list[str], columns: Collection[str] | None, tally: Tally) -> dict[str, int]:
    """Return the place of each column that is read, by its name."""
    if columns is not None:
        header.refuse_absent(path, names, list(columns))
    elif unnamed := [place + 1 for place, name in enumerate(names[: _named_until(names)]) if not name]:
        tally.notes.append(f"column {unnamed[0]} of {path.name} has no name and is not read")
    return {name: place for place, name in enumerate(names) if name and (columns is None or name in columns)}


def _named_until(names: list[str]) -> int:
    """Return the number of names up to the last one that is not empty."""
    return max(place for place, name in enumerate(names) if name) + 1


def _refuse_row(path: Path, number: int, names: list[str], row: list[str], delimiter: str) -> None:
    cure = "quote a text that has the delimiter in it" if delimiter != "\t" else "replace the tabs inside a text"
    raise UsageError(
        f"{path}, line {number}: expected {len(names)} values, one for each of the columns {few(names)}, received"
        f" {len(row)}: {few([repr(value[:40]) for value in row])}; {cure}, or leave such lines out with --skip-bad"
    )


def _typed(
    path: Path,
    columns: Mapping[str, Sequence[str]],
    lines: Sequence[int],
    commas: bool,
    skip_bad: bool,
    tally: Tally,
) -> Table:
    """Return a table of columns of texts with their types."""
    found: dict[str, Typed] = {}
    bad = np.zeros(len(lines), bool)
    for name, texts in columns.items():
        stripped = [text.strip() for text in texts]
        for text in stripped:
            if not text.isascii():
                check_text(f"{path}, column {name!r}", text)
        found[name] = column = kinds.typed(stripped, commas)
        if len(column.bad) and not skip_bad:
            place = int(column.bad[0])
            right = int((~np.isnan(column.values)).sum())
            raise UsageError(
                f"{path}, line {lines[place]}: expected a number in column {name!r}, as in {right:,} others, received"
                f" {short(stripped[place])}; --skip-bad leaves such lines out"
            )
        bad[column.bad] = True
        tally.notes += [f"column {name!r} {clause}" for clause in column.told]
        spaced = 0 if column.kind == "numbers" else sum(map(len, texts)) - sum(map(len, stripped))
        if spaced:
            tally.notes.append(f"column {name!r} has spaces around values, which are left out")
    table = Table(path, {name: column.values for name, column in found.items()}, np.asarray(lines, np.int64))
    if bad.any():
        tally.left_out["with another value in a column of numbers"] += int(bad.sum())
        table = table.take(~bad)
    return table


def _of_objects(path: Path, columns: Collection[str] | None, skip_bad: bool, tally: Tally) -> Table:
    records, numbers, names = [], [], {}
    for number, line in enumerate(io.StringIO(_content(path), newline=""), 1):
        if line.strip():
            records.append(header.record(path, number, line))
            numbers.append(number)
            names |= dict.fromkeys(records[-1])
    if not records:
        raise UsageError(f"{path}: expected a table, received an empty file")
    places = _places(path, list(names), columns, tally)
    values = {
        name: [_text(path, number, name, row.get(name)) for number, row in zip(numbers, records, strict=True)]
        for name in places
    }
    return _typed(path, values, numbers, False, skip_bad, tally)


def _text(path: Path, number: int, name: str, value: Any) -> str:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(value, f"{path}, line {number}, column {name!r}")


def _of_parquet(path: Path, columns: Collection[str] | None, tally: Tally) -> Table:
    import pyarrow
    from pyarrow import parquet

    known = header.columns_of(path)
    places = _places(path, known, columns, tally)
    try:
        table = parquet.read_table(header.parquet_file(path), columns=list(places))
    except (pyarrow.ArrowException, OSError) as error:
        raise UsageError(f"{path}: expected a Parquet file: {' '.join(str(error).split())[:200]}") from None
    found, nested = {}, []
    for name in places:
        values, told = _of_arrow(table.column(name))
        tally.notes += [f"column {name!r} {clause}" for clause in told]
        if values is not None:
            found[name] = values
        elif columns is not None:
            raise UsageError(
                f"{path}, column {name!r}: expected numbers, texts or dates, received {table.column(name).type}"
            )
        else:
            nested.append(f"{name} ({table.column(name).type})")
    if nested:
        tally.notes.append(f"columns that hold no single values are not read: {few(nested)}")
    if not found:
        raise UsageError(f"{path}: expected columns of numbers, texts or dates, received {few(nested) or 'none'}")
    return Table(path, found, np.arange(1, table.num_rows + 1))


def _of_arrow(column: Any) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Return a column of Arrow with one of our types, and what was assumed; None for lists, objects and bytes."""
    import pyarrow

    types, kind = pyarrow.types, column.type
    if types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if types.is_boolean(kind):
        return _objects("" if value is None else str(value).lower() for value in column.to_pylist()), ()
    if types.is_string(kind) or types.is_large_string(kind):
        return _objects("" if value is None else value.strip() for value in column.to_pylist()), ()
    if types.is_timestamp(kind) or types.is_date(kind):
        zone = getattr(kind, "tz", None)
        values = column.cast(pyarrow.timestamp("us", zone), safe=False).to_numpy().astype("datetime64[us]")
        return values, ("has a time zone, which was changed to UTC",) if zone not in (None, "UTC") else ()
    if types.is_integer(kind) and column.null_count < len(column):
        values = [value for value in column.to_pylist() if value is not None]
        if max(map(abs, values)) >= kinds.EXACT:
            texts = _objects("" if value is None else str(value) for value in column.to_pylist())
            return texts, ("is of texts: it has whole numbers that float64 does not hold",)
    if types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        values = column.cast(pyarrow.float64(), safe=False).to_numpy()
        infinite = np.isinf(values)
        told = (f"has {infinite.sum():,} infinite numbers, which count as missing",) if infinite.any() else ()
        return np.where(infinite, np.nan, values), told
    return None, ()


def _objects(values: Iterable[str]) -> np.ndarray:
    listed = list(values)
    found = np.empty(len(listed), object)
    found[:] = listed
    return found


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
            f"{path}: expected UTF-8 text, received byte {content[error.start]:#x} at offset {error.start}"
        ) from None
