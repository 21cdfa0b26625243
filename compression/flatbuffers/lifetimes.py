"""When the tensors of a file's first graph are in memory, and how much they take at once."""

from dataclasses import dataclass
from typing import Any

from compression.flatbuffers import flatbuffer

# Buffers in the arena of TFLite Micro are aligned to this number of bytes: MicroArenaBufferAlignment.
ALIGNMENT = 16


@dataclass(frozen=True)
class Lifetime:
    """The time in which a tensor is in memory. Step 0 gives the inputs, step i + 1 runs operator i.

    Args:
        bytes: Size, rounded up to the alignment.
        first: Step that writes the tensor.
        last: Last step that reads it; for outputs of the graph, the step after the last operator.
    """

    bytes: int
    first: int
    last: int


def aligned(size: int) -> int:
    """Return a size rounded up to the alignment of buffers."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def lifetimes(model: Any) -> dict[int, Lifetime]:
    """Return the lifetime of each tensor that is not a constant, by index.

    Args:
        model: Result of `flatbuffer.read`.
    """
    tensors, nodes = flatbuffer.tensors(model)[0], flatbuffer.nodes(model)[0]
    graph = model.subgraphs[0]
    steps = [list(graph.inputs), *([*inputs, *outputs] for _, inputs, outputs in nodes), list(graph.outputs)]
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for step, indices in enumerate(steps):
        for index in map(int, indices):
            if index != -1 and not tensors[index]["constant"]:
                first.setdefault(index, step)
                last[index] = len(steps) if tensors[index]["variable"] else step
    return {index: Lifetime(aligned(tensors[index]["bytes"]), first[index], last[index]) for index in first}


def live(model: Any) -> list[int]:
    """Return the number of bytes of tensors that are in memory at each step."""
    found = lifetimes(model).values()
    steps = range(max((each.first for each in found), default=-1) + 1)
    return [sum(each.bytes for each in found if each.first <= step <= each.last) for step in steps]


def peak(model: Any) -> int:
    """Return the largest number of bytes of tensors that are in memory at the same time."""
    return max(live(model), default=0)
