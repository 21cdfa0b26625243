"""How work ends early: by a user's mistake, by a signal, by numbers that are no longer numbers."""

import difflib
from collections.abc import Iterable, Sequence

# Most names that a message lists.
LISTED = 4


class UsageError(ValueError):
    """A mistake in what was asked for; its message is shown alone and the command exits with status 2."""


class Interrupted(Exception):
    """Work was stopped by a signal after its state was saved; the message says how to go on."""


class Diverged(ArithmeticError):
    """The loss or a weight became NaN or infinite; the message names the step and the last good checkpoint."""


class Failed(RuntimeError):
    """Work could not be done, for a reason that is not the user's; the message says it all."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `"; did you mean 'cnn'?"` for the known name most like `name`, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""


def unknown(what: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that is not among the known ones."""
    known = list(known)
    listed = ", ".join(known) if len(known) <= 20 else f"{len(known)} names"
    return UsageError(f"unknown {what} {name!r}: expected one of {listed}{nearest(name, known)}")


def few(names: Sequence[str]) -> str:
    """Return the first names, and how many more there are."""
    rest = len(names) - LISTED
    return ", ".join(names[:LISTED]) + (f" and {rest} more" if rest > 0 else "")
