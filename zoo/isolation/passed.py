"""Which model files need no trial: those that this user's trainings wrote, that passed before, or that are shipped."""

import contextlib
import functools
from pathlib import Path

from zoo import stock
from zoo.system.cache import folder

# Part of the folder's name. Raise it when a trial begins to refuse more.
FORMAT = 1


def knows(sha256: str) -> bool:
    """Return whether a file with this SHA-256 needs no trial.

    Args:
        sha256: SHA-256 of the file, in hexadecimal.
    """
    return sha256 in _shipped() or (_folder() / sha256).is_file()


def remember(sha256: str) -> None:
    """Remember a file that passed its trial, or that this process wrote.

    Args:
        sha256: SHA-256 of the file, in hexadecimal.
    """
    # Without a cache that can be written, the next command tries the file again.
    with contextlib.suppress(OSError):
        _folder().mkdir(parents=True, exist_ok=True)
        (_folder() / sha256).touch()


@functools.cache
def _shipped() -> frozenset[str]:
    return frozenset(fact["sha256"] for entry in stock.index().values() for fact in entry["files"].values())


def _folder() -> Path:
    return folder() / f"models-{FORMAT}"
