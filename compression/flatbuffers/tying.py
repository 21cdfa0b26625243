"""Tie embedding and output weights in a .tflite file, as the model does (Press & Wolf, 2017).

A model with tied weights uses one table to embed tokens and to compute logits. The converter writes it twice in int8:
per-tensor for the lookup, and per-channel for the fully connected kernel. This module replaces both with one per-tensor
table; the accuracy in the receipt is measured afterwards.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer

Operators = schema.BuiltinOperator
# Operators that accept any input scale. Others, such as RESHAPE, require the same scale at their output.
_REGRID = (Operators.MUL, Operators.ADD, Operators.QUANTIZE, Operators.DEQUANTIZE)


def tie(path: Path) -> int:
    """Rewrite a .tflite file, and return the number of kernels that now share an embedding table."""
    model = flatbuffer.read(path)
    lookups = [(graph, op) for graph in model.subgraphs for op in _operators(model, graph, Operators.GATHER)]
    count = 0
    for graph in model.subgraphs:
        for operator in _operators(model, graph, Operators.FULLY_CONNECTED):
            kernel = graph.tensors[operator.inputs[1]]
            table = next((t for t in map(_table, lookups) if _same(model, t, kernel)), None)
            if table is None:
                continue
            readers = [each for each in lookups if _equal(model, _table(each), table)]
            if all(_takes_any_grid(model, *reader) for reader in readers):
                _share(model, kernel, table, readers)
                count += 1
    if count:
        flatbuffer.write(model, path)
    return count


Lookup = tuple[schema.SubGraphT, schema.OperatorT]


def _operators(model: schema.ModelT, graph: schema.SubGraphT, code: int) -> Iterator[schema.OperatorT]:
    return (op for op in graph.operators or () if flatbuffer.code(model, op) == code)


def _table(lookup: Lookup) -> schema.TensorT:
    graph, operator = lookup
    return graph.tensors[operator.inputs[0]]


def _same(model: schema.ModelT, table: schema.TensorT, kernel: schema.TensorT) -> bool:
    """Return whether two int8 tensors are different roundings of the same values, within their rounding errors."""
    if table.type != schema.TensorType.INT8 or kernel.type != table.type or [*table.shape] != [*kernel.shape]:
        return False
    if any(model.buffers[t.buffer].data is None for t in (table, kernel)) or _equal(model, table, kernel):
        return False
    near = (_scales(table) + _scales(kernel)) / 2 * (1 + 1e-3)
    return bool((np.abs(_values(model, table) - _values(model, kernel)) <= near).all())


def _equal(model: schema.ModelT, one: schema.TensorT, other: schema.TensorT) -> bool:
    """Return whether two int8 tensors have the same bytes, scales and zero points."""
    if one.type != other.type or one.type != schema.TensorType.INT8 or not np.array_equal(one.shape, other.shape):
        return False
    grids = np.array_equal(_scales(one), _scales(other)) and np.array_equal(_zeros(one), _zeros(other))
    mine, theirs = (model.buffers[t.buffer].data for t in (one, other))
    return grids and (mine is theirs or np.array_equal(mine, theirs))


def _scales(tensor: schema.TensorT) -> np.ndarray:
    return np.asarray(tensor.quantization.scale, np.float32)[:, None]  # (rows or 1, 1)


def _zeros(tensor: schema.TensorT) -> np.ndarray:
    return np.asarray(tensor.quantization.zeroPoint, np.int64)[:, None]


def _values(model: schema.ModelT, tensor: schema.TensorT) -> np.ndarray:
    """Return the dequantized values of a table, (rows, columns)."""
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(tensor.shape)
    return ((data - _zeros(tensor)) * _scales(tensor)).astype(np.float32)


def _takes_any_grid(model: schema.ModelT, graph: schema.SubGraphT, lookup: schema.OperatorT) -> bool:
    """Return whether all consumers of a lookup's output accept another scale."""
    made = lookup.outputs[0]
    readers = [op for op in graph.operators if made in op.inputs]
    return made not in graph.outputs and all(flatbuffer.code(model, op) in _REGRID for op in readers)


def _share(model: schema.ModelT, kernel: schema.TensorT, table: schema.TensorT, lookups: list[Lookup]) -> None:
    """Let a kernel and all lookups share one buffer with a single scale and zero point 0, as kernels require."""
    if not _zeros(table).any():
        buffer, quantization = table.buffer, table.quantization
    elif len(kernel.quantization.scale) == 1:
        buffer, quantization = kernel.buffer, kernel.quantization
    else:
        values = _values(model, kernel)
        scale = np.float32(np.abs(values).max() / 127)
        made = schema.BufferT()
        made.data = np.round(values / scale).astype(np.int8).view(np.uint8).reshape(-1)
        buffer, quantization = len(model.buffers), schema.QuantizationParametersT()
        model.buffers.append(made)
        quantization.scale, quantization.zeroPoint = np.float32([scale]), np.int64([0])
    for graph, operator in lookups:
        looked_up = graph.tensors[operator.inputs[0]]
        looked_up.buffer = buffer
        looked_up.quantization = graph.tensors[operator.outputs[0]].quantization = quantization
    kernel.buffer, kernel.quantization = buffer, quantization
