"""Make a .tflite file smaller without changing its outputs: drop unused fields and store equal parts once.

Some fields look redundant but are needed by LiteRT 2.3. Without scales for a bias or a shape for an activation, XNNPACK
leaves the operator to other kernels, which round differently. XNNPACK fails if the bias of a per-channel kernel has a
single scale. The loader requires as many zero points as scales.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers.number_types import UOffsetTFlags

from compression.flatbuffers import flatbuffer
from zoo.system.files import replacing

# Metadata entries of the converter. Others may matter to the runtime, such as `reduced_precision_support`.
CONVERTERS = ("min_runtime_version", "CONVERSION_METADATA")


def slim(path: Path, *, names: bool = True, drop: Collection[str] = ()) -> dict[str, int]:
    """Rewrite a .tflite file, atomically, in fewer bytes; its outputs stay bit-identical.

    Adding metadata afterwards with `flatbuffer.add_metadata` undoes the sharing of equal parts.

    Args:
        path: Path of the file.
        names: Whether to keep the names of tensors and graphs, by which `compression.inspect` finds layers. Names in
            the signature are always kept.
        drop: Names of metadata entries to remove besides the converter's own.

    Returns:
        Number of bytes "before" and "after".

    Raises:
        UsageError: The file is not a complete TFLite file.
    """
    model, before = flatbuffer.read(path), path.stat().st_size
    model.description = model.metadataBuffer = None
    unwanted = {name.encode() for name in (*CONVERTERS, *drop)}
    model.metadata = [entry for entry in model.metadata or () if entry.name not in unwanted] or None
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
        code.deprecatedBuiltinCode = 0  # read only by runtimes before TensorFlow 2.4
    for graph in model.subgraphs:
        graph.name = graph.name if names else None
        for tensor in graph.tensors:
            _slim_tensor(tensor, names)
    _share_buffers(model)
    builder = _Builder(1 << 20)
    builder.Finish(model.Pack(builder), flatbuffer.IDENTIFIER)
    content = bytes(builder.Output())
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return {"before": before, "after": len(content)}


def _slim_tensor(tensor: schema.TensorT, names: bool) -> None:
    if not names:
        tensor.name = None
    if np.array_equal(tensor.shape, tensor.shapeSignature):
        tensor.shapeSignature = None
    if tensor.shape is not None and len(tensor.shape):
        tensor.hasRank = False  # only distinguishes a scalar from a tensor of unknown shape
    found = tensor.quantization
    if found is not None:
        found.min = found.max = None  # calibration ranges, already reflected in scale and zero point
        if found.details is None and (found.scale is None or not len(found.scale)):
            tensor.quantization = None


def _share_buffers(model: schema.ModelT) -> None:
    """Keep one buffer per distinct content in use; buffer 0 stands for tensors without data."""
    places: dict[bytes | None, int] = {None: 0}
    for user in [*(tensor for graph in model.subgraphs for tensor in graph.tensors), *(model.metadata or ())]:
        data = model.buffers[user.buffer].data
        user.buffer = places.setdefault(None if data is None else bytes(data), len(places))
    model.buffers = [schema.BufferT(None if data is None else np.frombuffer(data, np.uint8)) for data in places]


class _Builder(flatbuffers.Builder):
    """Flatbuffer builder that writes equal strings, numeric vectors and tables once and refers to the same copy.

    It writes the fields of a table when the table ends, ordered by size, so that there is no padding between them.
    """

    def __init__(self, size: int):
        super().__init__(size)
        self._places: dict[Any, int] = {}
        self._fields: list[tuple[Any, int, Any]] = []

    def CreateString(self, s: str | bytes, *options: str) -> int:  # noqa: N802  (overrides a flatbuffers method)
        if s not in self._places:
            self._places[s] = super().CreateString(s, *options)
        return self._places[s]

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        key = (x.dtype, x.tobytes())
        if key not in self._places:
            if x.dtype == np.uint8:
                self.Prep(_alignment(x.size), x.size)
            self._places[key] = super().CreateNumpyVector(x)
        return self._places[key]

    def StartObject(self, numfields: int) -> None:  # noqa: N802
        super().StartObject(numfields)
        self._fields = []

    def PrependSlot(self, flags: Any, o: int, x: Any, d: Any) -> None:  # noqa: N802
        if x != d:
            self._fields.append((flags, o, x))

    def PrependUOffsetTRelativeSlot(self, o: int, x: int, d: int) -> None:  # noqa: N802
        if x != d:
            self._fields.append((UOffsetTFlags, o, x))

    def EndObject(self) -> int:  # noqa: N802
        key = tuple(self._fields)
        if key in self._places:
            self.nested = False
        else:
            self._write_fields(sorted(key, key=lambda field: field[0].bytewidth))
            self._places[key] = super().EndObject()
        return self._places[key]

    def _write_fields(self, fields: list[tuple[Any, int, Any]]) -> None:
        small = sum(flags.bytewidth for flags, _, _ in fields if flags.bytewidth < UOffsetTFlags.bytewidth)
        self.Prep(UOffsetTFlags.bytewidth, small)  # any padding this adds lies outside the table
        self.objectEnd = self.Offset()
        for flags, o, x in fields:
            if flags is UOffsetTFlags:
                self.PrependUOffsetTRelative(x)
            else:
                self.Prepend(flags, x)
            self.Slot(o)


def _alignment(size: int) -> int:
    """Return the alignment for `size` bytes of data: the schema's, or less for data shorter than that.

    Short data is aligned to the largest power of two that divides its size, which is at least the size of one value.
    """
    return flatbuffer.ALIGNMENT if size >= flatbuffer.ALIGNMENT else max(size & -size, 1)
