"""The plan of an arena in a .tflite file: the offset of every tensor, from which TFLite Micro takes it.

The format of the metadata entry OfflineMemoryAllocation is described in docs/memory_management.md of TFLite Micro.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer
from compression.flatbuffers.lifetimes import aligned

METADATA = "OfflineMemoryAllocation"
_VERSION, _GRAPH, _NONE = 0, 0, -1


def write(model: Any, offsets: Mapping[int, int]) -> None:
    """Write the offsets of tensors of the first graph, by index; TFLite Micro places the others."""
    remove(model)
    count = len(model.subgraphs[0].tensors)
    values = [_VERSION, _GRAPH, count, *(offsets.get(index, _NONE) for index in range(count))]
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.array(values, np.int32).view(np.uint8)
    entry.name, entry.buffer = METADATA.encode(), len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]


def bytes_taken(model: Any) -> int | None:
    """Return the bytes of the tensors that a plan places; None without a plan."""
    content = flatbuffer.metadata(model, METADATA)
    if content is None:
        return None
    offsets, tensors = np.frombuffer(content, np.int32)[3:], flatbuffer.tensors(model)[0]
    placed = zip(offsets, tensors, strict=True)
    return max(int(offset) + aligned(each["bytes"]) for offset, each in placed if offset != _NONE)


def remove(model: Any) -> bool:
    """Remove the plan of a file, for a compiler that changes its tensors, and return whether it had one."""
    kept = [entry for entry in model.metadata or () if entry.name != METADATA.encode()]
    found = len(kept) < len(model.metadata or ())
    model.metadata = kept or None
    return found
