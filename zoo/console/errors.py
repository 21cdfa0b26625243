"""Exceptions of the commands, and the wording of messages about unknown names."""

import difflib
from collections.abc import Iterable, Sequence

# Maximum number of names that `few` lists.
LISTED = 4
# Longest name or value that a message repeats in full.
SHOWN = 60
# Longest message that is shown in full.
LONGEST = 2000


class UsageError(ValueError):
    """Invalid input from the user; the command shows only its message and exits with status 2.

    A message that repeats a name of thousands of letters is cut, so that it stays readable.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"


class Interrupted(Exception):
    """A signal stopped the work after its state was saved; the message says how to resume."""


class Diverged(ArithmeticError):
    """The loss or a weight became NaN or infinite; the message names the step and the last good checkpoint."""


class Failed(RuntimeError):
    """The work failed for a reason other than invalid input; the message is complete without a traceback."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint such as `"; did you mean 'cnn'?"` with the closest known name, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


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
