"""How far long work is: a bar on a terminal with the time left, nothing in a pipe, where a line says what began.

Work tells how far it is by `part`, wherever it is done. In a child process that is written to a file, which the parent
reads to move its bar.
"""

import contextlib
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Seconds between two messages of a child, and between two looks of its parent.
INTERVAL = 0.2
# What `part` calls with the work done, all work, and what is done; None where nothing is shown.
_sink: Callable[[int, int, str], None] | None = None


@contextlib.contextmanager
def bar(text: str, shown: bool = True) -> Iterator[None]:
    """Show a bar on a terminal until the block ends; nothing in a pipe, and inside another bar.

    Args:
        text: What is done.
        shown: Whether anything is shown.
    """
    global _sink
    if not shown or _sink is not None or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[count]}"), TimeElapsedColumn())
    bars = Progress(*columns, TextColumn("{task.fields[left]}"), console=Console(stderr=True), transient=True)
    task = bars.add_task(text, total=None, count="", left="")
    _sink = _Shown(bars, task, text)
    try:
        with bars:
            yield
    finally:
        _sink = None


class _Shown:
    """A bar, and when the work that it shows began."""

    def __init__(self, bars: Any, task: Any, text: str):
        self.bars, self.task, self.text = bars, task, text
        self.what, self.began = "", time.monotonic()

    def __call__(self, done: int, total: int, what: str) -> None:
        if what != self.what:
            self.what, self.began = what, time.monotonic()
        passed = time.monotonic() - self.began
        left = passed / done * (total - done) if 0 < done < total and passed > 1 else None
        told = {
            "count": f"{done:,} of {total:,}" if total else f"{done:,}" if done else "",
            "left": "" if left is None else f"{left:.0f} s left",
        }
        named = f"{self.text}: {what}" if what else self.text
        self.bars.update(self.task, description=named, completed=done, total=total or None, **told)


def part(done: int, total: int = 0, what: str = "") -> None:
    """Tell how far the work is.

    Args:
        done: Number of parts that are done.
        total: Number of all parts, 0 if it is not known.
        what: Name of this part of the work, whose parts are counted.
    """
    if _sink is not None:
        _sink(done, total, what)


def counter(total: int, what: str = "") -> Callable[[int], None]:
    """Return a function that adds to the parts that are done; threads may share it."""
    lock, done = threading.Lock(), 0

    def add(count: int = 1) -> None:
        nonlocal done
        with lock:
            done += count
            part(done, total, what)

    return add


def showing() -> bool:
    """Return whether a bar is shown, so that a child should tell how far it is."""
    return _sink is not None


def into(path: Path) -> None:
    """Write what `part` tells into a file from now on, in a child process."""
    global _sink
    last = [0.0]

    def write(done: int, total: int, what: str) -> None:
        now = time.monotonic()
        if now - last[0] >= INTERVAL:
            last[0] = now
            with contextlib.suppress(OSError):  # the bar is not worth the work
                path.write_text(json.dumps([done, total, what]), encoding="utf-8")

    _sink = write


def told_in(path: Path) -> None:
    """Move the bar to where a child has told that it is."""
    with contextlib.suppress(OSError, ValueError, TypeError):  # nothing yet, or half written
        part(*json.loads(path.read_text(encoding="utf-8")))
