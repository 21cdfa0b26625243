"""The rows of a text file, checked one after another, whether the file is in memory or not."""

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from zoo.config.task_facts import ending_of_table
from zoo.console.documents import text_of
from zoo.console.errors import UsageError, few
from zoo.data.reading import Tally
from zoo.data.tabular import header
from zoo.data.tabular.header import DELIMITERS

_MARKS = {";": "semicolons", "\t": "tabs", "|": "bars"}


@dataclasses.dataclass
class Layout:
    """What the lines of a file of values with delimiters are.

    Args:
        path: Path of the file, for messages.
        delimiter: Character between values.
        names: Names of all columns.
        places: Place of each column that is read, by its name.
        skip_bad: Whether to leave out lines with another number of values than there are columns.
    """

    path: Path
    delimiter: str
    names: list[str]
    places: dict[str, int]
    skip_bad: bool
    fewer: int = 0
    surplus: int = 0

    def chosen(self, lines: Iterable[tuple[int, list[str]]]) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of each line that is not empty, and the values of the columns that are read.

        Raises:
            UsageError: A line with another number of values, unless such lines are left out.
        """
        count = len(self.names)
        for number, row in lines:
            if not row or row == [""]:
                continue
            if len(row) != count and (len(row) < count or any(row[count:])):
                if not self.skip_bad:
                    _refuse(self.path, number, self.names, row, self.delimiter)
                self.fewer, self.surplus = self.fewer + (len(row) < count), self.surplus + (len(row) > count)
                continue
            yield number, [row[place] for place in self.places.values()]

    def tell(self, tally: Tally) -> None:
        """Add the lines that were left out."""
        for count, what in ((self.surplus, "more"), (self.fewer, "fewer")):
            if count:
                tally.left_out[f"with {what} values than there are columns"] += count


def layout(
    path: Path, file: IO[str], columns: Collection[str] | None, skip_bad: bool, tally: Tally
) -> tuple[Layout, Iterator[tuple[int, list[str]]]]:
    """Read the names of the columns of a file of values with delimiters.

    Args:
        path: Path of the file, for messages.
        file: Its text, with the line ends unchanged.
        columns: Names of the columns to read; None for all that have a name.
        skip_bad: Whether to leave out lines with another number of values than there are columns.
        tally: Takes what was assumed.

    Returns:
        What the lines are, and an iterator over the number and the values of those after the names.

    Raises:
        UsageError: A column that is named twice or is not there, or a quoted value that does not end.
    """
    first = next((line for line in file if line.strip()), "")
    file.seek(0)
    delimiter = header.delimiter_of(path, first)
    if delimiter != DELIMITERS[ending_of_table(path)]:
        tally.notes.append(f"{path.name} has {_MARKS[delimiter]} between its values")
    lines = header.rows(file, delimiter, path)
    names = header.checked(path, *header.named(path, lines))
    return Layout(path, delimiter, names, places(path, names, columns, tally), skip_bad), lines


def delimited(
    path: Path, file: IO[str], columns: Collection[str] | None, skip_bad: bool, tally: Tally
) -> tuple[list[str], bool, Iterator[tuple[int, list[str]]]]:
    """Read a file of values with delimiters.

    Args:
        path: Path of the file, for messages.
        file: Its text, with the line ends unchanged.
        columns: Names of the columns to read; None for all that have a name.
        skip_bad: Whether to leave out lines with another number of values than there are columns.
        tally: Takes what was assumed, and the lines that are left out once all were read.

    Returns:
        Names of the columns that are read, whether numbers may have decimal commas, and an iterator over the number of
        each line and its values.

    Raises:
        UsageError: As for `layout`, or a line with another number of values.
    """
    found, lines = layout(path, file, columns, skip_bad, tally)

    def chosen() -> Iterator[tuple[int, list[str]]]:
        yield from found.chosen(lines)
        found.tell(tally)

    return list(found.places), found.delimiter != ",", chosen()


def places(path: Path, names: list[str], columns: Collection[str] | None, tally: Tally) -> dict[str, int]:
    """Return the place of each column that is read, by its name.

    Args:
        path: Path of the table, for messages.
        names: Names of its columns.
        columns: Names of the columns to read; None for all that have a name.
        tally: Takes a note about a column without a name.

    Raises:
        UsageError: A column that is not there.
    """
    if columns is not None:
        header.refuse_absent(path, names, list(columns))
    else:
        tell_unnamed(path, names, tally)
    return {name: place for place, name in enumerate(names) if name and (columns is None or name in columns)}


def tell_unnamed(path: Path, names: list[str], tally: Tally) -> None:
    """Note a column without a name before the last one that has a name."""
    if unnamed := [place + 1 for place, name in enumerate(names[: _named_until(names)]) if not name]:
        tally.notes.append(f"column {unnamed[0]} of {path.name} has no name and is not read")


def _named_until(names: list[str]) -> int:
    """Return the number of names up to the last one that is not empty."""
    return max(place for place, name in enumerate(names) if name) + 1


def _refuse(path: Path, number: int, names: list[str], row: list[str], delimiter: str) -> None:
    cure = "quote a text that has the delimiter in it" if delimiter != "\t" else "replace the tabs inside a text"
    raise UsageError(
        f"{path}, line {number}: expected {len(names)} values, one for each of the columns {few(names)}, received"
        f" {len(row)}: {few([repr(value[:40]) for value in row])}; {cure}, or leave such lines out with --skip-bad"
    )


def objects(path: Path, file: IO[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number and the object of each line of a jsonl file that is not empty.

    Raises:
        UsageError: A line that is no JSON object.
    """
    for number, line in enumerate(file, 1):
        if line.strip():
            yield number, header.record(path, number, line)


def text(path: Path, number: int, name: str, value: Any) -> str:
    """Return a value of a JSON object as a text, "" for none.

    Raises:
        UsageError: A value that is neither text nor number.
    """
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return text_of(value, f"{path}, line {number}, column {name!r}")
