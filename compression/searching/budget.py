"""A budget: what an exported file may cost, and what it must be worth. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zoo.config.train_config import flag
from zoo.console.errors import UsageError

# Of each limit: what it bounds among the numbers of a file, and whether from above.
LIMITS = {
    "max_bytes": ("bytes", True),
    "max_gzip_bytes": ("gzip_bytes", True),
    "max_latency_ms": ("latency_ms", True),
    "min_accuracy": ("accuracy", False),
}


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a file, each None where it has none.

    Args:
        max_bytes: of the file.
        max_gzip_bytes: of the file, gzipped.
        max_latency_ms: median of one call of one example, on this machine.
        threads: that the latency is measured with: 1, or all cores of this process.
        min_accuracy: share of right answers, from 0 to 1.

    Raises:
        UsageError: a limit that no file, or every file, is within, or two of which one never matters.
    """

    max_bytes: int | None = None
    max_gzip_bytes: int | None = None
    max_latency_ms: float | None = None
    threads: int = 1
    min_accuracy: float | None = None

    def __post_init__(self) -> None:
        for name in ("max_bytes", "max_gzip_bytes", "max_latency_ms"):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise UsageError(f"{flag(name)}: expected more than 0, received {value:g}")
        least = self.min_accuracy
        if least is not None and not 0 < least <= 1:
            hint = f"; {least:g} % is {least / 100:g}" if 1 < least <= 100 else ""
            raise UsageError(f"--min-accuracy: expected a share above 0 and up to 1, received {least:g}{hint}")
        if self.max_bytes and self.max_gzip_bytes and self.max_gzip_bytes >= self.max_bytes:
            raise UsageError(
                f"--max-bytes {self.max_bytes:,} and --max-gzip-bytes {self.max_gzip_bytes:,} contradict each other: a"
                " file is not larger when it is gzipped; expected fewer gzipped bytes, or one of both"
            )

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, by the name of their field."""
        return {name: value for name in LIMITS if (value := getattr(self, name)) is not None}

    def excesses(self, measured: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much a file is beyond each limit, as a share of it; 0 or less is within.

        Args:
            measured: bytes, gzip_bytes, latency_ms and accuracy. That of an accuracy is the error too much, as a share
                of the error that is allowed.
        """
        found = {}
        for name, limit in self.limits.items():
            key, above = LIMITS[name]
            value = measured[key]
            found[name] = value / limit - 1 if above else (limit - value) / max(1 - limit, 1e-3)
        return found

    def __str__(self) -> str:
        return ", ".join(f"{flag(name)} {_number(value)}" for name, value in self.limits.items()) or "none"


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
