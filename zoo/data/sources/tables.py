"""Texts from files: tables (csv, tsv and jsonl) of texts and labels, pairs or triples, and plain text."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from zoo.config.catalogue import TABLES, TRIPLES
from zoo.console.errors import UsageError, nearest

csv.field_size_limit(2**31 - 1)  # a text may be a whole article


def read_columns(path: Path, *groups: str | None) -> list[list[str]]:
    """Read columns of a table by name.

    Args:
        path: A .csv, .tsv or .jsonl file whose first line, or whose keys, name the columns.
        groups: Name of a column for each result, or several names separated by commas, whose texts are joined by a
            space.

    Returns:
        One list of texts for each group.

    Raises:
        UsageError: If the table does not have a column, if a line is not a record or lacks a text, or if the table has
            no lines.
    """
    wanted = [group.split(",") for group in groups]
    columns: list[list[str]] = [[] for _ in wanted]
    for number, row in _rows(path):
        for column, names in zip(columns, wanted, strict=True):
            for name in names:
                if row.get(name) is None:
                    _refuse_column(path, number, name, row)
            column.append(" ".join(str(row[name]) for name in names))
            if not column[-1].strip():
                raise UsageError(
                    f"{path}, line {number}: expected a text in {','.join(names)!r}, received an empty one"
                )
    if not columns[0]:
        raise UsageError(f"{path}: expected at least one line after the column names, received none")
    return columns


def read_pairs(path: Path, source: str | None, target: str | None) -> list[list[str]]:
    """Read the source and the target texts of a table.

    Args:
        path: A .csv, .tsv or .jsonl file as for `read_columns`. A .tsv file whose first line does not name the columns
            source and target has no header; the first two texts of each of its lines are a pair.
        source: Column of the source texts; None for source.
        target: Column of the target texts; None for target.

    Returns:
        Source texts and target texts.

    Raises:
        UsageError: As for `read_columns`, or if a line does not have two texts.
    """
    if path.suffix.lower() == ".tsv" and source is None and target is None:
        lines = read_text(path).split("\n")
        if not {"source", "target"} <= set(lines[0].rstrip("\r").split("\t")):
            return _first_two(path, lines)
    return read_columns(path, source or "source", target or "target")


def _first_two(path: Path, lines: list[str]) -> list[list[str]]:
    columns: list[list[str]] = [[], []]
    for number, line in enumerate(lines, 1):
        texts = line.rstrip("\r").split("\t")[:2]
        if texts == [""]:
            continue
        if len(texts) < 2 or not all(text.strip() for text in texts):
            raise UsageError(
                f"{path}, line {number}: expected two texts with a tab between them, received {line[:40]!r}"
            )
        for column, text in zip(columns, texts, strict=True):
            column.append(text)
    if not columns[0]:
        raise UsageError(f"{path}: expected at least one line, received none")
    print(
        f"{path}: the first line does not name the columns source and target, so it is read as a pair:"
        f" {columns[0][0][:40]!r}, {columns[1][0][:40]!r}",
        file=sys.stderr,
    )
    return columns


def read_triples(path: Path, skip_bad: bool) -> list[tuple[str, str, str]]:
    """Read the triples of a table.

    Args:
        path: A .csv, .tsv or .jsonl file. A .csv or .tsv file whose first line does not name the columns head, relation
            and tail has no header; each of its lines is a triple.
        skip_bad: Whether to skip lines that are not triples, and print how many.

    Raises:
        UsageError: If a line is not a triple, or if the table has no lines.
    """
    found, bad = [], 0
    for number, row in _triple_rows(path):
        names = [str(text).strip() for text in row if text is not None]
        if len(names) == 3 and all(names):
            found.append(tuple(names))
        elif skip_bad:
            bad += 1
        else:
            raise UsageError(
                f"{path}, line {number}: expected a head, a relation and a tail, received"
                f" {', '.join(repr(name[:40]) for name in names)}; use --skip-bad to skip such lines"
            )
    if bad:
        print(f"{path}: {bad:,} of {bad + len(found):,} lines are not triples and are left out", file=sys.stderr)
    if not found:
        raise UsageError(f"{path}: expected at least one triple, received none")
    return found


def _triple_rows(path: Path) -> Iterator[tuple[int, list]]:
    """Yield the number and the three texts of each line, with None for a missing column."""
    delimiter = TABLES[path.suffix.lower()]
    text = read_text(path)
    if delimiter:
        first = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter), [])
    else:
        first = next((list(row) for _, row in _rows(path)), [])
    names = next((names for names in TRIPLES if set(names) <= set(first)), None)
    if names or not delimiter:
        names = names or TRIPLES[0]
        for number, row in _rows(path):
            if number == 1 and not set(names) <= set(row):
                _refuse_column(path, number, next(name for name in names if name not in row), row)
            yield number, [row.get(name) for name in names]
        return
    if delimiter == "\t":  # without csv quoting, because a name may contain quotation marks
        lines = ((number, line.rstrip("\r").split("\t")) for number, line in enumerate(text.split("\n"), 1))
    else:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        lines = ((reader.line_num, row) for row in reader)
    yield from ((number, row) for number, row in lines if row not in ([], [""]))


def read_text(path: Path) -> str:
    """Return the text of a file with its line ends unchanged.

    Args:
        path: Path of the file.

    Raises:
        UsageError: If the file is not UTF-8.
    """
    content = path.read_bytes()
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: expected UTF-8 text, received byte {content[error.start]:#x} at offset {error.start}"
        ) from None


def _refuse_column(path: Path, number: int, name: str, row: dict) -> None:
    if name in row:
        raise UsageError(f"{path}, line {number}: no value in column {name!r}")
    have = [str(key) for key in row if key is not None]
    hint = "; --task translation reads pairs" if {"source", "target"} <= set(have) else nearest(name, have)
    raise UsageError(f"{path}: expected a column {name!r}, received {', '.join(have)}{hint}")


def _rows(path: Path) -> Iterator[tuple[int, dict]]:
    try:
        file = io.StringIO(read_text(path), newline="")
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
    except json.JSONDecodeError as error:
        raise UsageError(f"{path}: expected one JSON object per line: {error}") from None
    except csv.Error as error:
        raise UsageError(f"{path}: expected a table: {error}") from None
