"""Scales of depthwise kernels that LiteRT multiplies by inputs in float."""

from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer


def repeat(path: Path) -> bool:
    """Write the one scale of a kernel for each of its channels, and return whether there was such a kernel.

    For inputs in float, LiteRT's depthwise convolution reads a scale for each channel, also from kernels that have one:
    it computes with the numbers that lie behind it. Equal scales mean the same weights.

    Args:
        path: Path of the file.
    """
    model, found = flatbuffer.read(path), False
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            if flatbuffer.code(model, operator) != schema.BuiltinOperator.DEPTHWISE_CONV_2D:
                continue
            given, kernel = (graph.tensors[place] for place in operator.inputs[:2])
            kinds, grid = (given.type, kernel.type), kernel.quantization
            if kinds != (schema.TensorType.FLOAT32, schema.TensorType.INT8) or len(grid.scale) != 1:
                continue
            channels, found = int(kernel.shape[-1]), True
            grid.scale, grid.zeroPoint = np.repeat(grid.scale, channels), np.zeros(channels, np.int64)
            grid.quantizedDimension = len(kernel.shape) - 1
    if found:
        flatbuffer.write(model, path)
    return found
