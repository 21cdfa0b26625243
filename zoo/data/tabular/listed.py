"""Files of pictures and sounds that a table names in one of its columns."""

from collections.abc import Sequence
from pathlib import Path

from zoo.console.errors import UsageError
from zoo.data.tabular.table import Table

# Kinds of inputs whose files a table may name, each with its column and with what the files are.
KINDS = {"image": ("image", "pictures"), "sound": ("sound", "sounds")}
# Columns of files of either kind, in the order of preference; `file_name` is that of Hugging Face's folders.
EITHER = ("file_name", "filename", "file", "path")


def column_of(known: Sequence[str], kinds: Sequence[str]) -> tuple[str, str] | None:
    """Return a kind of input and the column that names files of it; None if there is none.

    Args:
        known: Columns of the table.
        kinds: Kinds of inputs that the model takes.
    """
    taken = [kind for kind in KINDS if kind in kinds]
    own = [(kind, KINDS[kind][0]) for kind in taken if KINDS[kind][0] in known]
    either = [(kind, column) for kind in taken for column in EITHER if column in known]
    return next(iter([*own, *either]), None)


def expected(kinds: Sequence[str]) -> list[str]:
    """Return the columns of files that a model could take, as words of a message."""
    return [f"{column} with the files of {what}" for kind, (column, what) in KINDS.items() if kind in kinds]


def files(table: Table, column: str) -> list[Path]:
    """Return the files of a column, whose names are relative to the folder of the table.

    Raises:
        UsageError: A file that does not exist.
    """
    found = [table.path.parent / name for name in table.texts(column)]
    absent = next((i for i, file in enumerate(found) if not file.is_file()), None)
    if absent is not None:
        raise UsageError(
            f"{table.path}, line {table.lines[absent]}: expected a file in column {column!r}, relative to the folder of"
            f" the table, found none at {found[absent]}"
        )
    return found
