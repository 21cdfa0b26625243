"""Lines of a stream, and where each ends: a file, a file that grows, standard input. Standard library only."""

import hashlib
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from zoo.console.errors import Failed, UsageError

CHUNK = 1 << 20
# Seconds between looks at a file that may have grown, or for a signal.
PAUSE = 0.2
# Bytes at its beginning by which a file is known again.
KNOWN_BY = 1 << 16
# How a TFDS set is told from the path of a file.
TFDS = "tfds:"


@dataclass(frozen=True)
class Position:
    """How far a stream was read.

    Args:
        line: lines, or examples of a set.
        end: bytes of a file.
    """

    line: int = 0
    end: int = 0


@dataclass(frozen=True)
class Line:
    """A line of a stream.

    Args:
        content: without its end.
        position: behind it.
        ended: whether a line's end was there; without one it may be the first part of a line.
    """

    content: bytes
    position: Position
    ended: bool = True


def lines(
    path: Path | None,
    start: Position = Position(),  # noqa: B008  (frozen)
    *,
    follow: bool = False,
    idle: float | None = None,
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Line]:
    """Yield the lines behind a position, as soon as each is there.

    Args:
        path: a file; None: standard input, which is read from where it stands, and as many lines left out.
        start: where to begin.
        follow: wait for more at the end of a file.
        idle: seconds without a byte after which that ends, and standard input as well.
        stopped: asked again and again; once it says so, nothing more is read.

    Raises:
        Failed: the file has become shorter than what was read.
    """
    if path is None:
        yield from _split(_chunks(sys.stdin.fileno(), False, idle, stopped), Position(), start.line, stopped)
        return
    with path.open("rb") as file:
        file.seek(start.end)
        yield from _split(_chunks(file.fileno(), follow, idle, stopped), start, 0, stopped)


def _split(chunks: Iterator[bytes], position: Position, left_out: int, stopped: Callable[[], bool]) -> Iterator[Line]:
    """Yield the lines of chunks, without as many of the first; what has no end comes last, where no more can come."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for content in whole:
            position = Position(position.line + 1, position.end + len(content) + 1)
            if position.line > left_out:
                yield Line(content, position)
    if rest and not stopped():
        yield Line(rest, Position(position.line + 1, position.end + len(rest)), ended=False)


def _chunks(descriptor: int, follow: bool, idle: float | None, stopped: Callable[[], bool]) -> Iterator[bytes]:
    """Yield what can be read, until the end or, where more may come, until nothing came for long enough."""
    since = time.monotonic()
    while not stopped():
        ready = select.select([descriptor], [], [], PAUSE)[0]
        if ready and (chunk := os.read(descriptor, CHUNK)):
            yield chunk
            since = time.monotonic()
            continue
        if ready and not follow:
            return
        if idle is not None and time.monotonic() - since >= idle:
            return
        if ready:  # at the end of a file, which is always ready
            _check_longer(descriptor)
            time.sleep(PAUSE)


def _check_longer(descriptor: int) -> None:
    if os.fstat(descriptor).st_size < os.lseek(descriptor, 0, os.SEEK_CUR):
        raise Failed("--stream: the file has become shorter than what was read of it; lines may be lost")


def beginning(path: Path, end: int) -> str:
    """Return what a file is known by that was read up to a byte: the SHA-256 of its beginning, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(min(end, KNOWN_BY))).hexdigest()


def check_same(path: Path, position: Position, known_by: str) -> None:
    """Raise UsageError unless a file is the one that was read up to a position, or has grown since."""
    if path.stat().st_size < position.end or beginning(path, position.end) != known_by:
        raise UsageError(
            f"--stream {path}: expected the stream that was learnt from up to line {position.line:,}, this one begins"
            " otherwise or is shorter"
        )


def set_of(stream: str) -> tuple[str, str] | None:
    """Return the name and the split of a TFDS set, None of any other stream.

    Raises:
        UsageError: a set without a split.
    """
    if not stream.startswith(TFDS):
        return None
    name, _, split = stream.removeprefix(TFDS).rpartition("/")
    if not name or split not in ("train", "validation", "test"):
        raise UsageError(f"--stream {stream}: expected {TFDS}NAME/train, {TFDS}NAME/validation or {TFDS}NAME/test")
    return name, split
