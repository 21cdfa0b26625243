"""Texts from files: tables (csv, tsv and jsonl) of texts and labels, pairs or triples, and plain text."""

import csv
import io
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NoReturn

from zoo.config.catalogue import TABLES, TRIPLES
from zoo.console.documents import from_json, text_of
from zoo.console.errors import UsageError, few, nearest
from zoo.data.reading import Tally
from zoo.data.text import check_text
from zoo.system.machine import available_memory

csv.field_size_limit(2**31 - 1)  # a text may be a whole article
# Bytes of memory for each byte of a file: itself, its text, and a buffer with four bytes for each character.
TIMES_LARGER = 6
# Options that name another column than the usual one.
_NAMED_BY = {"text": "--text-column", "caption": "--text-column", "label": "--label-column"}
# Number of columns among which a similar name is looked for.
MOST_NAMES = 1000


def read_columns(
    path: Path,
    *groups: str | None,
    lists: Collection[str] = (),
    skip_bad: bool = False,
    tally: Tally | None = None,
    also: str | None = None,
) -> list[list[str]]:
    """Read columns of a table by name.

    In a .tsv file a quotation mark is a character like any other; in a .csv file it quotes a value.

    Args:
        path: A .csv, .tsv or .jsonl file whose first line, or whose keys, name the columns.
        groups: Name of a column for each result, or several names separated by commas, whose texts are joined by a
            space.
        lists: Those of the groups whose values may also be lists of texts, which are joined by spaces.
        skip_bad: Whether to leave out lines with an empty text.
        tally: Takes the lines that are left out, and the lists that are joined to a text.
        also: Name of a column that the table need not have, and whose values may be empty.

    Returns:
        One list of texts for each group, and one of the values of `also` if it is not None.

    Raises:
        UsageError: If the table does not have a column, if a line is not a record, lacks a text or has more values
            than there are columns, or if the table has no lines.
    """
    wanted = [group.split(",") for group in groups]
    tally = tally or Tally()
    columns: list[list[str]] = [[] for _ in wanted]
    others: list[str] = []
    for number, row in _rows(path, tally):
        texts = []
        for group, names in zip(groups, wanted, strict=True):
            for name in names:
                if row.get(name) is None and not (skip_bad and name in row):
                    _refuse_column(path, number, name, row)
            found = [row[name] for name in names]
            if group in lists:
                found = [_joined(name, value, tally) for name, value in zip(names, found, strict=True)]
            else:  # a label 1.0 is the label 1
                found = [int(v) if isinstance(v, float) and v.is_integer() else v for v in found]
            texts.append(" ".join(_text(path, number, *named) for named in zip(names, found, strict=True)))
        empty = next((i for i, text in enumerate(texts) if not text.strip()), None)
        if empty is None:
            for column, text in zip(columns, texts, strict=True):
                column.append(text)
            others.append(str(row.get(also) or ""))
        elif skip_bad:
            tally.left_out["with an empty field"] += 1
        else:
            raise UsageError(
                f"{path}, line {number}: expected a text in {','.join(wanted[empty])!r}, received an empty one;"
                " --skip-bad leaves such lines out"
            )
    if not columns[0]:
        raise UsageError(f"{path}: expected at least one line after the column names, received none")
    return columns if also is None else [*columns, others]


def _joined(name: str, value: object, tally: Tally) -> object:
    """Return a list of texts, such as the words of a sentence, joined by spaces, and another value as it is."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        tally.changed[f"lists in {name!r} joined by spaces"] += 1
        return " ".join(value)
    return value


def read_pairs(
    path: Path,
    source: str | None,
    target: str | None,
    *,
    skip_bad: bool = False,
    tally: Tally | None = None,
    also: str | None = None,
) -> list[list[str]]:
    """Read the source and the target texts of a table.

    Args:
        path: A .csv, .tsv or .jsonl file as for `read_columns`. A .tsv file whose first line does not name the columns
            source and target has no header; the first two texts of each of its lines are a pair.
        source: Column of the source texts; None for source.
        target: Column of the target texts; None for target.
        skip_bad: Whether to leave out lines with an empty text.
        tally: Takes the lines that are left out.
        also: As for `read_columns`.

    Returns:
        Source texts and target texts; and the values of `also`, if it is not None and the file has a header.

    Raises:
        UsageError: As for `read_columns`, or if a line does not have two texts.
    """
    if path.suffix.lower() == ".tsv" and source is None and target is None:
        lines = read_text(path).split("\n")
        if not {"source", "target"} <= set(lines[0].rstrip("\r").split("\t")):
            return _first_two(path, lines)
    sides = (source or "source", target or "target")
    return read_columns(path, *sides, lists=sides, skip_bad=skip_bad, tally=tally, also=also)


def _first_two(path: Path, lines: list[str]) -> list[list[str]]:
    columns: list[list[str]] = [[], []]
    most = 2
    for number, line in enumerate(lines, 1):
        values = line.rstrip("\r").split("\t")
        texts, most = values[:2], max(most, len(values))
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
        f" {columns[0][0][:40]!r}, {columns[1][0][:40]!r}"
        + ("; the columns after the second are not read" if most > 2 else ""),
        file=sys.stderr,
    )
    return columns


def read_triples(path: Path, skip_bad: bool, tally: Tally) -> list[tuple[str, str, str]]:
    """Read the triples of a table.

    Args:
        path: A .csv, .tsv or .jsonl file. A .csv or .tsv file whose first line does not name the columns head, relation
            and tail has no header; each of its lines is a triple.
        skip_bad: Whether to skip lines that are not triples.
        tally: Takes the number of lines that are left out.

    Raises:
        UsageError: If a line is not a triple, or if the table has no lines.
    """
    found, begin = [], 0
    for number, row in _triple_rows(path):
        begin = begin or number
        names = [_text(path, number, "a triple", text).strip() for text in row if text is not None]
        if len(names) == 3 and all(names):
            found.append(tuple(names))
        elif skip_bad:
            tally.left_out["that are no triples"] += 1
        else:
            raise UsageError(
                f"{path}, line {number}: expected a head, a relation and a tail, received"
                f" {few([repr(name[:40]) for name in names])}; use --skip-bad to skip such lines"
            )
    if not found:
        raise UsageError(f"{path}: expected at least one triple, received none")
    others = {relation for _, relation, _ in found[1:]}
    if begin == 1 and TABLES[path.suffix.lower()] and others and found[0][1] not in others:
        tally.notes.append(
            f"line 1 of {path.name} is read as a triple, though no other has its relation: {', '.join(found[0])}; name"
            f" the columns {', '.join(TRIPLES[0])} if they are names"
        )
    return found


def _triple_rows(path: Path) -> Iterator[tuple[int, list]]:
    """Yield the number and the three texts of each line, with None for a missing column."""
    delimiter = TABLES[path.suffix.lower()]
    text = read_text(path)
    if delimiter:
        first = next(_csv_rows(path, text, delimiter), (0, []))[1]
    else:
        first = next((list(row) for _, row in _rows(path, Tally())), [])
    names = next((names for names in TRIPLES if set(names) <= set(first)), None)
    if names or not delimiter:
        names = names or TRIPLES[0]
        for number, row in _rows(path, Tally()):
            if number == 1 and not set(names) <= set(row):
                _refuse_column(path, number, next(name for name in names if name not in row), row)
            yield number, [row.get(name) for name in names]
        return
    yield from ((number, row) for number, row in _csv_rows(path, text, delimiter) if row not in ([], [""]))


def read_text(path: Path) -> str:
    """Return the text of a file with its line ends unchanged.

    Args:
        path: Path of the file.

    Raises:
        UsageError: If the file cannot be read, is not UTF-8, or does not fit in memory.
    """
    try:
        size, free = path.stat().st_size, available_memory()
        if not path.is_file():
            raise UsageError(f"{path}: expected a file, received something else")
        if free is not None and size * TIMES_LARGER > free:
            raise UsageError(
                f"{path}: expected texts that fit in the {free:,} bytes of free memory, received {size:,} bytes, which"
                f" take {TIMES_LARGER} times as many"
            )
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror or error}") from None
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{path}: expected UTF-8 text, received byte {content[error.start]:#x} at offset {error.start}; save it as"
            " UTF-8"
        ) from None


def _refuse_column(path: Path, number: int, name: str, row: dict) -> None:
    if name in row:
        raise UsageError(f"{path}, line {number}: no value in column {name!r}")
    have = [str(key) for key in row if key is not None]
    hint = "; --task translation reads pairs" if {"source", "target"} <= set(have) else nearest(name, have[:MOST_NAMES])
    if any(";" in key for key in have) and path.suffix.lower() == ".csv":
        hint = "; write commas between the values, only --model tabular reads semicolons"
    other = f"; {_NAMED_BY[name]} names another column" if name in _NAMED_BY else ""
    hint = hint or f"{other}; --model tabular --target-column NAME learns from columns of numbers and categories"
    raise UsageError(f"{path}: expected a column {name!r}, received {few([key[:40] for key in have])}{hint}")


def _text(path: Path, number: int, name: str, value: object) -> str:
    where = f"{path}, line {number}, {name}"
    return check_text(where, "" if value is None else text_of(value, where))


def _rows(path: Path, tally: Tally) -> Iterator[tuple[int, dict]]:
    """Yield the number and the values of each line, by the name of the column."""
    text = read_text(path)
    delimiter = TABLES[path.suffix.lower()]
    if delimiter:
        rows = _csv_rows(path, text, delimiter)
        names = [name.strip() for name in next((row for _, row in rows if any(row)), [])]
        if twice := [name for name, count in Counter(names).items() if name and count > 1]:
            raise UsageError(f"{path}: expected each column once, received {twice[0]!r} {names.count(twice[0])} times")
        quoted = 0
        for number, row in rows:
            if not row or row == [""]:
                continue
            if any(row[len(names) :]):
                _refuse_surplus(path, number, names, row, delimiter)
            quoted += delimiter == "\t" and any(map(_looks_quoted, row))
            yield number, dict.fromkeys(names) | dict(zip(names, row, strict=False))
        if quoted:
            tally.notes.append(
                f"{quoted:,} lines of {path.name} have values in quotation marks, which are characters in a .tsv file;"
                " name it .csv with commas if they are not part of the texts"
            )
        return
    for number, line in enumerate(io.StringIO(text, newline=""), 1):
        if not line.strip():
            continue
        row = from_json(line, f"{path}, line {number}")
        if not isinstance(row, dict):
            raise UsageError(f"{path}, line {number}: expected a JSON object, received {line.strip()[:40]!r}")
        yield number, row


def _looks_quoted(value: str) -> bool:
    """Return whether a writer of csv files seems to have quoted a value, because it has a quotation mark in it."""
    return value.startswith('"') and value.endswith('"') and '""' in value[1:-1]


def _refuse_surplus(path: Path, number: int, names: list[str], row: list[str], delimiter: str) -> NoReturn:
    cure = "quote a text that has commas in it" if delimiter == "," else "replace the tabs inside a text"
    raise UsageError(
        f"{path}, line {number}: expected {len(names)} values, one for each of the columns {few(names)}, received"
        f" {len(row)}: {few([repr(value[:40]) for value in row])}; {cure}"
    )


def _csv_rows(path: Path, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the values of each line of a table; in a .csv file a quoted value may span lines."""
    if delimiter == "\t":  # a quotation mark is a character (IANA's text/tab-separated-values has no quoting)
        for number, line in enumerate(text.split("\n" if "\n" in text else "\r"), 1):
            yield number, line.rstrip("\r").split("\t")
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 1
    try:
        for row in reader:
            yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        marks = "; a text that begins with a quotation mark ends with one, and marks inside are doubled"
        raise UsageError(
            f"{path}, line {number}: expected a table: {error}{marks if chr(34) in text else ''}"
        ) from None
