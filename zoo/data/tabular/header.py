"""The names of a table's columns, and the form of its lines, without reading the table. Standard library only.

Only the names in a Parquet file need pyarrow.
"""

import csv
import fnmatch
import functools
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from zoo.config import catalogue
from zoo.config.task_facts import COLUMNS, COMPRESSED, SPLITS, TABLES, ending_of_table
from zoo.config.train_config import TrainConfig, flag
from zoo.console.documents import from_json
from zoo.console.errors import UsageError, few, nearest

DELIMITERS, PARQUET = TABLES, COLUMNS[-1]
ENDINGS = f"{', '.join(TABLES)} or {PARQUET}, which {COMPRESSED} may follow"
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# Number of columns among which a similar name is looked for.
MOST_NAMES = 1000
_DAMAGED = (EOFError, OSError, zlib.error)


def is_table(path: Path | None) -> bool:
    """Return whether a path names a table."""
    return path is not None and bool(ending_of_table(path))


def columns_of(path: Path) -> list[str]:
    """Return the names of a table's columns in their order; those of a jsonl file are the keys of all its lines.

    Args:
        path: Path of the table.

    Raises:
        UsageError: The file cannot be read, is empty or damaged, or names a column twice.
    """
    if path.is_dir():
        path = next(iter(in_folder(path).values()))
    found = ending_of_table(path)
    if not found:
        raise UsageError(f"{path}: expected a table that ends in {ENDINGS}")
    try:
        if found == PARQUET:
            return _of_parquet(path)
        with opened(path) as file:
            if DELIMITERS[found] is None:
                known = path.stat()
                return list(_keys(path, known.st_size, known.st_mtime_ns))
            return checked(path, *named(path, _lines(path, file)))
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: expected UTF-8 text, received byte {error.object[error.start]:#x} in the first lines; save"
            " it as UTF-8"
        ) from None
    except _DAMAGED as error:
        raise UsageError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}") from None


def in_folder(folder: Path) -> dict[str, Path]:
    """Return the tables of a folder by the split that their names say: train, and where they are validation and test.

    Raises:
        UsageError: There is no table of training rows, or there are two tables of a split.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        split = SPLITS.get(path.name.partition(".")[0].lower())
        if split is None or not ending_of_table(path):
            continue
        if split in found:
            raise UsageError(f"{folder}: expected one table of {split} rows, received {found[split].name}, {path.name}")
        found[split] = path
    if "train" not in found:
        raise UsageError(f"{folder}: expected a table train.csv, and validation.csv and test.csv if they are there")
    return {split: found[split] for split in ("train", "validation", "test") if split in found}


def tables_of(config: TrainConfig) -> dict[str, Path]:
    """Return the tables of a training by split: "all" for a single one, and that of --validation-data."""
    found = in_folder(config.data) if config.data.is_dir() else {"all": config.data}
    catalogue.check_validation(config, found)
    return found | ({"validation": config.validation_data} if config.validation_data else {})


def check_columns(path: Path, names: Sequence[str], what: str = "") -> None:
    """Raise UsageError unless a table has these columns.

    Args:
        path: Path of the table.
        names: Names of columns.
        what: Option that names them, for the message.
    """
    refuse_absent(path, columns_of(path), names, what)


def check_used(config: TrainConfig, names: Sequence[str], option: str) -> None:
    """Raise UsageError for names of columns that the tables do not have, or that are given twice."""
    if len(set(names)) < len(names):
        raise UsageError(f"{flag(option)} {','.join(names)}: expected each column once")
    for path in tables_of(config).values():
        check_columns(path, names, flag(option))
        if config.columns is not None:
            matching(path, [pattern.removeprefix("!") for pattern in config.columns], "--columns")


def check_groups(config: TrainConfig) -> None:
    """Raise UsageError unless the tables have the column of `--group-column`, if it is given."""
    if config.group_column is None:
        return
    if not is_table(config.data) and not config.data.is_dir():
        raise UsageError(f"--group-column {config.group_column}: expected with a table, received {config.data.name}")
    check_used(config, [config.group_column], "group_column")


def refuse_absent(path: Path, known: Sequence[str], names: Sequence[str], what: str = "") -> None:
    """Raise UsageError for the first name that is not among the known columns; see `check_columns`."""
    for name in names:
        if name not in known:
            listed, similar = few([key[:40] for key in known]), nearest(name, known[:MOST_NAMES])
            if not what:
                raise UsageError(f"{path}: expected a column {name!r}, received {listed}{similar}")
            raise UsageError(
                f"{what} {name}: expected a column of {path.name}, received {name!r}; its columns are {listed}{similar}"
            )


def matching(path: Path, patterns: Sequence[str], what: str) -> list[str]:
    """Return the columns of a table that names or patterns choose, in the order of the table.

    Args:
        path: Path of the table.
        patterns: Names, or patterns such as `y*`.
        what: Option that gives them, for the message.

    Raises:
        UsageError: A name or a pattern that chooses no column.
    """
    known = columns_of(path)
    chosen: set[str] = set()
    for pattern in patterns:
        found = [pattern] if pattern in known else [name for name in known if fnmatch.fnmatchcase(name, pattern)]
        if not found:
            refuse_absent(path, known, [pattern], what)
        chosen.update(found)
    return [name for name in known if name in chosen]


def opened(path: Path) -> IO[str]:
    """Open a file of text in UTF-8, compressed or not, with its line ends unchanged and without a byte-order mark."""
    if not path.is_file():
        raise UsageError(f"{path}: expected a file, found {'something else' if path.exists() else 'none'}")
    if path.name.lower().endswith(COMPRESSED):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return path.open(encoding="utf-8-sig", newline="")


def rows(text: Iterable[str], delimiter: str, path: Path, begin: int = 1) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the values of each line; in a .csv file a quoted value may span lines.

    In a .tsv file a quotation mark is a character like any other (IANA's text/tab-separated-values has no quoting).

    Args:
        text: Lines with their ends. No more of them are taken than a row has.
        delimiter: Character between values.
        path: Path of the file, for messages.
        begin: Number of the first line.

    Raises:
        UsageError: A quoted value that does not end.
    """
    if delimiter == "\t":
        for number, line in enumerate(text, begin):
            yield number, line.rstrip("\r\n").split("\t")
        return
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    number = begin
    try:
        for row in reader:
            yield number, row
            number = reader.line_num + begin
    except csv.Error as error:
        marks = "a text that begins with a quotation mark ends with one, and marks inside are doubled"
        raise UsageError(f"{path}, line {number}: expected a table: {error}; {marks}") from None


def delimiter_of(path: Path, line: str) -> str:
    """Return the delimiter of a table by its ending; a .csv file without commas in its first line may have others.

    Args:
        path: Path of the table.
        line: First line.
    """
    usual = DELIMITERS[ending_of_table(path)]
    if usual == "," and "," not in line:
        return next((mark for mark in (";", "\t", "|") if mark in line), usual)
    return usual


def named(path: Path, lines: Iterator[tuple[int, list[str]]]) -> tuple[int, list[str]]:
    """Return the number of the first line that is not empty, and its values without spaces around them.

    Raises:
        UsageError: There is none.
    """
    for number, row in lines:
        if any(value.strip() for value in row):
            return number, [value.strip() for value in row]
    raise UsageError(f"{path}: expected a table, received an empty file")


def checked(path: Path, number: int, names: list[str]) -> list[str]:
    """Return the names of columns, some of which may be empty.

    Raises:
        UsageError: A name that occurs twice, or a line of numbers.
    """
    given = [name for name in once(path, names) if name]
    if given[0].lower().startswith("sep=") or (len(given) == 1 and given[0].startswith("#")):
        raise UsageError(
            f"{path}, line {number}: expected the names of the columns, received {given[0][:40]!r}; remove this line"
        )
    if all(map(NUMBER.fullmatch, given)):
        raise UsageError(
            f"{path}, line {number}: expected the names of the columns, received numbers: {few(given)}; write a line of"
            " names above them"
        )
    return names


def once(path: Path, names: list[str]) -> list[str]:
    """Return the names of columns, some of which may be empty.

    Raises:
        UsageError: A name that occurs twice.
    """
    if twice := [name for name, count in Counter(names).items() if name and count > 1]:
        raise UsageError(f"{path}: expected each column once, received {twice[0]!r} {names.count(twice[0])} times")
    return names


def _lines(path: Path, file: IO[str]) -> Iterator[tuple[int, list[str]]]:
    first = next((line for line in file if line.strip()), "")
    file.seek(0)
    yield from rows(file, delimiter_of(path, first), path)


@functools.lru_cache
def _keys(path: Path, size: int, modified: int) -> tuple[str, ...]:
    """Return the keys of all lines; a file of this size and time is read once."""
    found: dict[str, None] = {}
    with opened(path) as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                found.update(dict.fromkeys(record(path, number, line)))
    if not found:
        raise UsageError(f"{path}: expected a table, received an empty file")
    return tuple(found)


def record(path: Path, number: int, line: str) -> dict[str, object]:
    """Return the object of a line of a jsonl file.

    Raises:
        UsageError: The line is no JSON object.
    """
    value = from_json(line, f"{path}, line {number}")
    if not isinstance(value, dict):
        raise UsageError(f"{path}, line {number}: expected a JSON object, received {line.strip()[:40]!r}")
    return value


def _of_parquet(path: Path) -> list[str]:
    import pyarrow
    from pyarrow import parquet

    try:
        return once(path, parquet.read_schema(parquet_file(path)).names)
    except pyarrow.ArrowException as error:
        raise UsageError(f"{path}: expected a Parquet file: {' '.join(str(error).split())[:200]}") from None


def parquet_file(path: Path) -> Path | IO[bytes]:
    """Return what pyarrow reads a Parquet file from: its path, or the decompressed content."""
    if not path.is_file():
        raise UsageError(f"{path}: expected a file, found {'something else' if path.exists() else 'none'}")
    if path.name.lower().endswith(COMPRESSED):
        return io.BytesIO(gzip.decompress(path.read_bytes()))
    return path
