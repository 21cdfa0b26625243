"""Checks of the files that a command is given as inputs of a run, before Keras is imported."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.console.errors import UsageError

# An example of the run's own data as an input of zoo.explain: test:17.
OWN = re.compile(r"(train|validation|test):(\d+)")
# Kinds of data whose examples come in files; those of others are texts.
_IN_FILES = ("image", "vector", "sequence", "sound")


def check_files(inputs: Sequence[str], data: Mapping[str, Any]) -> None:
    """Raise UsageError unless each input is a file that the run can take, as far as its first bytes tell.

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
