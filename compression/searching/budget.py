"""The budget of a search: limits for the size, latency and accuracy of an exported file. Standard library only."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from compression.devices.targets import DEFAULT, NPUS, Target
from zoo.config.train_config import flag
from zoo.console.errors import UsageError

# For each limit: the measurement that it bounds, and whether it is an upper bound.
LIMITS = {
    "max_bytes": ("bytes", True),
    "max_gzip_bytes": ("gzip_bytes", True),
    "max_latency_ms": ("latency_ms", True),
    "max_arena": ("arena_bytes", True),
    "max_flash": ("flash_bytes", True),
    "max_cycles": ("cycles", True),
    "min_accuracy": ("accuracy", False),
}


# Limits that are measured by the extra `device`.
ON_A_DEVICE = ("max_arena", "max_flash", "max_cycles")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Limits of a file; None for no limit.

    Args:
        max_bytes: Maximum size of the file in bytes.
        max_gzip_bytes: Maximum size of the gzipped file in bytes.
        max_latency_ms: Maximum median latency of one example on this machine, in milliseconds.
        max_arena: Maximum memory of TFLite Micro, in bytes.
        max_flash: Maximum size of what is flashed besides code, in bytes: the file, or the one compiled for an
            accelerator.
        max_cycles: Maximum cycles of one inference on an accelerator.
        target: Device of these three, one of `compression.devices.targets.Target`; None for TFLite Micro, or for the
            default accelerator if there is a limit of cycles.
        threads: Number of threads for latency measurements: 1, or all cores of this process.
        min_accuracy: Minimum accuracy, in (0, 1].

    Raises:
        UsageError: A limit is out of range, or one limit makes another meaningless.
    """

    max_bytes: int | None = None
    max_gzip_bytes: int | None = None
    max_latency_ms: float | None = None
    max_arena: int | None = None
    max_flash: int | None = None
    max_cycles: int | None = None
    target: Target | None = None
    threads: int = 1
    min_accuracy: float | None = None

    def __post_init__(self) -> None:
        for name in (name for name, (_, above) in LIMITS.items() if above):
            if (value := getattr(self, name)) is not None and value <= 0:
                raise UsageError(f"{flag(name)}: expected more than 0, received {value:g}")
        least = self.min_accuracy
        if least is not None and not 0 < least <= 1:
            hint = f"; {least:g} % is {least / 100:g}" if 1 < least <= 100 else ""
            raise UsageError(f"--min-accuracy: expected a share above 0 and up to 1, received {least:g}{hint}")
        if self.max_bytes and self.max_gzip_bytes and self.max_gzip_bytes >= self.max_bytes:
            raise UsageError(
                f"--max-bytes {self.max_bytes:,} and --max-gzip-bytes {self.max_gzip_bytes:,} contradict each other:"
                " gzip does not make a file larger; expected fewer gzipped bytes, or only one of the two"
            )

        if self.target is not None and not self.limits.keys() & {*ON_A_DEVICE}:
            raise UsageError(
                f"--target {self.target}: expected together with --max-arena, --max-flash or --max-cycles, received"
                " without them"
            )
        if self.max_cycles is not None and self.device not in NPUS:
            raise UsageError(
                f"--target {self.target}: expected an accelerator with --max-cycles, such as {DEFAULT};"
                " cycles of other processors are not measured"
            )

    @property
    def device(self) -> Target | None:
        """Device on which files are measured; None if no limit is about one."""
        if not self.limits.keys() & {*ON_A_DEVICE}:
            return None
        return self.target or (DEFAULT if self.max_cycles is not None else "tflm")

    @property
    def limits(self) -> dict[str, float]:
        """Limits that are set, by field name."""
        return {name: value for name in LIMITS if (value := getattr(self, name)) is not None}

    def excesses(self, measured: Mapping[str, Any]) -> dict[str, float]:
        """Return by how much a file exceeds each limit, as a share of the limit; 0 or less is within the limit.

        The excess of an accuracy is the excess error, as a share of the allowed error.

        Args:
            measured: Measurements of the file: bytes, gzip_bytes, latency_ms, accuracy, and what a device takes.
        """
        found = {}
        for name, limit in self.limits.items():
            key, above = LIMITS[name]
            value = measured[key]
            found[name] = value / limit - 1 if above else (limit - value) / max(1 - limit, 1e-3)
        return found

    def __str__(self) -> str:
        limits = ", ".join(f"{flag(name)} {_number(value)}" for name, value in self.limits.items()) or "none"
        return f"{limits} on {self.device}" if self.device else limits


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
