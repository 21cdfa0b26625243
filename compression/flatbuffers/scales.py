"""Scales that LiteRT does not read where they stand: of depthwise kernels, of shared biases, of values of ONE_HOT."""

import copy
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer, weights


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


# Types of constants on a grid.
_KINDS = {
    schema.TensorType.INT8: np.int8,
    schema.TensorType.INT16: np.int16,
    schema.TensorType.INT32: np.int32,
    schema.TensorType.INT64: np.int64,
}

# Largest relative difference of two scales that are the same but for rounding.
SAME = 1e-3


def own_biases(path: Path) -> int:
    """Give operators a bias on their own scale, and return how many had one on another.

    LiteRT adds the integers of a bias to products of inputs and weights, whose scale is that of the input times that of
    the weights. A layer that is called twice has inputs of two scales; in int16x8, the converter writes one bias, on
    the first of them (TensorFlow 2.21).

    Args:
        path: Path of the file.
    """
    model, count = flatbuffer.read(path), 0
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            places = weights.PLACES.get(flatbuffer.code(model, operator))
            if places is None or len(operator.inputs) <= places[2] or operator.inputs[places[2]] < 0:
                continue
            given, kernel, bias = (graph.tensors[operator.inputs[place]] for place in places)
            grids = [each.quantization for each in (given, kernel, bias)]
            computed = model.buffers[bias.buffer].data is None
            if computed or any(grid is None or grid.scale is None or not len(grid.scale) for grid in grids):
                continue
            read, written = grids[0].scale[0] * np.float64(grids[1].scale), np.float64(grids[2].scale)
            if np.allclose(read, written, rtol=SAME, atol=0):  # scales are as small as 1e-9
                continue
            operator.inputs = [int(index) for index in operator.inputs]
            zeros = np.zeros(written.shape, np.int64)
            operator.inputs[places[2]] = _on_grid(model, graph, bias, np.broadcast_to(read, written.shape), zeros)
            count += 1
    if count:
        flatbuffer.write(model, path)
    return count


def own_one_hot(path: Path) -> int:
    """Write the two values of each ONE_HOT on the grid of its output, and return how many were on another.

    LiteRT copies their integers into the output. The converter gives each value a grid of its own (TensorFlow 2.21), so
    that the integer for 0.0 reads as another number.

    Args:
        path: Path of the file.
    """
    model, count = flatbuffer.read(path), 0
    for graph in model.subgraphs:
        for operator in graph.operators or ():
            if flatbuffer.code(model, operator) != schema.BuiltinOperator.ONE_HOT:
                continue
            grid = graph.tensors[operator.outputs[0]].quantization
            if grid is None or grid.scale is None or not len(grid.scale):
                continue
            operator.inputs = [int(index) for index in operator.inputs]
            for place in (2, 3):  # the value at the index, and that of all other places
                value = graph.tensors[operator.inputs[place]]
                own = value.quantization
                if (own.scale[0], own.zeroPoint[0]) != (grid.scale[0], grid.zeroPoint[0]):
                    operator.inputs[place] = _on_grid(model, graph, value, np.float64(grid.scale), grid.zeroPoint)
                    count += 1
    if count:
        flatbuffer.write(model, path)
    return count


def _on_grid(
    model: schema.ModelT, graph: schema.SubGraphT, constant: schema.TensorT, scale: np.ndarray, zero: np.ndarray
) -> int:
    """Add a copy of a constant with other scales and zero points, (channels,) or (1,), and return its index."""
    kind, own = _KINDS[constant.type], constant.quantization
    integers = np.frombuffer(bytes(np.asarray(model.buffers[constant.buffer].data, np.uint8)), kind)
    ends = np.iinfo(kind)
    values = np.rint((integers - own.zeroPoint) * np.float64(own.scale) / scale + zero).clip(ends.min, ends.max)
    made, buffer = copy.copy(constant), schema.BufferT()
    made.quantization = copy.copy(own)
    made.quantization.scale, made.quantization.zeroPoint = scale.astype(np.float32), zero
    made.name = (constant.name or b"") + f"/own_{len(graph.tensors)}".encode()
    buffer.data = np.frombuffer(values.astype(kind).tobytes(), np.uint8)
    made.buffer = len(model.buffers)
    model.buffers.append(buffer)
    graph.tensors.append(made)
    return len(graph.tensors) - 1
