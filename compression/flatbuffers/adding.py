"""Add tensors, constants and operators to the graph of a file."""

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema


def activation(graph: schema.SubGraphT, like: schema.TensorT, shape: Sequence[int], name: str) -> int:
    """Add a tensor with the type and quantization of another, and return its index.

    Args:
        graph: Graph that gets the tensor.
        like: The other tensor.
        shape: Shape of the new tensor.
        name: End of its name, after that of the other.
    """
    made = copy.copy(like)
    made.shape, made.shapeSignature, made.buffer = list(shape), None, 0
    made.name = (like.name or b"") + name.encode()
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def constant(model: schema.ModelT, graph: schema.SubGraphT, values: Sequence[int], name: str) -> int:
    """Add an int32 constant, and return its index."""
    buffer, made = schema.BufferT(), schema.TensorT()
    buffer.data = np.array(values, np.int32).view(np.uint8)
    made.type, made.shape, made.buffer = schema.TensorType.INT32, [len(values)], len(model.buffers)
    made.name = f"{name}_{len(graph.tensors)}".encode()
    model.buffers.append(buffer)
    graph.tensors.append(made)
    return len(graph.tensors) - 1


def operator(
    model: schema.ModelT, code: int, inputs: Sequence[int], outputs: Sequence[int], options: Any
) -> schema.OperatorT:
    """Return a new operator, whose code is added to the file if it is new; the caller puts it into a graph."""
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = _code(model, code), list(inputs), list(outputs)
    made.builtinOptions = options
    made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
    return made


def _code(model: schema.ModelT, code: int) -> int:
    known = [max(each.builtinCode, each.deprecatedBuiltinCode) for each in model.operatorCodes]
    if code in known:
        return known.index(code)
    added = schema.OperatorCodeT()
    added.builtinCode = added.deprecatedBuiltinCode = code
    added.version = 1
    model.operatorCodes.append(added)
    return len(known)
