"""The folder for what can be made again. Standard library only."""

import os
from pathlib import Path

# A path that cannot be made, for users without a home folder: they go on without a cache.
NOWHERE = Path(os.devnull) / "no-home-folder"


def folder() -> Path:
    """Return the folder of the cache: $ZOO_CACHE, or keras-compression-zoo in the user's cache folder."""
    default = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "keras-compression-zoo"
    try:
        return Path(os.environ.get("ZOO_CACHE") or default).expanduser()
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return NOWHERE
