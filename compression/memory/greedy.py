"""Where the memory planner of TFLite Micro places tensors, without running it.

The planner is tensorflow/lite/micro/memory_planner/greedy_memory_planner.cc: the largest tensor first, of equal ones
the last of the file, each at the lowest place that is free while it is live. Scratch memory of kernels, which reference
kernels hardly need, is left out.
"""

from collections.abc import Iterable
from typing import Any

from compression.flatbuffers.lifetimes import Lifetime, lifetimes


def bytes_taken(model: Any) -> int:
    """Return the bytes of the arena that the tensors of a file take.

    Args:
        model: Result of `flatbuffer.read`.
    """
    return bytes_of(each for _, each in sorted(lifetimes(model).items()))


def bytes_of(found: Iterable[Lifetime]) -> int:
    """Return the bytes of the arena that tensors take, given in the order of the file."""
    placed: list[tuple[int, int, Lifetime]] = []  # (begin, end, tensor)
    for _, each in sorted(enumerate(found), key=lambda pair: (-pair[1].bytes, -pair[0])):
        at = 0
        meanwhile = [row[:2] for row in placed if row[2].first <= each.last and row[2].last >= each.first]
        for begin, end in sorted(meanwhile):
            if begin - at >= each.bytes:
                break
            at = max(at, end)
        placed.append((at, at + each.bytes, each))
    return max((end for _, end, _ in placed), default=0)
