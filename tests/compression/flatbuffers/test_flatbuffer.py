import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer, slim
from compression.recipes.language import parse
from compression.runtime import litert
from tests.compression.conftest import small
from zoo.console.errors import Failed, UsageError


@pytest.fixture(scope="module")
def int4_file(tmp_path_factory):
    model, interface, x = small("cnn")
    path = tmp_path_factory.mktemp("int4") / "model.tflite"
    tflite.export(model, path, parse("int4(rounding=nearest)"), interface)
    return model, path, x


def test_constants_match_those_of_the_interpreter(int4_file):
    _, path, _ = int4_file
    interpreter = Interpreter(str(path))
    held = {d["name"]: (interpreter.get_tensor(d["index"]), d) for d in _constant_details(interpreter, path)}
    rows = {row["name"]: row for row in flatbuffer.constants(flatbuffer.read(path))}
    assert "int4" in {row["type"] for row in rows.values()}
    assert set(held) == set(rows)
    for name, (values, details) in held.items():
        row = rows[name]
        assert row["shape"] == list(details["shape"]), name
        if row["type"] != "int4":  # the interpreter returns packed int4
            assert row["distinct"] == len(np.unique(values)), name
            assert row["zeros"] == int((values == row.get("zero_point", 0)).sum()), name


def _constant_details(interpreter, path):
    names = {row["name"] for row in flatbuffer.constants(flatbuffer.read(path))}
    return [d for d in interpreter.get_tensor_details() if d["name"] in names]


def test_int4_values_are_the_rounded_weights(int4_file):
    model, path, _ = int4_file
    found = flatbuffer.read(path)
    tensor = next(t for t in found.subgraphs[0].tensors if b"head" in t.name and t.type == schema.TensorType.INT4)
    values = flatbuffer.stored_values(tensor, np.asarray(found.buffers[tensor.buffer].data, np.uint8))
    values = values.reshape(list(tensor.shape))  # (classes, inputs)
    kernel = np.asarray(model.head.kernel).T
    scales = np.asarray(tensor.quantization.scale)[:, None]
    np.testing.assert_allclose(values * scales, kernel, atol=scales.max() / 2 + 1e-6)


def test_adding_metadata_changes_nothing_else_and_keeps_buffers_aligned(int4_file, tmp_path):
    _, path, x = int4_file
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(path.read_bytes())
    flatbuffer.add_metadata(copy, "note", b"something to keep")
    before, after = flatbuffer.read(path), flatbuffer.read(copy)
    assert flatbuffer.metadata(after, "note") == b"something to keep"
    assert flatbuffer.metadata(before, "note") is None
    for look in (flatbuffer.constants, flatbuffer.operators, flatbuffer.signature):
        assert look(before) == look(after)
    np.testing.assert_array_equal(litert.run(copy, x), litert.run(path, x))
    packed = schema.Model.GetRootAs(copy.read_bytes(), 0)
    for i in range(packed.BuffersLength()):
        table = packed.Buffers(i)._tab
        if packed.Buffers(i).DataLength():
            assert table.Vector(table.Offset(4)) % flatbuffer.ALIGNMENT == 0


def test_damaged_files_are_usage_errors(int4_file, tmp_path):
    _, path, _ = int4_file
    content = path.read_bytes()
    bad = tmp_path / "bad.tflite"
    for damaged in (b"", b"PK\x03\x04 a zip file", b"\0" * 64, content[:40], content[: len(content) // 2]):
        bad.write_bytes(damaged)
        with pytest.raises(UsageError, match="TFLite flatbuffer"):
            flatbuffer.read(bad)
    with pytest.raises(UsageError, match="found none"):
        flatbuffer.read(tmp_path / "absent.tflite")
    with pytest.raises(UsageError, match="found a folder"):
        flatbuffer.read(tmp_path)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(int4_file, monkeypatch):
    monkeypatch.setattr(flatbuffer, "MOST_TABLES", 1000)
    _, path, _ = int4_file
    for name, count, message in (
        (b"a" * 10_000, 900, "names that are longer"),
        (b"a", 1_001, "1,0.. tables"),
    ):
        model = flatbuffer.read(path)
        tensor = model.subgraphs[0].tensors[0]
        tensor.name = name
        model.subgraphs[0].tensors = [tensor] * count
        builder = slim._Builder(1 << 20)  # stores equal tables and texts once
        builder.Finish(model.Pack(builder), flatbuffer.IDENTIFIER)
        with pytest.raises(
            UsageError, match=f"big.tflite: a TFLite flatbuffer that is cut short or altered .*{message}"
        ):
            flatbuffer.parse(bytes(builder.Output()), "big.tflite")


def test_metadata_without_a_buffer(int4_file):
    _, path, _ = int4_file
    model = flatbuffer.read(path)
    entry = schema.MetadataT()
    entry.name, entry.buffer = b"note", 0
    model.metadata = [entry]
    assert flatbuffer.metadata(flatbuffer.parse(flatbuffer.pack(model), "a"), "note") == b""
    entry.buffer = len(model.buffers)
    with pytest.raises(UsageError, match="altered .index"):
        flatbuffer.parse(flatbuffer.pack(model), "a")


def test_whole_numbers_are_not_changed_by_the_type_of_an_input():
    given = {"dtype": np.int8, "quantization": (0.0, 0)}
    assert litert.quantized(np.array([1, 127]), given).dtype == np.int8
    for bad in ([300], [-129], [2**32], [0.5]):
        with pytest.raises(ValueError, match="expected whole numbers that int8 holds"):
            litert.quantized(np.array(bad), given)


def test_flipped_bytes_never_crash_this_process(int4_file, tmp_path):
    _, path, x = int4_file
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(0)
    outcomes = set()
    for place in rng.integers(8, len(content), 12):
        flipped = content.copy()
        flipped[place] ^= 0xFF
        bad = tmp_path / "flipped.tflite"
        bad.write_bytes(flipped)
        try:
            litert.run(bad, x[:1])
            outcomes.add("ran")
        except (UsageError, Failed) as error:
            assert str(bad) in str(error)
            outcomes.add("refused")
    assert outcomes
