"""One table where the converter wrote two: the numbers that embed tokens also score them (Press & Wolf, 2017).

The converter rounds a table that is looked up with one scale, and the same table as a kernel with a scale a row: two
tables in eight bits. One with a single scale takes the place of both; what that costs is in the receipt.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer

Operators = schema.BuiltinOperator
# They take an input on any grid. Others, such as a reshape, hand its grid on to their output.
_REGRID = (Operators.MUL, Operators.ADD, Operators.QUANTIZE, Operators.DEQUANTIZE)


def tie(path: Path) -> int:
    """Rewrite a .tflite file, and return how many kernels share the table now that they are another rounding of."""
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
    """Whether two tensors in eight bits are different roundings of the same numbers: as near as both round."""
    if table.type != schema.TensorType.INT8 or kernel.type != table.type or [*table.shape] != [*kernel.shape]:
        return False
    if any(model.buffers[t.buffer].data is None for t in (table, kernel)) or _equal(model, table, kernel):
        return False
    near = (_scales(table) + _scales(kernel)) / 2 * (1 + 1e-3)
    return bool((np.abs(_values(model, table) - _values(model, kernel)) <= near).all())


def _equal(model: schema.ModelT, one: schema.TensorT, other: schema.TensorT) -> bool:
    """Whether two tensors hold the same bytes on the same grid."""
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
    """Return the numbers of a table, (rows, columns)."""
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(tensor.shape)
    return ((data - _zeros(tensor)) * _scales(tensor)).astype(np.float32)


def _takes_any_grid(model: schema.ModelT, graph: schema.SubGraphT, lookup: schema.OperatorT) -> bool:
    """Whether what was looked up goes only where its scale may change."""
    made = lookup.outputs[0]
    readers = [op for op in graph.operators if made in op.inputs]
    return made not in graph.outputs and all(flatbuffer.code(model, op) in _REGRID for op in readers)


def _share(model: schema.ModelT, kernel: schema.TensorT, table: schema.TensorT, lookups: list[Lookup]) -> None:
    """Give a kernel and all that look up its table one buffer, with a single scale and zero at 0, as kernels need."""
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
