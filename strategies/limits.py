"""Limits of a process that an import of TensorFlow would run into: it aborts there instead of raising an error."""

import contextlib
from pathlib import Path

from strategies.errors import StrategyError

# What the shortest commands need, by trial with TensorFlow 2.21 on two cores; each core adds threads with stacks.
LEAST = {"address space": 3 << 30, "data": 512 << 20, "open files": 64, "control group": 1 << 30}
_HOW = {"address space": "ulimit -v unlimited", "data": "ulimit -d unlimited", "open files": "ulimit -n 1024"}


def check() -> None:
    """Raise StrategyError if a limit of this process is too low to import TensorFlow and compute with it."""
    for name, limit in current().items():
        if limit < LEAST[name]:
            unit = (lambda n: f"{n}") if name == "open files" else (lambda n: f"{n / 1e9:.1f} GB")
            how = f"; raise it, as by `{_HOW[name]}`" if name in _HOW else "; raise the limit of the container"
            raise StrategyError(
                f"limit of {name}: expected at least {unit(LEAST[name])} for TensorFlow, received {unit(limit)}{how}"
            )


def current() -> dict[str, int]:
    """Return the limits that are set, by name: bytes of memory, or the number of open files."""
    found = {}
    with contextlib.suppress(ImportError):  # not available on Windows
        import resource

        for name, number in {
            "address space": "RLIMIT_AS",
            "data": "RLIMIT_DATA",
            "open files": "RLIMIT_NOFILE",
        }.items():
            limit = resource.getrlimit(getattr(resource, number))[0]
            if limit != resource.RLIM_INFINITY:
                found[name] = limit
    # Of Linux: control groups of version 2 and 1. Without a limit, the first holds "max" and the second a huge number.
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            found["control group"] = int(Path("/sys/fs/cgroup", file).read_text())
    return found
