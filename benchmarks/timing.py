"""Time of synchronised steps, and peak memory of a process."""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

WARM_UP, FEWEST, STEPS, SECONDS = 5, 5, 50, 10.0


def timed(step: Callable[[], None]) -> dict[str, Any]:
    """Return the median seconds of a step, and the number of steps.

    Args:
        step: Function that takes a step and waits until the device has finished it.
    """
    for _ in range(WARM_UP):
        step()
    times: list[float] = []
    while len(times) < FEWEST or (len(times) < STEPS and sum(times) < SECONDS):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    return {"seconds": statistics.median(times), "steps": len(times)}


def peak_memory() -> int:
    """Return the largest number of bytes that this process had in memory."""
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes, Linux kilobytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
