"""Names of the devices that a file can be profiled for. Standard library only."""

import importlib.metadata
from collections.abc import Iterable
from typing import Literal

from zoo.console.errors import UsageError

# Accelerators that Vela 5 compiles for: the family and its multiply-adds in a cycle.
NPUS = (
    *("ethos-u55-32", "ethos-u55-64", "ethos-u55-128", "ethos-u55-256", "ethos-u65-256", "ethos-u65-512"),
    *("ethos-u85-128", "ethos-u85-256", "ethos-u85-512", "ethos-u85-1024", "ethos-u85-2048"),
)
Target = Literal[
    "tflm",
    "cortex-m7",
    "ethos-u55-32",
    "ethos-u55-64",
    "ethos-u55-128",
    "ethos-u55-256",
    "ethos-u65-256",
    "ethos-u65-512",
    "ethos-u85-128",
    "ethos-u85-256",
    "ethos-u85-512",
    "ethos-u85-1024",
    "ethos-u85-2048",
    "edgetpu",
]
# Targets for which cycles are simulated or estimated, so that a clock tells the time of an inference.
COUNTED = ("cortex-m7", *NPUS)
# The accelerator of receipts, and of a search that does not name one.
DEFAULT = "ethos-u55-128"
# Packages of the extra `device`: the interpreter of TFLite Micro, and the compiler for Ethos-U.
PACKAGES = ("tflite-micro", "ethos-u-vela")


def versions() -> dict[str, str]:
    """Return the versions of the packages of the extra `device`; empty unless all are installed."""
    try:
        return {name: importlib.metadata.version(name) for name in PACKAGES}
    except importlib.metadata.PackageNotFoundError:
        return {}


def check_installed(flags: Iterable[str]) -> None:
    """Raise UsageError unless the extra `device` is installed.

    Args:
        flags: Options that need it, as they are typed.
    """
    if not versions():
        raise UsageError(
            f"{', '.join(flags)}: expected the packages {' and '.join(PACKAGES)}, which are not installed;"
            ' pip install "keras-compression-zoo[device]" adds them (Linux on x86-64)'
        )
