"""One table where the converter wrote two: the numbers that embed tokens also score them (Press & Wolf, 2017).

The converter rounds a table that is looked up with one scale, and the same table as a kernel with a scale a row: two
tables in eight bits. The kernel is replaced by the other, which its logits lose little by: see the receipt.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from compression import flatbuffer

_LOOKUP, _KERNEL = schema.BuiltinOperator.GATHER, schema.BuiltinOperator.FULLY_CONNECTED


def tie(path: Path) -> int:
    """Rewrite a .tflite file, and return how many kernels were replaced by the table they are another rounding of."""
    model = flatbuffer.read(path)
    count = 0
    for graph in model.subgraphs:
        tables = [graph.tensors[op.inputs[0]] for op in _operators(model, graph, _LOOKUP)]
        for operator in _operators(model, graph, _KERNEL):
            kernel = graph.tensors[operator.inputs[1]]
            table = next((t for t in tables if t.buffer != kernel.buffer and _same(model, t, kernel)), None)
            if table is not None:
                kernel.buffer, kernel.quantization = table.buffer, table.quantization
                count += 1
    if count:
        flatbuffer.write(model, path)
    return count


def _operators(model: schema.ModelT, graph: schema.SubGraphT, code: int) -> Iterator[Any]:
    for operator in graph.operators or ():
        found = model.operatorCodes[operator.opcodeIndex]
        if max(found.builtinCode, found.deprecatedBuiltinCode) == code:
            yield operator


def _same(model: schema.ModelT, table: schema.TensorT, kernel: schema.TensorT) -> bool:
    """Whether two tensors in eight bits can be roundings of the same numbers: nowhere further apart than both round."""
    if table.type != schema.TensorType.INT8 or kernel.type != table.type or [*table.shape] != [*kernel.shape]:
        return False
    if any(model.buffers[t.buffer].data is None or np.any(t.quantization.zeroPoint) for t in (table, kernel)):
        return False
    (mine, step), (theirs, other) = (_values(model, tensor) for tensor in (table, kernel))
    return bool((np.abs(mine - theirs) <= (step + other) / 2 * (1 + 1e-3)).all())


def _values(model: schema.ModelT, tensor: schema.TensorT) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers (rows, columns) of a table, and the step between two, (rows or 1, 1)."""
    data = np.asarray(model.buffers[tensor.buffer].data, np.uint8).view(np.int8).reshape(tensor.shape)
    scales = np.asarray(tensor.quantization.scale, np.float32)[:, None]
    return data * scales, scales
