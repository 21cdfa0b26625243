"""Files of pictures and sounds that a table names in one of its columns."""

from collections.abc import Sequence
from pathlib import Path

from zoo.console.errors import UsageError
from zoo.data.sound import formats
from zoo.data.tabular import header
from zoo.data.tabular.table import Table, read

# Kinds of inputs whose files a table may name, each with its column and with what the files are.
KINDS = {"image": ("image", "pictures"), "sound": ("sound", "sounds")}
# Columns of files of either kind, in the order of preference; `file_name` is that of Hugging Face's folders.
EITHER = ("file_name", "filename", "file", "path")


def column_of(path: Path, known: Sequence[str], kinds: Sequence[str]) -> tuple[str, str] | None:
    """Return a kind of input and the column that names files of it; None if there is none.

    Args:
        path: A table, or a folder of tables by split.
        known: Columns of the table.
        kinds: Kinds of inputs that the model takes. If it takes both, the first file decides.

    Raises:
        UsageError: The table cannot be read.
    """
    taken = [kind for kind in KINDS if kind in kinds]
    if own := [(kind, KINDS[kind][0]) for kind in taken if KINDS[kind][0] in known]:
        return own[0]
    column = next((column for column in EITHER if column in known), None)
    if not taken or column is None:
        return None
    return (taken[0] if len(taken) == 1 else _kind_of_first(path, column)), column


def _kind_of_first(path: Path, column: str) -> str:
    """Return the kind of the first file that a table names, by its content or else by its name."""
    path = next(iter(header.in_folder(path).values())) if path.is_dir() else path
    file = path.parent / read(path, skip_bad=True, columns=[column]).texts(column)[0]
    return "sound" if formats.is_sound(file) or file.suffix.lower() in formats.SUFFIXES else "image"


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
