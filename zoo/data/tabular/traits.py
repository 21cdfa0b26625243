"""What is known of a column of texts once all of its values were seen, at once or in pieces."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.errors import UsageError, short
from zoo.data.reading import Tally
from zoo.data.tabular import arrow
from zoo.data.tabular.kinds import GROUPED, KINDS, Evidence, Form
from zoo.data.text import check_text


class Traits:
    """The form of a column, and what is told of it.

    Args:
        path: File, for messages.
        name: Name of the column.
        commas: Whether a number may have a decimal comma.
        like: Form of the column in the table that a model learns from, see `Evidence.verdict`; None for that table.
    """

    def __init__(self, path: Path, name: str, commas: bool, like: Form | None = None):
        self._path, self._name, self._like = path, name, like
        self._evidence = Evidence(commas)
        self._spaces, self._line = 0, 0  # line of the first value that is no number
        self._commas = commas
        self._grouped, self._pointed = "", False  # first value such as 12.500, and whether one has another point

    def add(self, texts: Sequence[str], numbers: Sequence[int]) -> None:
        """Add values.

        Args:
            texts: Values as they are in the file.
            numbers: Line of each.

        Raises:
            UsageError: A text with characters that none may have.
        """
        stripped = [text.strip() for text in texts]
        if not "".join(stripped).isascii():
            for text in stripped:
                check_text(f"{self._path}, column {self._name!r}", text)
        self._spaces += sum(map(len, texts)) - sum(map(len, stripped))
        self._add_points(stripped)
        self._evidence.add(stripped)
        if not self._line and self._evidence.no_number is not None:
            self._line = numbers[stripped.index(self._evidence.no_number)]

    def add_column(self, texts: Any, numbers: Sequence[int]) -> None:
        """Add values as `add` does, many at once.

        Args:
            texts: Array of Arrow.
            numbers: Line of each.
        """
        stripped, spaces = arrow.stripped(texts)
        self._spaces += spaces
        if self._commas and not self._pointed:
            self._add_points(arrow.distinct(stripped)[0])
        found = arrow.numbers(stripped)
        if found is not None:
            given = np.flatnonzero(~np.isnan(found))
            if len(given):
                self._evidence.add_numbers(stripped[int(given[0])].as_py(), len(given))
            return
        values, places = arrow.distinct(stripped)
        self._evidence.add(values, np.bincount(places, minlength=len(values)).tolist())
        if not self._line and self._evidence.no_number is not None:
            self._line = int(numbers[int((places == values.index(self._evidence.no_number)).argmax())])

    def _add_points(self, texts: Sequence[str]) -> None:
        if not self._commas or self._pointed:
            return
        with_point = [text for text in texts if "." in text]
        self._pointed = not all(map(GROUPED.fullmatch, with_point))
        self._grouped = self._grouped or next(iter(with_point), "")

    @property
    def grouped(self) -> str:
        """First of the numbers with a point, if all of them could be thousands such as 12.500; otherwise empty."""
        return "" if self._pointed or KINDS[self.form] != "numbers" else self._grouped

    @property
    def form(self) -> Form:
        """Form of the values."""
        return self._evidence.verdict(self._like)[0]

    def tell(self, skip_bad: bool, tally: Tally) -> None:
        """Note what was assumed.

        Raises:
            UsageError: A value that is no number in a column of numbers, unless such lines are left out.
        """
        form, told = self._evidence.verdict(self._like)
        if form == "mostly" and not skip_bad:
            raise UsageError(
                f"{self._path}, line {self._line}: expected a number in column {self._name!r}, as in"
                f" {self._evidence.right:,} others, received {short(self._evidence.no_number)}; --skip-bad leaves such"
                " lines out"
            )
        where = f"column {self._name!r}" + (f" of {self._path.name}" if self._like else "")
        tally.notes += [f"{where} {clause}" for clause in told]
        if self._spaces and KINDS[form] != "numbers":
            tally.notes.append(f"{where} has spaces around values, which are left out")


def tell(columns: Mapping[str, Traits], skip_bad: bool, tally: Tally) -> None:
    """Note what was assumed of the columns of a table.

    Args:
        columns: Traits of each column by its name.
        skip_bad: Whether lines with another value in a column of numbers are left out.
        tally: Takes the notes.

    Raises:
        UsageError: A value that is no number in a column of numbers, unless such lines are left out.
    """
    for traits in columns.values():
        traits.tell(skip_bad, tally)
    with_commas = next((name for name, traits in columns.items() if traits.form == "commas"), None)
    for name, traits in columns.items() if with_commas is not None else ():
        if traits.grouped:
            tally.notes.append(
                f"column {name!r} has numbers such as {short(traits.grouped)}, read with a decimal point although"
                f" column {with_commas!r} has decimal commas; leave the point out if it separates thousands"
            )
