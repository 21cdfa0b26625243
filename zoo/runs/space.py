"""Space on disk and permission to write, checked before work starts. Standard library only."""

import os
import shutil
from pathlib import Path

from zoo.console.errors import UsageError


def check(folder: Path, need: float, option: str = "--output") -> None:
    """Raise UsageError unless files of a given size can be written to a folder.

    Args:
        folder: Folder, which may not exist yet.
        need: Size of the files, in bytes.
        option: What names the folder.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    if not (there.is_dir() and os.access(there, os.W_OK | os.X_OK)):
        raise UsageError(f"{option} {folder}: expected a folder that can be written to, {there} cannot")
    if (free := shutil.disk_usage(there).free) < need:
        raise UsageError(
            f"{option} {folder}: disk full: this writes about {need / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        )
