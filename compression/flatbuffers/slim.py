"""The same .tflite file in fewer bytes: without what the runtime does not read, and with nothing written twice.

Tried, and refused by LiteRT 2.3: XNNPACK leaves operators to other kernels, with other roundings, where a bias has no
scales or an activation no shape, and fails where the bias of a per-channel kernel has one scale. The loader asks for as
many zero points as scales.
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

# What the converter notes about itself. Other entries may be for the runtime, as `reduced_precision_support` is.
CONVERTERS = ("min_runtime_version", "CONVERSION_METADATA")


def slim(path: Path, *, names: bool = True, drop: Collection[str] = ()) -> dict[str, int]:
    """Rewrite a .tflite file, atomically, in fewer bytes that give the same outputs, bit by bit.

    Entries added to it later, by `flatbuffer.add_metadata`, undo the sharing of equal parts.

    Args:
        path: of the file.
        names: keep the names of tensors and graphs, by which `compression.inspect` finds layers; those of the signature
            stay in any case.
        drop: metadata entries to leave out besides the converter's own.

    Returns:
        the bytes before and after.

    Raises:
        UsageError: it is not a whole TFLite file.
    """
    model, before = flatbuffer.read(path), path.stat().st_size
    model.description = model.metadataBuffer = None
    unwanted = {name.encode() for name in (*CONVERTERS, *drop)}
    model.metadata = [entry for entry in model.metadata or () if entry.name not in unwanted] or None
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
        code.deprecatedBuiltinCode = 0  # what runtimes read before TensorFlow 2.4
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
        tensor.hasRank = False  # it tells a scalar from a tensor of unknown shape
    found = tensor.quantization
    if found is not None:
        found.min = found.max = None  # of calibration, which scale and zero point came from
        if found.details is None and (found.scale is None or not len(found.scale)):
            tensor.quantization = None


def _share_buffers(model: schema.ModelT) -> None:
    """Leave one buffer of every content that is used; the first is that of everything without data."""
    places: dict[bytes | None, int] = {None: 0}
    for user in [*(tensor for graph in model.subgraphs for tensor in graph.tensors), *(model.metadata or ())]:
        data = model.buffers[user.buffer].data
        user.buffer = places.setdefault(None if data is None else bytes(data), len(places))
    model.buffers = [schema.BufferT(None if data is None else np.frombuffer(data, np.uint8)) for data in places]


class _Builder(flatbuffers.Builder):
    """Writes equal strings, vectors of numbers and tables once; whatever holds them points to the same place.

    The fields of a table are put down when it ends, ordered by size, so that there are no gaps between them.
    """

    def __init__(self, size: int):
        super().__init__(size)
        self._places: dict[Any, int] = {}
        self._fields: list[tuple[Any, int, Any]] = []

    def CreateString(self, s: str | bytes, *options: str) -> int:  # noqa: N802  (the names are flatbuffers')
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
            self._put_down(sorted(key, key=lambda field: field[0].bytewidth))
            self._places[key] = super().EndObject()
        return self._places[key]

    def _put_down(self, fields: list[tuple[Any, int, Any]]) -> None:
        small = sum(flags.bytewidth for flags, _, _ in fields if flags.bytewidth < UOffsetTFlags.bytewidth)
        self.Prep(UOffsetTFlags.bytewidth, small)  # what this skips is outside of the table
        self.objectEnd = self.Offset()
        for flags, o, x in fields:
            if flags is UOffsetTFlags:
                self.PrependUOffsetTRelative(x)
            else:
                self.Prepend(flags, x)
            self.Slot(o)


def _alignment(size: int) -> int:
    """Return the alignment of data of `size` bytes: that of the schema, or less where no block that large can be read.

    The largest power of two in the size is never less than the size of one value.
    """
    return flatbuffer.ALIGNMENT if size >= flatbuffer.ALIGNMENT else max(size & -size, 1)
