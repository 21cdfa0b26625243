"""Shell patterns for the paths of layers and variables. Standard library only."""

import fnmatch
from collections.abc import Iterable


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    """Return the paths that match a pattern such as `head` or `conv_*`, whole or by their end."""
    return [p for p in paths if fnmatch.fnmatch(p, pattern) or fnmatch.fnmatch(p, f"*/{pattern}")]
