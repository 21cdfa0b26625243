"""Tables of text and labels: csv, tsv and jsonl."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

from zoo.catalogue import TABLES
from zoo.errors import UsageError, nearest

csv.field_size_limit(2**31 - 1)  # a text may be a whole article


def read_columns(path: Path, *groups: str | None) -> list[list[str]]:
    """Read columns of a table by name.

    Args:
        path: a .csv, .tsv or .jsonl file whose first line, or keys, name the columns.
        groups: one column each, or several separated by commas that are joined by a space.

    Returns:
        one list of texts for each group.

    Raises:
        UsageError: a column that the table does not have, a line that is not a record, or no line at all.
    """
    wanted = [group.split(",") for group in groups]
    columns: list[list[str]] = [[] for _ in wanted]
    for number, row in _rows(path):
        for column, names in zip(columns, wanted, strict=True):
            for name in names:
                if row.get(name) is None:
                    _refuse_column(path, number, name, row)
            column.append(" ".join(str(row[name]) for name in names))
    if not columns[0]:
        raise UsageError(f"{path}: expected at least one line after the column names, received none")
    return columns


def _refuse_column(path: Path, number: int, name: str, row: dict) -> None:
    if name in row:
        raise UsageError(f"{path}, line {number}: no value in column {name!r}")
    have = [str(key) for key in row if key is not None]
    raise UsageError(f"{path}: expected a column {name!r}, received {', '.join(have)}{nearest(name, have)}")


def _rows(path: Path) -> Iterator[tuple[int, dict]]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = TABLES[path.suffix.lower()]
            if delimiter:
                reader = csv.DictReader(file, delimiter=delimiter)
                for row in reader:
                    yield reader.line_num, row
                return
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise UsageError(f"{path}, line {number}: expected a JSON object, received {line.strip()[:40]!r}")
                yield number, row
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: expected UTF-8 text, received byte {error.object[error.start]:#x} in it") from None
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: expected one JSON object a line: {error}") from None
    except csv.Error as error:
        raise UsageError(f"{path}: not a table: {error}") from None
