"""Exceptions of the commands, and the wording of messages about unknown names."""

import contextlib
import difflib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

INTERRUPTED = 130  # exit status of work that a signal stopped
# Maximum number of names that `few` lists.
LISTED = 4
# Longest name or value that a message repeats in full.
SHOWN = 60
# Longest message that is shown in full.
LONGEST = 2000
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal, ECMA-48


class UsageError(ValueError):
    """Invalid input from the user; the command shows only its message and exits with status 2.

    A message that repeats a name of thousands of letters is cut, so that it stays readable. Colours of a quoted error,
    such as those of Keras, are left out.
    """

    def __str__(self) -> str:
        text = _COLOURS.sub("", super().__str__())
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


class Interrupted(Exception):
    """A signal stopped the work after its state was saved; the message says how to resume."""


class Diverged(ArithmeticError):
    """The loss or a weight became NaN or infinite; the message names the step and the last good checkpoint."""


class Failed(RuntimeError):
    """The work failed for a reason other than invalid input; the message is complete without a traceback."""


@contextlib.contextmanager
def naming(file: Path | None, argument: str) -> Iterator[None]:
    """Let messages name an argument of a Python function in place of the file that its value was written to.

    Args:
        file: The file; None if there is none.
        argument: Name of the argument.
    """
    try:
        yield
    except UsageError as error:
        if file is None:
            raise
        name = re.compile(rf"{re.escape(str(file))}|(?<![\w/.-]){re.escape(file.stem)}(?![\w/.-])")
        raise UsageError(name.sub(argument, str(error))) from error.__cause__


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as `"; did you mean 'cnn'?"` with the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)

    def likeness(other: str) -> tuple[float, int]:
        """Of names that are equally close, the one is nearer that has more of the same beginning."""
        return difflib.SequenceMatcher(None, other, name).ratio(), len(os.path.commonprefix((other, name)))

    best = max(close, key=likeness, default=None)
    return f"; did you mean {best!r}?" if best else ""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the `UsageError` for a name that is not among the known ones."""
    known = list(known)
    listed = ", ".join(known) if len(known) <= 20 else f"{len(known)} names"
    return UsageError(f"unknown {what} {name!r}: expected one of {listed}{nearest(name, known)}")


def short(value: object) -> str:
    """Return a value as Python writes it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}... of {len(text):,} characters"


def few(names: Sequence[str]) -> str:
    """Return the first names, followed by the number of those left out."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")


def of_machine(error: Exception) -> str | None:
    """Return a sentence for an error that a limit of the machine caused, or None for any other error.

    Args:
        error: Error of the operating system, or of a library that wraps one.
    """
    number, file = getattr(error, "errno", None), getattr(error, "filename", None)
    where = f" while writing {file}" if file else ""
    said = str(error)
    # NumPy's and TensorFlow's errors of a full disk have no number.
    unnumbered = "No space left on device" in said or (" requested and " in said and said.endswith(" written"))
    if number in (errno.ENOSPC, errno.EDQUOT) or unnumbered:
        return f"disk full{where}: free some space there and in TMPDIR, then go on with --resume or by the same command"
    if number in (errno.EROFS, errno.EACCES, errno.EPERM):
        return f"no permission for {file or 'a file'} ({error.strerror}): choose another path"
    if number in (errno.EMFILE, errno.ENFILE):
        return "too many open files: raise the limit, as by `ulimit -n 1024`"
    if number == errno.EAGAIN or "can't start new thread" in said:
        return "the limit of processes and threads is reached: raise it, as by `ulimit -u 4096`"
    return None
