"""Read, describe and write .tflite files by the TFLite schema, without running them.

Schema: tensorflow/compiler/mlir/lite/schema/schema.fbs, as generated into ai-edge-litert.
"""

import math
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from zoo import stock
from zoo.console.errors import UsageError
from zoo.system.files import replacing

IDENTIFIER = b"TFL3"
# Required by the schema (force_align) so that kernels can load constants in blocks; the generated Python ignores it.
ALIGNMENT = 16
# Operators without weights that may give the output of a layer in float32.
WEIGHTLESS = ("ADD", "SUB", "MUL", "DIV", "MEAN")


def _names(enumeration: type) -> dict[int, str]:
    return {value: name for name, value in vars(enumeration).items() if not name.startswith("_")}


_OPERATORS, _TYPES = _names(schema.BuiltinOperator), _names(schema.TensorType)
_DTYPES = {
    "FLOAT32": np.float32,
    "FLOAT16": np.float16,
    "FLOAT64": np.float64,
    "INT8": np.int8,
    "UINT8": np.uint8,
    "INT16": np.int16,
    "INT32": np.int32,
    "INT64": np.int64,
    "BOOL": np.bool_,
}


def read(path: Path) -> schema.ModelT:
    """Return the content of a .tflite file.

    Raises:
        UsageError: The file is missing, is not a TFLite flatbuffer, or is cut short or altered.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else f"none{stock.hint(path)}"
        raise UsageError(f"{path}: expected a .tflite file, found {found}")
    return parse(path.read_bytes(), str(path))


def parse(content: bytes, name: str) -> schema.ModelT:
    """Parse the bytes of a .tflite file.

    Args:
        content: Bytes of the file.
        name: Name of the file in error messages.

    Raises:
        UsageError: The content is not a TFLite flatbuffer, or is cut short or altered.
    """
    if content[4:8] != IDENTIFIER:
        raise UsageError(
            f"{name}: expected a TFLite flatbuffer, with the identifier {IDENTIFIER.decode()} at byte 4, found none"
        )
    try:
        _check_extent(content)
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        for buffer in model.buffers:
            _bring_in(buffer, content)
        if not model.subgraphs or not model.subgraphs[0].tensors:
            raise ValueError("it has no graph")
        for graph in model.subgraphs:
            _check_references(model, graph)
        # These functions fail on unknown types and missing names.
        for look in (operators, tensors, nodes, signatures, signature, ends_in_order):
            look(model)
    except (struct.error, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, MemoryError) as error:
        raise UsageError(f"{name}: a TFLite flatbuffer that is cut short or altered ({error})") from None
    return model


def _check_extent(content: bytes) -> None:
    """Raise ValueError for a file whose unpacked content would be far larger than itself.

    Tables and texts may be referred to many times, so that a small file can stand for any amount of memory. Here they
    are counted without being unpacked.
    """
    model = schema.Model.GetRootAs(content, 0)
    tables = model.BuffersLength() + model.OperatorCodesLength() + model.MetadataLength() + model.SignatureDefsLength()
    graphs = [model.Subgraphs(i) for i in range(_at_most(model.SubgraphsLength()))]
    for graph in graphs:
        tables += graph.TensorsLength() + graph.OperatorsLength()
        _at_most(tables)
    letters = 0
    for graph in graphs:
        for i in range(graph.TensorsLength()):
            table = graph.Tensors(i)._tab
            place = table.Offset(_NAME)
            letters += table.VectorLen(place) if place else 0
            if letters > MOST_TABLES + len(content):
                raise ValueError("its tensors have names that are longer than the file")


# Field of a tensor's name in its table, by the schema.
_NAME = 10
# Most tables that flatbuffers' own verifier follows.
MOST_TABLES = 1_000_000


def _at_most(count: int) -> int:
    if count > MOST_TABLES:
        raise ValueError(f"it refers to {count:,} tables, at most {MOST_TABLES:,} are read")
    return count


def _bring_in(buffer: schema.BufferT, content: bytes) -> None:
    """Load the data of a buffer stored after the flatbuffer, as litert-quantizer writes it."""
    if buffer.offset > 1:
        if buffer.offset + buffer.size > len(content):
            raise IndexError(f"a buffer ends at byte {buffer.offset + buffer.size} of {len(content)}")
        buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
        buffer.offset = buffer.size = 0


def _check_references(model: schema.ModelT, graph: schema.SubGraphT) -> None:
    """Raise IndexError if the graph refers to a tensor, buffer or operator that is not in the file."""
    for tensor in graph.tensors:
        _check_index(tensor.buffer, model.buffers)
    for entry in model.metadata or ():
        _check_index(entry.buffer, model.buffers)
    used = [*graph.inputs, *graph.outputs]
    for operator in graph.operators or ():
        _check_index(operator.opcodeIndex, model.operatorCodes)
        # -1 marks an omitted optional input.
        used += [i for i in (*_indices(operator.inputs), *_indices(operator.outputs)) if i != -1]
    for index in used:
        _check_index(index, graph.tensors)


def _indices(found: Any) -> list[int]:
    return [] if found is None else [int(i) for i in found]


def _check_index(index: int, among: list) -> None:
    if not 0 <= index < len(among):
        raise IndexError(f"index {index} of {len(among)}")


def operators(model: schema.ModelT) -> dict[str, int]:
    """Return the number of uses of each operator over all graphs, by name."""
    names = [_operator_name(code) for code in model.operatorCodes or ()]
    counts = Counter(names[op.opcodeIndex] for graph in model.subgraphs for op in graph.operators or ())
    return dict(sorted(counts.items()))


def _operator_name(code: schema.OperatorCodeT) -> str:
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)  # older files use only the deprecated field
    if builtin == schema.BuiltinOperator.CUSTOM:
        return (code.customCode or b"CUSTOM").decode()
    return _OPERATORS.get(builtin, f"BUILTIN_{builtin}")


def code(model: schema.ModelT, operator: schema.OperatorT) -> int:
    """Return the BuiltinOperator code of an operator in a graph."""
    found = model.operatorCodes[operator.opcodeIndex]
    return max(found.builtinCode, found.deprecatedBuiltinCode)  # older files use only the deprecated field


def flex(model: schema.ModelT) -> list[str]:
    """Return the Flex operators, which need TensorFlow's kernels on the device."""
    return [name for name in operators(model) if name.startswith("Flex")]


def has_integer_weights(model: schema.ModelT) -> bool:
    """Return whether a constant of the file is quantized."""
    return any(
        t.type in (schema.TensorType.INT8, schema.TensorType.INT4, schema.TensorType.UINT8)
        and t.quantization is not None
        and model.buffers[t.buffer].data is not None
        for graph in model.subgraphs
        for t in graph.tensors
    )


def float_operators(model: schema.ModelT) -> dict[str, int]:
    """Return the number of uses of each operator that computes in float between QUANTIZE and DEQUANTIZE, by name.

    Empty for files without integer activations. A file in int8 has such operators where the integer form is missing,
    as in a group normalization, or a layer is skipped. Conversions at the inputs and outputs alone do not count.
    """
    activations = (schema.TensorType.INT8, schema.TensorType.INT16, schema.TensorType.UINT8)
    counts: Counter[str] = Counter()
    integer = False
    for graph, found in zip(model.subgraphs, nodes(model), strict=True):
        for name, _, outputs in found:
            kinds = {graph.tensors[i].type for i in outputs if i != -1}
            quantized = any(graph.tensors[i].quantization is not None for i in outputs if i != -1)
            integer = integer or (name != "QUANTIZE" and quantized and bool(kinds & {*activations}))
            if schema.TensorType.FLOAT32 in kinds and name != "DEQUANTIZE":
                counts[name] += 1
    return dict(sorted(counts.items())) if integer else {}


def keeps_state(model: schema.ModelT) -> bool:
    """Return whether the file has variable tensors, whose values an interpreter keeps between calls until reset.

    A fused LSTM has them: without `reset_all_variables()` the second call continues the sequence of the first.
    """
    return any(tensor.isVariable for graph in model.subgraphs for tensor in graph.tensors)


def signature(model: schema.ModelT) -> dict[str, list[dict[str, Any]]]:
    """Return the inputs and outputs of the first signature: name, shape, type and quantization."""
    return _ends(model, (model.signatureDefs or [None])[0])


def signatures(model: schema.ModelT) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Return the description of every signature, by name; if several names share a graph, only the first."""
    graphs: dict[int, schema.SignatureDefT] = {}
    for found in model.signatureDefs or ():
        graphs.setdefault(found.subgraphIndex, found)
    return {decoded(found.signatureKey): _ends(model, found) for found in graphs.values()}


def _ends(model: schema.ModelT, found: schema.SignatureDefT | None) -> dict[str, list[dict[str, Any]]]:
    graph = model.subgraphs[found.subgraphIndex if found else 0]

    def described(maps: Any, indices: Any) -> list[dict[str, Any]]:
        named = [(m.name.decode(), m.tensorIndex) for m in maps] if maps else [(None, i) for i in indices]
        found = [(name or decoded(graph.tensors[i].name), graph.tensors[i]) for name, i in sorted(named)]
        return [{"name": name, **_form(tensor)} for name, tensor in found]

    return {
        "inputs": described(found and found.inputs, graph.inputs),
        "outputs": described(found and found.outputs, graph.outputs),
    }


def ends_in_order(model: schema.ModelT) -> dict[str, list[dict[str, Any]]]:
    """Return the inputs and outputs of the first graph in the interpreter's order.

    Each has name (from the signature, otherwise from the tensor), shape, type, elements and quantization.
    """
    graph = model.subgraphs[0]
    found = next((s for s in model.signatureDefs or () if s.subgraphIndex == 0), None)

    def described(maps: Any, indices: Any) -> list[dict[str, Any]]:
        names = {m.tensorIndex: decoded(m.name) for m in maps or ()}
        tensors = [(i, graph.tensors[i]) for i in _indices(indices)]
        return [
            {"name": names.get(i) or decoded(t.name), **_form(t), "elements": math.prod(_indices(t.shape))}
            for i, t in tensors
        ]

    return {
        "inputs": described(found and found.inputs, graph.inputs),
        "outputs": described(found and found.outputs, graph.outputs),
    }


def tensors(model: schema.ModelT) -> list[list[dict[str, Any]]]:
    """Return for each graph its tensors by index: name, type, bytes, and whether constant, variable and sparse.

    `bytes` is the size of the values in an interpreter's memory; 0 for types without a fixed item size.
    """
    return [
        [
            {
                "name": decoded(tensor.name),
                "type": _TYPES[tensor.type].lower(),
                "bytes": math.prod(_indices(tensor.shape)) * _item_bytes(tensor),
                "constant": model.buffers[tensor.buffer].data is not None,
                "variable": bool(tensor.isVariable),
                "sparse": tensor.sparsity is not None,
            }
            for tensor in graph.tensors
        ]
        for graph in model.subgraphs
    ]


def _item_bytes(tensor: schema.TensorT) -> int:
    kind = _DTYPES.get(_TYPES[tensor.type])
    return 0 if kind is None else np.dtype(kind).itemsize


def nodes(model: schema.ModelT) -> list[list[tuple[str, list[int], list[int]]]]:
    """Return for each graph its nodes in order: operator, input indices and output indices; -1 is an omitted input."""
    names = [_operator_name(code) for code in model.operatorCodes or ()]
    return [
        [(names[op.opcodeIndex], _indices(op.inputs), _indices(op.outputs)) for op in graph.operators or ()]
        for graph in model.subgraphs
    ]


def decoded(name: bytes | None) -> str:
    """Return a name in a file as text."""
    return (name or b"").decode(errors="replace")


def _form(tensor: schema.TensorT) -> dict[str, Any]:
    form = {"shape": _indices(tensor.shape), "type": _TYPES[tensor.type].lower()}
    quantization = tensor.quantization
    if quantization is not None and quantization.scale is not None and len(quantization.scale):
        scales, zeros = quantization.scale, quantization.zeroPoint
        form["scales"] = len(scales)
        if len(scales) == 1:
            form |= {"scale": float(scales[0]), "zero_point": int(zeros[0]) if zeros is not None else 0}
    return form


def constants(model: schema.ModelT) -> list[dict[str, Any]]:
    """Return every constant of the file, largest first.

    Each has name, shape, type, bytes (0 if it shares the buffer of an earlier constant), elements, zeros (number of
    values that are exactly zero) and distinct (number of distinct values).
    """
    rows, seen = [], set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data):
                continue
            row = {"name": decoded(tensor.name), **_form(tensor), "bytes": 0 if tensor.buffer in seen else len(data)}
            seen.add(tensor.buffer)
            values = stored_values(tensor, np.asarray(data, np.uint8))
            if values is not None:
                zero = row.get("zero_point", 0)
                row |= {
                    "elements": values.size,
                    "zeros": int((values == zero).sum()),
                    "distinct": len(np.unique(values)),
                }
            rows.append(row)
    return sorted(rows, key=lambda row: (-row["bytes"], row["name"]))


def stored_values(tensor: schema.TensorT, data: np.ndarray) -> np.ndarray | None:
    """Return the stored values of a constant, flat, or None for types and layouts whose values cannot be counted."""
    if tensor.sparsity is not None:
        return None
    kind = _TYPES[tensor.type]
    if kind == "INT4":  # two values per byte, the first in the low half
        halves = np.stack([data & 15, data >> 4], -1).reshape(-1)[: math.prod(_indices(tensor.shape))]
        return ((halves.astype(np.int8) ^ 8) - 8).astype(np.int8)
    return data.view(_DTYPES[kind]) if kind in _DTYPES and data.size % np.dtype(_DTYPES[kind]).itemsize == 0 else None


def real_constants(model: schema.ModelT) -> list[tuple[str, np.ndarray]]:
    """Return name and real values (shape) of the constants whose values can be read: zero point and scale applied."""
    found, seen = [], set()
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            data = model.buffers[tensor.buffer].data
            if data is None or not len(data) or tensor.buffer in seen:
                continue
            seen.add(tensor.buffer)
            values = stored_values(tensor, np.asarray(data, np.uint8))
            if values is None or values.size != math.prod(_indices(tensor.shape)):
                continue
            values = values.reshape(_indices(tensor.shape)).astype(np.float32)
            quantization = tensor.quantization
            if quantization is not None and quantization.scale is not None and len(quantization.scale):
                shape = [1] * values.ndim
                if len(quantization.scale) > 1:
                    shape[quantization.quantizedDimension] = len(quantization.scale)
                zero = np.asarray(quantization.zeroPoint, np.float32).reshape(shape)
                values = (values - zero) * np.asarray(quantization.scale, np.float32).reshape(shape)
            found.append((decoded(tensor.name), values))
    return found


def output_names(model: schema.ModelT) -> list[str]:
    """Return the names of the tensors that operators of the main graph write; they contain the layers' name scopes."""
    graph = model.subgraphs[0]
    return [decoded(graph.tensors[i].name) for op in graph.operators or () for i in _indices(op.outputs)]


def weightless_outputs(model: schema.ModelT) -> dict[str, str]:
    """Return the name of the tensor of each output that a sum, product or mean gives, by its name in the signatures."""
    found = {}
    for signed in model.signatureDefs or ():
        graph = model.subgraphs[signed.subgraphIndex]
        sums = {i for name, _, made in nodes(model)[signed.subgraphIndex] if name in WEIGHTLESS for i in made}
        found |= {
            decoded(each.name): decoded(graph.tensors[each.tensorIndex].name)
            for each in signed.outputs or ()
            if each.tensorIndex in sums
        }
    return found


def metadata(model: schema.ModelT, name: str) -> bytes | None:
    """Return the content of a metadata entry, or None if the file has no entry of this name."""
    for found in model.metadata or ():
        if found.name == name.encode():
            data = model.buffers[found.buffer].data
            return b"" if data is None else bytes(np.asarray(data, np.uint8))
    return None


def metadata_sizes(model: schema.ModelT) -> dict[str, int]:
    """Return the size in bytes of every metadata entry, by name."""
    found = {}
    for entry in model.metadata or ():
        data = model.buffers[entry.buffer].data
        found[decoded(entry.name)] = 0 if data is None else len(data)
    return found


def add_metadata(path: Path, name: str, content: bytes) -> None:
    """Add a metadata entry to a .tflite file, atomically."""
    model = read(path)
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(content, np.uint8)
    entry = schema.MetadataT()
    entry.name, entry.buffer = name, len(model.buffers)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    write(model, path)


def write(model: schema.ModelT, path: Path) -> None:
    """Write a model to a .tflite file, atomically."""
    content = pack(model)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def pack(model: schema.ModelT) -> bytes:
    """Return the bytes of a .tflite file, with its buffers aligned as the schema requires."""
    for buffer in model.buffers:
        buffer.__class__ = _AlignedBuffer
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


class _AlignedBuffer(schema.BufferT):
    def Pack(self, builder: flatbuffers.Builder) -> int:  # noqa: N802  (the generated code's name)
        vector = None
        if self.data is not None:
            content = bytes(np.asarray(self.data, np.uint8))
            builder.StartVector(1, len(content), ALIGNMENT)
            builder.head -= len(content)
            builder.Bytes[builder.head : builder.head + len(content)] = content
            vector = builder.EndVector()
        schema.BufferStart(builder)
        if vector is not None:
            schema.BufferAddData(builder, vector)
        schema.BufferAddOffset(builder, self.offset)
        schema.BufferAddSize(builder, self.size)
        return schema.BufferEnd(builder)
