"""Lines of a stream with their positions, from a file, a growing file or standard input. Standard library only."""

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
# Most bytes of a line: more than a decoded photograph as a list of numbers has.
MOST_LINE = 1 << 28
# Seconds between checks for new data and for signals.
PAUSE = 0.2
# Number of leading bytes whose hash identifies a file.
KNOWN_BY = 1 << 16
# Prefix that distinguishes a TFDS set from a file.
TFDS = "tfds:"


@dataclass(frozen=True)
class Position:
    """Position in a stream.

    Args:
        line: Number of lines, or of examples of a TFDS set, that were read.
        end: Number of bytes that were read.
    """

    line: int = 0
    end: int = 0


@dataclass(frozen=True)
class Line:
    """A line of a stream.

    Args:
        content: Content without the line break.
        position: Position after the line.
        ended: Whether the line ended with a line break; without one it may be incomplete.
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
    """Yield the lines after a position as they arrive.

    Args:
        path: File to read, or None for standard input, of which the lines before `start` are skipped.
        start: Position to start from.
        follow: Whether to wait for more data at the end of a file.
        idle: Seconds without new data after which reading ends, or None to wait indefinitely.
        stopped: Function that is polled; reading ends once it returns True.

    Raises:
        Failed: If the file has become shorter than what was read.
        UsageError: If a line is longer than `MOST_LINE`.
    """
    if path is None:
        yield from _split(_chunks(sys.stdin.fileno(), False, idle, stopped), Position(), start.line, stopped)
        return
    with path.open("rb") as file:
        file.seek(start.end)
        yield from _split(_chunks(file.fileno(), follow, idle, stopped), start, 0, stopped)


def _split(chunks: Iterator[bytes], position: Position, left_out: int, stopped: Callable[[], bool]) -> Iterator[Line]:
    """Yield the lines of chunks after the first `left_out` lines; an unterminated rest comes last."""
    begun: list[bytes] = []  # chunks of a line that has no end yet; joined once, so that a long line takes linear time
    size = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        size += len(first)
        if size > MOST_LINE:
            raise UsageError(
                f"--stream: line {position.line + 1:,}: expected at most {MOST_LINE:,} bytes, received more; is it a"
                " file with one example per line?"
            )
        if not others:
            continue
        whole = [b"".join(begun), *others[:-1]]
        begun, size = [others[-1]], len(others[-1])
        for content in whole:
            position = Position(position.line + 1, position.end + len(content) + 1)
            if position.line > left_out:
                yield Line(content, position)
    if (rest := b"".join(begun)) and not stopped():
        yield Line(rest, Position(position.line + 1, position.end + len(rest)), ended=False)


def _chunks(descriptor: int, follow: bool, idle: float | None, stopped: Callable[[], bool]) -> Iterator[bytes]:
    """Yield chunks until the end of the data, or until the idle time has passed if more data may arrive."""
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
        if ready:  # a file at its end is always ready
            _check_longer(descriptor)
            time.sleep(PAUSE)


def _check_longer(descriptor: int) -> None:
    if os.fstat(descriptor).st_size < os.lseek(descriptor, 0, os.SEEK_CUR):
        raise Failed("--stream: the file was truncated while it was read; lines may be lost")


def beginning(path: Path, end: int) -> str:
    """Return the SHA-256, in hexadecimal, of the beginning of a file that was read up to byte `end`."""
    with path.open("rb") as file:
        return hashlib.sha256(file.read(min(end, KNOWN_BY))).hexdigest()


def check_same(path: Path, position: Position, known_by: str) -> None:
    """Raise a `UsageError` unless a file is the one that was read up to a position; it may have grown.

    Args:
        path: File to check.
        position: Position up to which it was read.
        known_by: Hash of its beginning, as `beginning` returned it.
    """
    if path.stat().st_size < position.end or beginning(path, position.end) != known_by:
        raise UsageError(
            f"--stream {path}: expected the stream that was read up to line {position.line:,}, this one is shorter or"
            " begins differently"
        )


def set_of(stream: str) -> tuple[str, str] | None:
    """Return the name and split of a TFDS set, or None for any other stream.

    Raises:
        UsageError: If the split of a TFDS set is missing or unknown.
    """
    if not stream.startswith(TFDS):
        return None
    name, _, split = stream.removeprefix(TFDS).rpartition("/")
    if not name or split not in ("train", "validation", "test"):
        raise UsageError(f"--stream {stream}: expected {TFDS}NAME/train, {TFDS}NAME/validation or {TFDS}NAME/test")
    return name, split
