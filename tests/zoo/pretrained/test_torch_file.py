"""Files of PyTorch before 1.6, written here by pickling names of functions that are not called."""

import io
import pickle
import struct
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest

from zoo.console.errors import UsageError
from zoo.pretrained import torch_file


class Described:
    """Stands for a tensor: pickled as a call of PyTorch's function with a storage."""

    def __init__(self, key, values, strides, offset=0):
        self.key, self.values, self.strides, self.offset = key, values, strides, offset

    def __reduce__(self):
        arguments = (Storage(self.key, self.values.size), self.offset, self.values.shape, self.strides, False, None)
        return sys.modules["torch._utils"]._rebuild_tensor_v2, arguments


class Storage:
    def __init__(self, key, count):
        self.key, self.count = key, count


def written(tensors, storages, monkeypatch, magic=torch_file.MAGIC):
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch.FloatStorage = type("FloatStorage", (), {"__module__": "torch", "__qualname__": "FloatStorage"})

    def _rebuild_tensor_v2():
        raise AssertionError("called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, Storage):
                return ("storage", torch.FloatStorage, obj.key, "cpu", obj.count, None)
            return None

    stream = io.BytesIO()
    for part in (magic, 1001, {}, OrderedDict(tensors), list(storages)):
        Pickler(stream, protocol=2).dump(part)
    for values in storages.values():
        stream.write(struct.pack("<q", values.size) + values.astype("<f4").tobytes())
    return stream.getvalue()


def test_tensors_are_read_in_any_order_of_their_axes(monkeypatch):
    rows = np.arange(6, dtype="float32").reshape(2, 3)
    parts = {"rows": Described("1", rows, (3, 1)), "columns": Described("2", rows, (1, 2))}
    content = written(parts, {"1": rows, "2": rows.T}, monkeypatch)
    found = torch_file.tensors(content, "file")
    assert list(found) == ["rows", "columns"]
    np.testing.assert_array_equal(found["rows"], rows)
    np.testing.assert_array_equal(found["columns"], rows)


def test_a_tensor_outside_of_its_values_is_refused(monkeypatch):
    rows = np.ones((2, 3), "float32")
    content = written({"rows": Described("1", rows, (4, 1))}, {"1": rows}, monkeypatch)
    with pytest.raises(UsageError, match="file: expected tensors .*; a tensor lies outside of its values"):
        torch_file.tensors(content, "file")


@pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps(torch_file.MAGIC), pickle.dumps(3)])
def test_other_content_is_refused(content):
    with pytest.raises(UsageError, match="file: expected tensors that torch.save wrote"):
        torch_file.tensors(content, "file")


def test_no_other_function_is_called(tmp_path):
    content = b"".join(map(pickle.dumps, (torch_file.MAGIC, 1001, {}))) + b"cos\nsystem\n(S'touch called'\ntR."
    with pytest.raises(UsageError, match="names os.system"):
        torch_file.tensors(content, "file")
