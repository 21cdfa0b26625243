"""Checks of the files that a command is given as inputs of a run, before Keras is imported."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.config.task_facts import TABLES
from zoo.console.errors import UsageError

# An example of the run's own data as an input of zoo.explain: test:17.
OWN = re.compile(r"(train|validation|test):(\d+)")
# Kinds of data whose examples come in files, and those whose examples are texts.
_IN_FILES, _IN_TEXTS = ("image", "vector", "sequence", "sound"), ("tokens", "pairs")

# Endings of files whose texts, or their tokens, are read.
FILES_OF_TEXTS = (*TABLES, ".npz")


def check_files(inputs: Sequence[str], data: Mapping[str, Any]) -> None:
    """Raise UsageError unless each input is a file or a text that the run can take, as far as its first bytes tell.

    Args:
        inputs: Inputs on the command line.
        data: Specification of the run's data, as in config.json.
    """
    if not inputs:
        return
    from zoo.data.tabular import header, rows  # imports numpy, which a command without inputs need not wait for

    if data["kind"] == "table":
        rows.check_given(inputs, data["inputs"])
    if data["kind"] in _IN_FILES:
        for text in inputs:
            if data.get("hop") and header.is_table(Path(text)):
                header.check_columns(Path(text), data["columns"])
            else:
                check_file(text, data["kind"])
    if data["kind"] in _IN_TEXTS:
        for text in inputs:
            check_text(text, FILES_OF_TEXTS)


def check_text(text: str, endings: Sequence[str] = ()) -> None:
    """Raise UsageError for a path in place of a text, which would be read as the words that it consists of.

    Args:
        text: Input on the command line.
        endings: Endings of the files that are read as well.
    """
    is_read = text.lower().endswith(tuple(endings))
    expected = f"a text, or a file that ends in {', '.join(endings)}" if endings else "a text"
    if is_file(Path(text)) and not is_read:
        raise UsageError(f'INPUT {text}: expected {expected}, received the path of a file; "$(cat {text})" is its text')
    if is_read and not is_file(Path(text)) and not re.search(r"\s", text):
        raise UsageError(f"INPUT {text}: expected {expected}, found no such file")


def is_file(path: Path) -> bool:
    """Return whether there is a file; a text that is too long for a path is none."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def check_file(text: str, kind: str) -> None:
    """Raise UsageError unless an input is a file that a run can take, as far as its first bytes tell.

    Args:
        text: Input on the command line.
        kind: Kind of the run's data.
    """
    path = Path(text)
    if not path.is_file():
        raise UsageError(f"INPUT {text}: expected a file, found {'a folder' if path.is_dir() else 'none'}")
    if path.suffix.lower() == ".npz":
        return
    if kind == "sound":
        from zoo.data.sound import formats

        try:
            formats.header(path)
        except formats.Unreadable as error:
            raise UsageError(f"INPUT {text}: expected a file of sound, and it cannot be read: {error}") from None
        return
    if kind != "image":
        raise UsageError(f"INPUT {text}: this run takes {kind} inputs, which come in an .npz file with an array x")
    from PIL import Image

    try:
        with Image.open(path):
            pass
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UsageError(f"INPUT {text}: expected an image or an .npz file, and it cannot be read: {error}") from None
