"""Temporary files and folders that say whose they are, so that those of killed processes can be removed.

A name holds the process, the time that it started and the machine, because the system gives the number of an ended
process to another one. Standard library only.
"""

import contextlib
import functools
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

# Beginning of the names in the system's folder of temporary files, and in folders of ours.
SYSTEM, WRITING, EXPORTING = "compression-zoo-", ".writing-", ".exporting-"
# Most entries of a folder that are looked at, because others fill the system's folder as well.
MOST = 100_000
# Age in seconds at which files of another machine, in a folder that machines share, count as left behind.
OLD = 24 * 3600.0
_NAME = re.compile(
    rf"(?:{SYSTEM}|{re.escape(WRITING)}|{re.escape(EXPORTING)})(?P<pid>\d+)-(?P<start>\d+)-(?P<machine>[0-9a-f]{{8}})-.*"
)


_SWEPT: set[Path] = set()  # folders that this process has looked at


def mark() -> str:
    """Return the part of a temporary name that says whose it is: process, start of it, machine."""
    return f"{os.getpid()}-{_started(os.getpid())}-{_machine()}-"


@contextlib.contextmanager
def folder(parent: Path | None = None) -> Iterator[Path]:
    """Make a temporary folder, and remove it at the end.

    Args:
        parent: Folder of it; the system's folder of temporary files by default.
    """
    if parent is not None:
        sweep(parent)
    with tempfile.TemporaryDirectory(dir=parent, prefix=(EXPORTING if parent else SYSTEM) + mark()) as made:
        yield Path(made)


@contextlib.contextmanager
def home() -> Iterator[None]:
    """Let temporary files of libraries go into a folder of this process, so that they are removed if it is killed.

    AutoGraph, for one, writes a file for every function that it translates, and removes it at the end of the process.
    """
    before = tempfile.tempdir
    with contextlib.ExitStack() as around:
        with contextlib.suppress(OSError):  # no folder of temporary files can be written
            tempfile.tempdir = str(around.enter_context(folder()))
        try:
            yield
        finally:
            tempfile.tempdir = before


def beside(path: Path) -> Path:
    """Return a temporary path in the folder of a file. It keeps the suffix, by which some writers choose the format."""
    sweep(path.parent)
    return path.with_name(f"{WRITING}{mark()}{path.name}")


def sweep(place: Path) -> int:
    """Remove what ended processes left in a folder, once in the life of this process; return the number of entries.

    Args:
        place: Folder whose direct entries are looked at. Links are not followed, and entries of other users are kept.
    """
    removed = 0
    if place in _SWEPT:
        return removed
    _SWEPT.add(place)
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for _, entry in zip(range(MOST), entries, strict=False):
            if (match := _NAME.fullmatch(entry.name)) and _left_behind(entry, match):
                removed += _removed(entry)
    return removed


def sweep_system() -> str:
    """Remove what ended processes left in the system's temporary folder, and return a sentence if there was any."""
    place = Path(tempfile.gettempdir())
    if not (count := sweep(place)):
        return ""
    return f"removed {count} temporary {'folder' if count == 1 else 'folders'} of killed processes from {place}"


def _left_behind(entry: os.DirEntry, match: re.Match) -> bool:
    """Whether an entry is of this user and its process has ended."""
    status = entry.stat(follow_symlinks=False)
    if hasattr(os, "getuid") and status.st_uid != os.getuid():
        return False
    if match["machine"] != _machine():
        return not entry.name.startswith(SYSTEM) and time.time() - status.st_mtime > OLD
    return _started(int(match["pid"])) != int(match["start"])


def _removed(entry: os.DirEntry) -> bool:
    try:
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            os.unlink(entry.path)  # noqa: PTH108  (an entry of scandir)
    except OSError:  # another process was faster, or the file system is read-only now
        return False
    return True


def _started(pid: int) -> int:
    """Return when a process started, in ticks of the system's clock; 0 if it is unknown; -1 if there is no process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *rest = text.rpartition(")")[2].split()  # the name of the program before it may hold anything
        return -1 if state in "ZX" else int(rest[18])
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return -1
    except OSError:
        return -1
    try:  # not Linux
        os.kill(pid, 0)
    except ProcessLookupError:
        return -1
    except OSError:  # of another user
        return 0
    return 0


@functools.cache
def _machine() -> str:
    return hashlib.sha256(platform.node().encode()).hexdigest()[:8]
