import keras
import numpy as np
import pytest

from compression import api
from compression.devices import micro
from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.receipts.receipt import measure
from compression.recipes.language import parse
from compression.runtime import litert
from compression.surgery.kernels import recurrent_layers
from compression.tasks.classification import ClassSubject
from tests.compression.conftest import AS_THEY_ARE, small
from zoo.console.errors import Failed, UsageError
from zoo.data import Split
from zoo.isolation import child
from zoo.runs.folder import pretrained

SLOW = pytest.mark.slow


def exported(folder, model, interface, recipe, x, **options):
    path = folder / "model.tflite"
    tflite.export(model, path, parse(recipe), interface, calibration=x, **options)
    return path, litert.run(path, x)


def keras_probabilities(model, x):
    return keras.ops.convert_to_numpy(keras.ops.softmax(model(x)))


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("simplenet", "image", marks=SLOW),
        ("cnn", "image"),
        pytest.param("lstm", "image", marks=SLOW),  # every kernel is tested below
        ("lstm", "tokens"),
        ("self_attention", "image"),
        pytest.param("self_attention", "tokens", marks=SLOW),
    ],
)
def test_float32_equals_keras(name, kind, tmp_path):
    model, interface, x = small(name, kind)
    _, found = exported(tmp_path, model, interface, "float32", x)
    np.testing.assert_allclose(found, keras_probabilities(model, x), atol=1e-5)


@pytest.mark.parametrize(
    ("recipe", "types", "ends", "tolerance", "refused_by_micro"),
    [
        pytest.param("float16", {"float16"}, ("float32", "float32"), 2e-3, "float16 weights (DEQUANTIZE)", marks=SLOW),
        ("dynamic", {"int8"}, ("float32", "float32"), 2e-2, "int8 weights for float32 activations (CONV_2D)"),
        ("int8", {"int8"}, ("int8", "int8"), 2e-2, ""),
        pytest.param("int8(io=float32)", {"int8"}, ("float32", "float32"), 2e-2, "", marks=SLOW),
        ("int16x8", {"int8"}, ("int16", "int16"), 2e-2, ""),
        ("int4", {"int4"}, ("float32", "float32"), 2e-1, "int4 weights for float32 activations (CONV_2D)"),
    ],
)
def test_precisions_have_their_types_and_stay_near_keras(recipe, types, ends, tolerance, refused_by_micro, tmp_path):
    # Wide enough for dynamic-range quantization, which skips kernels with fewer than 1,024 values.
    model, interface, x = small("cnn", filters=(16, 24), units=32)
    path, found = exported(tmp_path, model, interface, recipe, x)
    content = flatbuffer.read(path)
    assert types <= {row["type"] for row in flatbuffer.constants(content) if row["elements"] > 1024}
    signature = flatbuffer.signature(content)
    assert (signature["inputs"][0]["type"], signature["outputs"][0]["type"]) == ends
    assert signature["inputs"][0]["name"] == "image" and signature["outputs"][0]["name"] == "probabilities"
    np.testing.assert_allclose(found, keras_probabilities(model, x), atol=tolerance)
    reasons = micro.hindrances(content)
    assert refused_by_micro in reasons[0] if refused_by_micro else not reasons


def test_only_skipped_layers_stay_float32(tmp_path):
    model, interface, x = small("cnn", filters=(16, 24), units=32)
    for recipe in ("int8(skip=hidden)", "int4(skip=hidden)"):
        path, found = exported(tmp_path, model, interface, recipe, x)
        kinds = {
            row["shape"][0]: row["type"]
            for row in flatbuffer.constants(flatbuffer.read(path))
            if len(row["shape"]) > 1 and row["elements"] > 1000
        }
        assert kinds[32] == "float32", recipe  # `hidden`, with 32 units
        assert kinds[24] == recipe[:4], recipe  # the second convolution
        np.testing.assert_allclose(found, keras_probabilities(model, x), atol=0.2)


# unrolled is slow, and the int8 tests below cover it.
@pytest.mark.parametrize("kernel", ["loop", pytest.param("unrolled", marks=SLOW), pytest.param("fused", marks=SLOW)])
def test_lstm_kernels_agree_with_keras_and_restore_the_model(kernel, tmp_path):
    model, interface, x = small("lstm")
    path, found = exported(tmp_path, model, interface, "float32", x, kernel=kernel)
    np.testing.assert_allclose(found, keras_probabilities(model, x), atol=1e-5)
    content = flatbuffer.read(path)
    operators = set(flatbuffer.operators(content))
    assert ("WHILE" in operators) == (kernel == "loop")
    assert ("UNIDIRECTIONAL_SEQUENCE_LSTM" in operators) == (kernel == "fused")
    # A fused LSTM must be reset between calls; then the same example twice gives the same output.
    assert flatbuffer.keeps_state(content) == (kernel == "fused")
    np.testing.assert_array_equal(*litert.run(path, np.repeat(x[:1], 2, 0)))
    assert all(not layer.unroll and "call" not in vars(layer) for layer in recurrent_layers(model))


@pytest.mark.parametrize(("cell", "kernel"), [("gru", "auto"), pytest.param("lstm", "fused", marks=SLOW)])
def test_recurrent_layers_in_int8(cell, kernel, tmp_path):
    model, interface, x = small("lstm", cell=cell)
    path, found = exported(tmp_path, model, interface, "int8", x, kernel=kernel)
    np.testing.assert_allclose(found, keras_probabilities(model, x), atol=3e-2)
    assert "float32" not in {row["type"] for row in flatbuffer.constants(flatbuffer.read(path))}


def test_recurrent_layers_over_any_number_of_steps_in_int8(tmp_path):
    """The file has the number of steps of its interface; the model's own is free, and cannot be written out."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Masking(), keras.layers.LSTM(4), keras.layers.Dense(2)]
    model = keras.Sequential([keras.Input((None, 3)), *layers])
    x = np.random.default_rng(0).standard_normal((32, 5, 3)).astype("float32")
    _, found = exported(tmp_path, model, Interface("x", (5, 3), output="y"), "int8", x, probabilities=False)
    expected = model.predict(x, verbose=0)
    assert np.abs(found - expected).max() < 0.05 * np.abs(expected).max()


@SLOW
def test_layer_normalization_in_16_bits(tmp_path):
    model, interface, x = small("self_attention")
    _, found = exported(tmp_path, model, interface, "int16x8", x)
    np.testing.assert_allclose(found, keras_probabilities(model, x), atol=3e-2)


@pytest.mark.parametrize("form", [pytest.param("sequential", marks=SLOW), "functional"])
def test_a_users_keras_model_with_a_batch_of_four(form, tmp_path):
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(7, "relu"), keras.layers.LayerNormalization(), keras.layers.Dense(3)]
    source = keras.Input((5,))
    y = source
    for layer in layers:
        y = layer(y)
    model = keras.Model(source, y) if form == "functional" else keras.Sequential([source, *layers])
    interface = Interface("features", (5,), batch=4, output="scores")
    x = np.random.default_rng(0).normal(size=(10, 5)).astype("float32")  # the last batch is padded
    path, found = exported(tmp_path, model, interface, "float32", x, probabilities=False)
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(model(x)), atol=1e-5)
    assert flatbuffer.signature(flatbuffer.read(path))["inputs"][0]["shape"] == [4, 5]
    assert tflite.layer_paths(model, ["dense*"]) == [p for p in tflite.layer_paths(model) if p.startswith("dense")]


@pytest.mark.parametrize(
    ("name", "kind", "settings", "recipe", "kernel", "words"),
    [
        ("lstm", "image", {}, "int8", "loop", ["loop", "int8", "use unrolled or fused"]),
        ("lstm", "image", {"cell": "gru"}, "float32", "fused", ["only LSTM has a fused operator", "GRU"]),
        ("lstm", "tokens", {}, "float32", "fused", ["takes no mask"]),
        ("lstm", "image", {}, "int16x8", "fused", ["no int16x8 form"]),
        ("lstm", "image", {}, "int8(skip=recurrent_1)", "fused", ["one precision"]),
        ("lstm", "tokens", {}, "int16x8", "auto", ["whole-number inputs"]),
        ("cnn", "image", {}, "float32", "unrolled", ["no recurrent layers"]),
        ("cnn", "image", {}, "int8(skip=haed)", "auto", ["no layer of this name", "did you mean 'head'"]),
    ],
)
def test_unsupported_exports_are_refused_before_work_starts(
    name, kind, settings, recipe, kernel, words, monkeypatch, tmp_path
):
    model, interface, x = small(name, kind, **settings)
    monkeypatch.setattr(child, "run", None)  # fails if called
    with pytest.raises(UsageError) as error:
        exported(tmp_path, model, interface, recipe, x, kernel=kernel)
    assert all(word in str(error.value) for word in words), error.value
    assert not list(tmp_path.iterdir())


def test_models_that_cannot_be_exported_are_refused(tmp_path, monkeypatch):
    path, interface = tmp_path / "m.tflite", Interface("features", (5,))
    with pytest.raises(UsageError, match="expected a built model"):
        tflite.export(keras.Sequential([keras.layers.Dense(3)]), path, parse("float32"), interface)
    source = keras.Input((5,))
    two = keras.Model(source, [keras.layers.Dense(3)(source), keras.layers.Dense(2)(source)])
    with pytest.raises(UsageError, match="expected one output, received a list"):
        tflite.export(two, path, parse("float32"), interface)
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(UsageError, match="needs Keras on TensorFlow, it runs on jax"):
        tflite.export(two, path, parse("float32"), interface)
    assert not list(tmp_path.iterdir())


def test_calibration_without_examples_is_refused(tmp_path):
    model, interface, _ = small("simplenet")
    with pytest.raises(UsageError, match="examples to calibrate with"):
        tflite.export(model, tmp_path / "m.tflite", parse("int8"), interface)


def test_a_crash_of_the_converter_is_an_error_message(tmp_path):
    model, interface, x = small("lstm")
    tflite.save(model, tmp_path / "saved_model", interface, "loop")
    np.savez(tmp_path / "examples.npz", image=x)
    file = {
        "output": tmp_path / "model.tflite",
        "precision": "int8",
        "integer_io": True,
        "integer_input": True,
        "integer_output": True,
    }
    job = {
        "saved_model": tmp_path / "saved_model",
        "functions": None,
        "rolled_out": False,
        "calibration": tmp_path / "examples.npz",
        "batch": 1,
        "allow_flex": False,
        "ranges": {},
        "files": [{**file, "skip": [], "per_tensor": False, **AS_THEY_ARE}],
    }
    with pytest.raises(Failed, match="SIGSEGV"):  # if a converter no longer crashes here, `tflite.check` can allow it
        child.run("compression.exporting.converter", job, seconds=200)


@pytest.mark.parametrize("kind", ["loop", *(pytest.param(kind, marks=SLOW) for kind in ("cells", "convolutional"))])
def test_loops_are_written_out_or_refused_in_integers(kind, tmp_path):
    """The converter crashes on a loop. Recurrent layers with cells of one's own have no class of their own."""

    class Halved(keras.layers.Layer):
        def call(self, x):
            return keras.ops.while_loop(lambda i, v: i < 3, lambda i, v: (i + 1, v / 2), (0, x))[1]

    shape = (4, 6, 6, 2) if kind == "convolutional" else (4, 5)
    cells = [keras.layers.GRUCell(4), keras.layers.LSTMCell(3)]
    layer = {"cells": keras.layers.RNN(cells), "convolutional": keras.layers.ConvLSTM2D(2, 3), "loop": Halved()}[kind]
    inputs = keras.Input(shape)
    model = keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Flatten()(layer(inputs))))
    x = np.random.default_rng(0).standard_normal((32, *shape)).astype("float32")
    if kind == "loop":
        with pytest.raises(UsageError, match="int8 of a loop crashes the TFLite converter, and this model has one"):
            api.compress(model, "int8", data=x, output=tmp_path)
        return
    made = api.compress(model, "int8", data={"train": x, "test": x}, output=tmp_path)
    expected = model.predict(x, verbose=0)
    assert np.abs(litert.run(made.path, x) - expected).max() < 0.05 * np.abs(expected).max()


def test_a_conversion_has_a_time_limit_and_leaves_nothing_behind(tmp_path):
    model, interface, x = small("simplenet")
    with pytest.raises(Failed, match="limit of 0.01 s"):
        exported(tmp_path, model, interface, "float32", x, seconds=0.01)
    assert not list(tmp_path.iterdir())


def test_flex_operators_are_refused_unless_allowed(tmp_path):
    class Needy(keras.layers.Layer):
        def __init__(self, operation):
            super().__init__()
            self.operation = operation

        def call(self, x):
            return self.operation(x * 0.5)

    x = np.random.default_rng(0).uniform(-1, 1, (6, 4)).astype("float32")
    interface = Interface("features", (4,))

    def needing(operation):
        return keras.Sequential([keras.Input((4,)), Needy(operation), keras.layers.Dense(3)])

    model = needing(keras.ops.cosh)  # not a TFLite operator, but available through Flex
    with pytest.raises(UsageError, match="FlexCosh.*--allow-flex"):
        tflite.export(model, tmp_path / "model.tflite", parse("float32"), interface)
    path = tmp_path / "model.tflite"
    tflite.export(model, path, parse("float32"), interface, allow_flex=True)
    assert flatbuffer.flex(flatbuffer.read(path)) == ["FlexCosh"]
    with pytest.raises(UsageError, match="cannot be run here"):
        litert.run(path, x)
    receipt = measure(path, ClassSubject(model, interface, Split(x, np.zeros(6, np.int32))))
    assert receipt["flex"] == ["FlexCosh"] and "cannot be run" in receipt["not_run"] and "test" not in receipt
    with pytest.raises(UsageError, match="no TFLite file can hold: Erfinv"):  # not even available through Flex
        tflite.export(needing(keras.ops.erfinv), path, parse("float32"), interface, allow_flex=True)


def test_parallel_interpreters_agree_with_one_bit_for_bit():
    from ai_edge_litert.interpreter import Interpreter

    file = pretrained("cnn-digits").path / "artifacts" / "float32.tflite"
    interpreter = Interpreter(str(file))
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.allocate_tensors()
    x = np.random.default_rng(0).random((litert.PART + 301, *source["shape"][1:]), np.float32)
    expected = []
    for example in x:
        interpreter.set_tensor(source["index"], example[None])
        interpreter.invoke()
        expected.append(interpreter.get_tensor(target["index"]))
    for threads in (1, 3):
        np.testing.assert_array_equal(litert.run(file, x, threads=threads), np.concatenate(expected))


def test_int16x8_of_volumes_is_refused_before_work_starts():
    model = keras.Sequential([keras.Input((4, 4, 4, 1)), keras.layers.Conv3D(2, 3, name="deep")])
    with pytest.raises(UsageError, match="int16x8: deep: TFLite has no convolution in three dimensions"):
        tflite.check(model, parse("int16x8"), Interface("x", (4, 4, 4, 1)))
