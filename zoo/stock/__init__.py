"""Trained runs that come with the package, by name, each file checked by its SHA-256 before it is used.

Standard library only. They are made by `python -m benchmarks.restock`.
"""

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, Literal

from zoo.console.errors import UsageError, nearest, unknown
from zoo.system.files import sha256

FOLDER = Path(__file__).parent
INDEX = "index.json"
# Where commands that write into a run have a copy of it, below the working directory.
COPIES = Path("runs") / "stock"
# What an option takes of a name: the run where it is, a copy of it that can be written to, or its small file.
Use = Literal["run", "copy", "file"]


def index() -> dict[str, dict[str, Any]]:
    """Return index.json: by name the model, the data, the commands, the small file, and bytes and SHA-256 of all."""
    return json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))


def checked(name: str) -> Path:
    """Return the folder of a run of the stock, every file of it whole.

    Raises:
        UsageError: no such name, or a file that is missing or altered.
    """
    entries = index()
    if name not in entries:
        raise unknown("pretrained run", name, entries)
    for file, fact in entries[name]["files"].items():
        path, expected = FOLDER / name / file, fact["sha256"]
        found = sha256(path) if path.is_file() else "no such file"
        if found != expected:
            raise UsageError(f"{path}: expected SHA-256 {expected}, found {found}; install the package again")
    return FOLDER / name


def hint(path: Path) -> str:
    """Return which name a path that is not there was meant to be, as the end of a sentence; often nothing."""
    return nearest(str(path), index())


def resolved(value: Any, use: Use | None) -> Any:
    """Return the value of an option, each path in it as `path` has it where the option takes names."""
    if isinstance(value, tuple):
        return tuple(resolved(one, use) for one in value)
    return path(value, use) if use and isinstance(value, Path) else value


def path(given: Path, use: Use) -> Path:
    """Return what a command is to read: what lies at a path, or else what the stock has by that name.

    Args:
        given: as it was typed. A path that is there is never taken for a name.
        use: see `Use`.

    Raises:
        UsageError: a file of the stock that is missing or altered, or a copy of another stock.
    """
    name = str(given)
    if given.exists() or name not in (entries := index()):
        return given
    if use == "copy":
        return _copied(name)
    return checked(name) / entries[name]["file"] if use == "file" else checked(name)


def _copied(name: str) -> Path:
    """Return a copy of a run that is the user's own, made when there is none."""
    folder, copy = checked(name), COPIES / name
    if not copy.exists():
        unfinished = copy.with_name(f".copying-{os.getpid()}-{name}")
        shutil.copytree(folder, unfinished)
        unfinished.replace(copy)
        print(f"{name} was copied to {copy}, where what is made of it goes", file=sys.stderr)
    elif not _same(copy / "metrics.json", folder / "metrics.json"):
        raise UsageError(f"{copy}: expected a copy of {name} as this package has it, found another; move it away")
    return copy


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()
