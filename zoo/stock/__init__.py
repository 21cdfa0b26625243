"""Pretrained runs shipped with the package, addressed by name.

The SHA-256 of every file is checked before use. `python -m benchmarks.restock` creates the runs. Standard library only.
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
# Folder below the working directory that holds the writable copies of pretrained runs.
COPIES = Path("runs") / "stock"
# What an option uses of a pretrained run: the shipped folder, a writable copy of it, or its compressed file.
Use = Literal["run", "copy", "file"]


def index() -> dict[str, dict[str, Any]]:
    """Return index.json: model, data, commands and compressed file by run name, with bytes and SHA-256 of each file."""
    return json.loads((FOLDER / INDEX).read_text(encoding="utf-8"))


def checked(name: str) -> Path:
    """Return the folder of a pretrained run after checking all of its files.

    Raises:
        UsageError: If the name is unknown, or a file is missing or was altered.
    """
    entries = index()
    if name not in entries:
        raise unknown("pretrained run", name, entries)
    for file, fact in entries[name]["files"].items():
        path, expected = FOLDER / name / file, fact["sha256"]
        found = sha256(path) if path.is_file() else "no such file"
        if found != expected:
            raise UsageError(f"{path}: expected SHA-256 {expected}, found {found}; reinstall the package")
    return FOLDER / name


def hint(path: Path) -> str:
    """Return a hint with the pretrained run closest to a missing path, or an empty string."""
    return nearest(str(path), index())


def resolved(value: Any, use: Use | None) -> Any:
    """Return the value of an option, with its paths resolved by `path` if the option accepts pretrained names."""
    if isinstance(value, tuple):
        return tuple(resolved(one, use) for one in value)
    return path(value, use) if use and isinstance(value, Path) else value


def path(given: Path, use: Use) -> Path:
    """Return the path a command reads: an existing path as it is, otherwise the pretrained run of that name.

    Args:
        given: Path or name as the user typed it. An existing path wins over a pretrained name.
        use: What the command uses of a pretrained run, see `Use`.

    Raises:
        UsageError: If a file of the run is missing or altered, or an existing copy comes from another version.
    """
    name = str(given)
    if given.exists() or name not in (entries := index()):
        return given
    if use == "copy":
        return _copied(name)
    return checked(name) / entries[name]["file"] if use == "file" else checked(name)


def _copied(name: str) -> Path:
    """Return the user's copy of a pretrained run, creating it on first use."""
    folder, copy = checked(name), COPIES / name
    if not copy.exists():
        unfinished = copy.with_name(f".copying-{os.getpid()}-{name}")
        shutil.copytree(folder, unfinished)
        unfinished.replace(copy)
        print(f"{name} was copied to {copy}; new files are written there", file=sys.stderr)
    elif not _same(copy / "metrics.json", folder / "metrics.json"):
        raise UsageError(
            f"{copy}: expected a copy of this package's {name}, found another version; move that folder away"
        )
    return copy


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and one.read_bytes() == other.read_bytes()
