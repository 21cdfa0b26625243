import gzip
import shutil

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.slim import CONVERTERS, slim
from compression.recipes.language import parse
from compression.runtime import litert
from tests.compression.conftest import small
from zoo.console.errors import UsageError

NOTES = {"note": b"something to keep", "other": b"something else"}
WIDE = {"filters": (16, 24), "units": 32}
# Together they cover per-channel scales, int4 and float16, several graphs, variables and shared shapes.
KINDS = {
    "int8": ("cnn", "image", {}, "int8", "auto"),
    "float16": ("cnn", "image", WIDE, "float16", "auto"),
    "dynamic": ("cnn", "image", WIDE, "dynamic", "auto"),
    "int4": ("cnn", "image", WIDE, "int4", "auto"),
    "loop": ("lstm", "tokens", {}, "dynamic", "loop"),
    "unrolled": ("lstm", "image", {}, "int8", "unrolled"),
    "fused": ("lstm", "image", {}, "int8", "fused"),
    "attention": ("self_attention", "tokens", {}, "int8", "auto"),
}
SLOW = ("float16", "dynamic", "unrolled", "fused", "attention")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """Return a function from a kind to the path of its file and its examples."""
    folder, made = tmp_path_factory.mktemp("slim"), {}

    def of(kind):
        if kind not in made:
            name, data, settings, recipe, kernel = KINDS[kind]
            model, interface, x = small(name, data, **settings)
            path = folder / f"{kind}.tflite"
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(tflite, "slim", lambda *args, **options: None)  # otherwise export slims the file
                tflite.export(model, path, parse(recipe), interface, calibration=x, kernel=kernel, metadata=NOTES)
            made[kind] = path, x
        return made[kind]

    return of


@pytest.fixture
def copy(exported, tmp_path):
    def of(kind):
        path, x = exported(kind)
        return path, shutil.copy(path, tmp_path / path.name), x

    return of


def without_delegate(path, x):
    """Return the outputs of LiteRT's reference kernels, without XNNPACK."""
    interpreter = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner("serving_default")
    ((name, details),) = runner.get_input_details().items()
    answers = []
    for example in x:
        interpreter.reset_all_variables()
        answers.append(runner(**{name: litert.quantized(example[None], details)})["probabilities"].copy())
    return np.stack(answers)


def nameless(model):
    return [{**row, "name": ""} for row in flatbuffer.constants(model)]


def gzipped(path):
    return len(gzip.compress(path.read_bytes(), 9, mtime=0))


@pytest.mark.parametrize("kind", [pytest.param(k, marks=[pytest.mark.slow] * (k in SLOW)) for k in KINDS])
def test_a_slim_file_is_smaller_with_equal_outputs_signature_and_constants(kind, copy):
    path, slimmed, x = copy(kind)
    before = flatbuffer.read(path)
    sizes = slim(slimmed, names=False)
    after = flatbuffer.read(slimmed)
    assert sizes == {"before": path.stat().st_size, "after": slimmed.stat().st_size}
    constant = sum(row["bytes"] for row in flatbuffer.constants(before))
    assert sizes["after"] - constant < 0.65 * (sizes["before"] - constant)
    assert gzipped(slimmed) < gzipped(path)
    for look in (flatbuffer.signature, flatbuffer.operators, flatbuffer.keeps_state):
        assert look(before) == look(after)
    assert sorted(nameless(before), key=repr) == sorted(nameless(after), key=repr)
    np.testing.assert_array_equal(litert.run(slimmed, x), litert.run(path, x))
    np.testing.assert_array_equal(without_delegate(slimmed, x), without_delegate(path, x))


@pytest.mark.parametrize("kind", ["int8", "loop"])
def test_names_are_kept_unless_dropped(kind, copy):
    path, slimmed, _ = copy(kind)
    before = flatbuffer.read(path)
    with_names = slim(slimmed)["after"]
    after = flatbuffer.read(slimmed)
    for look in (flatbuffer.constants, flatbuffer.output_names):
        assert look(before) == look(after)
    assert [graph.name for graph in before.subgraphs] == [graph.name for graph in after.subgraphs]
    assert with_names < path.stat().st_size
    assert slim(slimmed, names=False)["after"] < with_names
    assert set(flatbuffer.output_names(flatbuffer.read(slimmed))) == {""}


def test_only_converter_metadata_and_listed_entries_are_dropped(copy):
    path, slimmed, _ = copy("float16")
    assert set(CONVERTERS) < set(flatbuffer.metadata_sizes(flatbuffer.read(path)))
    kept = slim(slimmed)["after"]
    found = flatbuffer.read(slimmed)
    # The runtime reads reduced_precision_support: it allows a delegate to compute in float16.
    assert set(flatbuffer.metadata_sizes(found)) == {*NOTES, "reduced_precision_support"}
    assert all(flatbuffer.metadata(found, name) == content for name, content in NOTES.items())
    assert slim(slimmed, drop=["note"])["after"] < kept
    assert set(flatbuffer.metadata_sizes(flatbuffer.read(slimmed))) == {"other", "reduced_precision_support"}


def test_equal_parts_are_stored_once(copy):
    _, slimmed, _ = copy("attention")
    slim(slimmed, names=False)
    content = slimmed.read_bytes()
    graph = schema.Model.GetRootAs(content, 0).Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    tables = [tensor._tab for tensor in tensors]
    assert len({table.Pos for table in tables}) < len(tables)
    shaped = [table for table in tables if table.Offset(4)]
    shapes = {tuple(tensor.ShapeAsNumpy()) for tensor in tensors if not tensor.ShapeIsNone()}
    assert len({table.Vector(table.Offset(4)) for table in shaped}) == len(shapes) < len(shaped)
    quantized = [tensor.Quantization() for tensor in tensors if tensor.Quantization()]
    assert len({table._tab.Pos for table in quantized}) < len(quantized)


def test_data_are_aligned_for_block_reads(copy):
    _, slimmed, _ = copy("attention")
    slim(slimmed)
    model = schema.Model.GetRootAs(slimmed.read_bytes(), 0)
    sizes = set()
    for i in range(1, model.BuffersLength()):
        table, size = model.Buffers(i)._tab, model.Buffers(i).DataLength()
        aligned = flatbuffer.ALIGNMENT if size >= flatbuffer.ALIGNMENT else size & -size
        assert table.Vector(table.Offset(4)) % aligned == 0
        sizes.add(size >= flatbuffer.ALIGNMENT)
    assert sizes == {True, False}


def test_slim_is_idempotent(copy):
    _, slimmed, _ = copy("int8")
    slim(slimmed)
    content = slimmed.read_bytes()
    slim(slimmed)
    assert slimmed.read_bytes() == content


def test_a_damaged_file_is_refused_and_unchanged(tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(b"no model")
    with pytest.raises(UsageError, match="TFLite flatbuffer"):
        slim(path)
    assert path.read_bytes() == b"no model"
