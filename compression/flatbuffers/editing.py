"""Add tensors, constants and operators to the graph of a file, and change the numbers of its tensors."""

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


def number(model: Any, order: Sequence[int]) -> None:
    """Put the tensors of the only graph into an order; those that are left out are removed.

    Args:
        model: Result of `flatbuffer.read`, which is changed.
        order: Numbers of the tensors that stay.
    """
    (graph,) = model.subgraphs
    places = {index: place for place, index in enumerate(order)} | {-1: -1}
    graph.tensors = [graph.tensors[index] for index in order]

    def renamed(indices: Any) -> list[int] | None:
        return None if indices is None else [places[int(index)] for index in indices]

    for holder in (graph, *graph.operators):
        holder.inputs, holder.outputs = renamed(holder.inputs), renamed(holder.outputs)
    for operator in graph.operators:
        operator.intermediates = renamed(operator.intermediates)
    for signed in model.signatureDefs or ():
        for end in (*(signed.inputs or ()), *(signed.outputs or ())):
            end.tensorIndex = places[end.tensorIndex]


def drop_unused(model: Any) -> None:
    """Remove the tensors of the only graph that no operator uses; TFLite Micro would give them memory.

    Args:
        model: Result of `flatbuffer.read`, which is changed.
    """
    (graph,) = model.subgraphs
    holders = (graph, *graph.operators)
    used = {int(index) for holder in holders for indices in (holder.inputs, holder.outputs) for index in indices}
    used |= {int(index) for operator in graph.operators for index in _listed(operator.intermediates)}
    number(model, sorted(used - {-1}))


def _listed(indices: Any) -> Any:
    return () if indices is None else indices
