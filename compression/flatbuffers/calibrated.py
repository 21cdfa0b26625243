"""Change the calibrated ranges of a model in float32 before it is quantized."""

import re
from collections.abc import Mapping

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers.flatbuffer import code, decoded, stored_values

# Begins the name of an output in a mapping of ranges.
OUTPUT = "output:"


def set_ranges(model: schema.ModelT, ranges: Mapping[str, tuple[float, float]]) -> int:
    """Replace calibrated ranges of tensors, and return the number of tensors found.

    Args:
        model: Calibrated model, with a range for every activation.
        ranges: (lowest, highest) of each tensor, by its name at tracing, or by OUTPUT and its name in the signature.
            The converter joins the names of fused operators with `;` and appends a number to repeated names.
    """
    found = 0
    ends = {
        id(model.subgraphs[signature.subgraphIndex].tensors[end.tensorIndex]): OUTPUT + decoded(end.name)
        for signature in model.signatureDefs or ()
        for end in signature.outputs
    }
    for tensor in (t for graph in model.subgraphs for t in graph.tensors):
        if tensor.quantization is None or tensor.quantization.min is None:
            continue
        parts = [re.sub(r"(?<=\D)\d*$", "", part) for part in decoded(tensor.name).split(";")]
        names = [n for n in (ends.get(id(tensor)), *decoded(tensor.name).split(";"), *parts) if n in ranges]
        if names:
            low, high = ranges[names[0]]
            tensor.quantization.min, tensor.quantization.max = np.float32([low]), np.float32([high])
            found += 1
    return found


def widen_empty_ranges(model: schema.ModelT) -> int:
    """Give calibrated tensors that were always zero the range from 0 to 1, and return their number."""
    found = 0
    for tensor in (t for graph in model.subgraphs for t in graph.tensors):
        quantization = tensor.quantization
        if quantization is None or quantization.min is None or quantization.max is None or not len(quantization.min):
            continue
        if not np.any(quantization.min) and not np.any(quantization.max):
            quantization.max = np.ones_like(quantization.max, np.float32)
            found += 1
    return found


def set_lookup_ranges(model: schema.ModelT) -> None:
    """Set the range of every lookup in a constant table to the range of the whole table."""
    lookup = schema.BuiltinOperator.GATHER
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            table, made = graph.tensors[operator.inputs[0]], graph.tensors[operator.outputs[0]]
            data = model.buffers[table.buffer].data
            found = code(model, operator) == lookup and made.quantization is not None
            if found and data is not None and table.type == schema.TensorType.FLOAT32:
                values = stored_values(table, np.asarray(data, np.uint8))
                made.quantization.min, made.quantization.max = np.float32([values.min()]), np.float32([values.max()])
