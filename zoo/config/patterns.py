"""Shell patterns for the paths of layers and variables. Standard library only."""

import fnmatch
from collections.abc import Iterable


def matching(paths: Iterable[str], pattern: str) -> list[str]:
    """Return the paths that match a pattern such as `head` or `conv_*`, as a whole or with their last parts.

    Args:
        paths: Paths of layers or variables, with slashes.
        pattern: Shell pattern.
    """
    return [p for p in paths if fnmatch.fnmatch(p, pattern) or fnmatch.fnmatch(p, f"*/{pattern}")]
