"""Results that print as a table, in a terminal and in a notebook, and become a pandas frame. Standard library only."""

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from zoo.console.errors import UsageError

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Args:
        columns: Names of the columns.
        rows: One sequence of values a row, in the order of the columns.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, rows: Sequence[Mapping[str, Any]]) -> "Table":
        """Return the table of records; a value that a record does not have is None."""
        columns = tuple(dict.fromkeys(name for row in rows for name in row))
        return cls(columns, tuple(tuple(row.get(name) for name in columns) for row in rows))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return (dict(zip(self.columns, row, strict=True)) for row in self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return dict(zip(self.columns, self.rows[index], strict=True))

    def column(self, name: str) -> list[Any]:
        """Return the values of one column.

        Raises:
            KeyError: No column has this name.
        """
        if name not in self.columns:
            raise KeyError(f"{name!r}: expected one of {', '.join(self.columns)}")
        return [row[self.columns.index(name)] for row in self.rows]

    def to_frame(self) -> "pandas.DataFrame":
        """Return a `pandas.DataFrame`.

        Raises:
            UsageError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise UsageError("to_frame: expected pandas, which is not installed; pip install pandas") from None
        return pandas.DataFrame(list(self.rows), columns=list(self.columns))

    def __repr__(self) -> str:
        cells = [list(self.columns), *([_written(value) for value in row] for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(len(self.columns))]
        return "\n".join(
            "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells
        )

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.columns)
        lines = ("".join(f"<td>{html.escape(_written(value))}</td>" for value in row) for row in self.rows)
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


class Readable:
    """A result that shows itself as a table; subclasses say which."""

    def table(self) -> Table:
        """Return what matters of this result."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return repr(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()

    def to_frame(self) -> "pandas.DataFrame":
        """Return `table()` as a `pandas.DataFrame`; needs pandas."""
        return self.table().to_frame()


def _written(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
