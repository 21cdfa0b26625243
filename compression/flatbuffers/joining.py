"""Append the graph of one .tflite file to that of another: what the second takes are outputs of the first, by name."""

import copy
from pathlib import Path

from ai_edge_litert import schema_py_generated as schema

from compression.flatbuffers import flatbuffer


def append(path: Path, following: Path) -> None:
    """Make the outputs of a file those of a second file, which is computed from them in the same graph.

    Args:
        path: File with one signature, which is changed.
        following: File with one signature. Its inputs, in float32, have the names and shapes of outputs of the first,
            which are dequantized if they are integers.
    """
    model, more = flatbuffer.read(path), flatbuffer.read(following)
    graph, added = model.subgraphs[0], more.subgraphs[0]
    signature, after = model.signatureDefs[0], more.signatureDefs[0]
    given = {one.name: one.tensorIndex for one in signature.outputs}
    places = {one.tensorIndex: _in_float(model, given[one.name]) for one in after.inputs}
    for index, tensor in enumerate(added.tensors):
        if index in places:
            continue
        moved = copy.copy(tensor)
        content = more.buffers[tensor.buffer]
        moved.buffer = 0
        if content.data is not None and len(content.data):
            moved.buffer = len(model.buffers)
            model.buffers.append(content)
        moved.name = b"after/" + (tensor.name or b"")
        places[index] = len(graph.tensors)
        graph.tensors.append(moved)
    codes = [_code(model, code) for code in more.operatorCodes]
    for operator in added.operators:
        operator.opcodeIndex = codes[operator.opcodeIndex]
        operator.inputs = [places.get(index, -1) for index in operator.inputs]
        operator.outputs = [places[index] for index in operator.outputs]
        graph.operators.append(operator)
    graph.outputs = [places[index] for index in added.outputs]
    for one in after.outputs:
        one.tensorIndex = places[one.tensorIndex]
    signature.outputs = after.outputs
    flatbuffer.write(model, path)


def _in_float(model: schema.ModelT, index: int) -> int:
    """Return a tensor in float32: itself, or what a new operator makes of it."""
    graph = model.subgraphs[0]
    tensor = graph.tensors[index]
    if tensor.type == schema.TensorType.FLOAT32:
        return index
    made, operator, code = copy.copy(tensor), schema.OperatorT(), schema.OperatorCodeT()
    made.type, made.quantization, made.buffer = schema.TensorType.FLOAT32, None, 0
    made.name = b"after/" + (tensor.name or b"")
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 2
    graph.tensors.append(made)
    operator.opcodeIndex, operator.inputs, operator.outputs = _code(model, code), [index], [len(graph.tensors) - 1]
    graph.operators.append(operator)
    return len(graph.tensors) - 1


def _code(model: schema.ModelT, code: schema.OperatorCodeT) -> int:
    """Return the place of an operator's code in a file, to which it is added if it is new."""
    wanted = (code.builtinCode, code.deprecatedBuiltinCode, code.customCode, code.version)
    for index, one in enumerate(model.operatorCodes):
        if (one.builtinCode, one.deprecatedBuiltinCode, one.customCode, one.version) == wanted:
            return index
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1
