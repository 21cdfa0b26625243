"""compress, verify, sensitivity and the other formats on a run, as functions."""

import dataclasses
import json

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from compression.flatbuffers import flatbuffer
from compression.pipeline import formats, pipeline, sensitivity, source
from compression.receipts import artifacts, receipt
from compression.recipes.language import parse
from compression.recipes.options import Calibration, ExportOptions
from compression.runtime import litert
from compression.surgery import copying
from compression.tasks import classification
from tests.compression.conftest import CLASSES, small
from zoo.console.errors import UsageError
from zoo.data import Split
from zoo.data.dataset import Dataset, DataSpec
from zoo.introspection.layers import with_itself


@pytest.fixture(scope="module")
def loaded(image_run):
    return source.open_run(image_run, {}).load()


@pytest.fixture(scope="module")
def int8(loaded, image_run):
    model, data = loaded
    return pipeline.compress(model, data, "int8", image_run / "artifacts", provenance={"run": "run"})


def test_every_number_of_the_receipt_is_that_of_the_file(int8, loaded):
    model, data = loaded
    found, path = int8.receipt, int8.path
    assert json.loads(artifacts.receipt_path(path).read_text()) == json.loads(json.dumps(found))
    assert found["bytes"] == path.stat().st_size
    weights = sum(w.size for w in model.get_weights() if w.dtype == np.float32) * 4
    assert found["float32_weight_bytes"] == weights
    assert found["times_smaller"] == pytest.approx(weights / path.stat().st_size, abs=1e-3)
    x = data.test.x.astype("float32") / 255
    outputs = litert.run(path, x)
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(x)))
    assert found["test"]["litert"]["accuracy"] == accuracy_score(data.test.y, outputs.argmax(-1))
    assert found["test"]["keras"]["accuracy"] == accuracy_score(data.test.y, expected.argmax(-1))
    assert found["parity"]["largest_difference"] == pytest.approx(abs(outputs - expected).max(), abs=1e-6)
    assert found["test"]["examples"] == len(data.test)
    assert found["signature"]["inputs"][0]["type"] == "int8"
    assert found["made"]["calibration_examples"] == min(len(data.train), Calibration().examples)
    assert found["processor"]["name"] and found["versions"]["ai-edge-litert"]
    for row in found["latency"]:
        assert 0 < row["median_ms"] <= row["p95_ms"] and row["runs"] >= litert.LEAST_RUNS


def test_labels_and_preprocessing_are_beside_the_file_and_in_it(int8):
    assert int8.path.with_suffix(".labels.txt").read_text().split() == ["low", "middle", "high"]
    about = json.loads(flatbuffer.metadata(flatbuffer.read(int8.path), pipeline.METADATA))
    assert about == int8.receipt["about"]
    assert about["labels"] == ["low", "middle", "high"]
    assert about["input"] == {
        "name": "image",
        "kind": "image",
        "shape": [12, 12, 1],
        "values": "pixels from 0 to 1",
        "fit": "crop",
    }


def test_the_same_seed_gives_the_same_file(int8, loaded, tmp_path):
    again = pipeline.compress(*loaded, "int8", tmp_path)
    assert again.path.read_bytes() == int8.path.read_bytes()
    measured, differences = pipeline.verify(int8.path, *loaded)
    assert differences == [] and measured["sha256"] == int8.receipt["sha256"]


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda r: r["test"]["litert"].update(accuracy=0.5), "test.litert.accuracy"),
        (lambda r: r["parity"].update(largest_difference=0.9), "parity.largest_difference"),
        (lambda r: r["operators"].update(CONV_2D=7), "operators.CONV_2D"),
        (lambda r: r["constants"][0].update(zeros=1234), "constants[0].zeros"),
        (lambda r: r.update(gzip_bytes=1), "gzip_bytes"),
        (lambda r: r["test"].pop("sha256"), "test.sha256"),
    ],
)
def test_a_number_that_is_not_reproduced_is_named(int8, change, name):
    stored = json.loads(json.dumps(int8.receipt))
    change(stored)
    (text,) = receipt.differences(stored, {k: v for k, v in int8.receipt.items() if k in stored})
    assert text.startswith(f"{name}: the receipt says")


def test_latency_is_not_judged_and_rounding_of_keras_is_tolerated(int8):
    stored = json.loads(json.dumps(int8.receipt))
    stored["latency"][0]["median_ms"] = 1e9
    stored["parity"]["largest_difference"] += receipt.PROBABILITY_TOLERANCE / 2
    assert receipt.differences(stored, int8.receipt) == []


def test_an_altered_file_is_not_run(int8, loaded, tmp_path, monkeypatch):
    for file in (int8.path, artifacts.receipt_path(int8.path)):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    altered = tmp_path / int8.path.name
    content = bytearray(altered.read_bytes())
    content[len(content) // 2] ^= 1
    altered.write_bytes(content)
    monkeypatch.setattr(litert, "run", None)  # not reached
    with pytest.raises(UsageError, match="TFLite flatbuffer|altered since it was measured"):
        pipeline.verify(altered, *loaded)


def test_a_file_for_other_inputs_is_refused(int8, loaded):
    model, interface, x = small("cnn")
    with pytest.raises(UsageError, match=r"expected a file that takes \[1, 9, 10, 1\].*\[1, 12, 12, 1\]"):
        receipt.measure(int8.path, classification.ClassSubject(model, interface, Split(x, np.zeros(len(x), np.int32))))


@pytest.mark.parametrize("recipe", [pytest.param("float32", marks=pytest.mark.slow), "int8"])
def test_camera_bytes_are_scaled_inside_the_file(recipe, loaded, tmp_path):
    model, data = loaded
    made = pipeline.compress(model, data, recipe, tmp_path, export=ExportOptions(uint8=True))
    assert made.receipt["signature"]["inputs"][0]["type"] == "uint8"
    assert made.receipt["about"]["input"]["values"] == "bytes from 0 to 255"
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(data.test.x.astype("float32") / 255)))
    tolerance = 1e-5 if recipe == "float32" else 0.05
    np.testing.assert_allclose(litert.run(made.path, data.test.x), expected, atol=tolerance)


def test_camera_bytes_of_another_size_are_resized_inside_the_file(loaded, int8, tmp_path):
    made = pipeline.compress(*loaded, "float32", tmp_path, export=ExportOptions(uint8=True, input_size=(30, 24)))
    assert made.receipt["signature"]["inputs"][0]["shape"] == [1, 30, 24, 1]
    assert made.receipt["parity"]["largest_difference"] <= 1e-5
    assert made.path.name == "float32-uint8-30x24.tflite"
    # Keras is measured as it was trained, so what resizing loses is seen.
    assert made.receipt["test"]["keras"] == int8.receipt["test"]["keras"]


def test_camera_bytes_of_images_that_are_no_bytes_are_refused(loaded, tmp_path):
    model, data = loaded
    floats = Split(data.test.x.astype("float32") / 255, data.test.y)
    data = Dataset(data.spec, floats, floats, floats)
    with pytest.raises(UsageError, match="expected images of bytes, blobs has float32"):
        pipeline.compress(model, data, "float32", tmp_path, export=ExportOptions(uint8=True))


def test_verify_against_data_of_another_shape_is_refused(int8, loaded):
    _, interface, x = small("cnn")
    other = dataclasses.replace(loaded[1], test=Split(x, np.zeros(len(x), np.int32)))
    with pytest.raises(UsageError, match=r"expected examples of shape \(12, 12, 1\).*the data have \(9, 10, 1\)"):
        pipeline.verify(int8.path, loaded[0], other)


def test_a_model_trained_in_bfloat16_is_exported_in_float32(tmp_path):
    model, interface, x = small("cnn", dtype="mixed_bfloat16")
    exported = copying.in_float32(model)
    assert {layer.compute_dtype for layer in with_itself(exported)} == {"float32"}
    for ours, theirs in zip(exported.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert copying.in_float32(exported) is exported


@pytest.mark.parametrize("form", ["functional", "sequential"])
def test_a_model_of_ones_own_in_bfloat16_is_exported_in_float32(form, tmp_path):
    layers = [keras.layers.Dense(n, dtype="mixed_bfloat16") for n in (7, CLASSES)]
    source = keras.Input((5,))
    functional = keras.Model(source, layers[1](layers[0](source)))
    model = functional if form == "functional" else keras.Sequential([source, *layers])
    exported = copying.in_float32(model)
    assert {layer.compute_dtype for layer in with_itself(exported)} == {"float32"}
    for ours, theirs in zip(exported.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_calibration_examples_have_the_classes_of_the_whole():
    y = np.repeat([0, 1, 2], [600, 300, 100]).astype("int32")
    split = Split(np.arange(1000, dtype="float32")[:, None], y)
    chosen = classification.stratified(split, 50, seed=3)
    assert np.bincount(chosen.y).tolist() == [30, 15, 5]
    assert len(set(chosen.x[:, 0])) == 50
    np.testing.assert_array_equal(chosen.x, classification.stratified(split, 50, seed=3).x)
    assert (chosen.x != classification.stratified(split, 50, seed=4).x).any()


@pytest.mark.slow
def test_texts_are_compressed_with_their_vocabulary(tmp_path):
    model, interface, x = small("lstm", "tokens")
    split = Split(x, np.arange(len(x), dtype=np.int32) % CLASSES)
    spec = DataSpec("texts", "tokens", interface.shape, ("a", "b", "c"), vocabulary_size=30)
    made = pipeline.compress(model, Dataset(spec, split, split, split), "dynamic", tmp_path)
    assert made.receipt["signature"]["inputs"][0] == {"name": "tokens", "shape": [1, 7], "type": "int32"}
    assert made.receipt["about"]["input"]["values"].startswith("ids of the vocabulary")


def test_no_test_examples_is_refused(loaded, tmp_path):
    model, data = loaded
    empty = Dataset(data.spec, data.train, data.validation, data.test.take(np.arange(0)))
    with pytest.raises(UsageError, match="expected test examples"):
        pipeline.compress(model, empty, "float32", tmp_path)


def test_sensitivity_finds_the_layer_that_quantization_harms(loaded, tmp_path):
    model, data = loaded
    changed = type(model).from_config(model.get_config())
    changed.build((None, *data.spec.input_shape))
    changed.set_weights(model.get_weights())
    # A hidden unit that is always zero, with huge weights in the head: they take all of int4's levels there, so the
    # head's other weights become zero.
    variables = (changed.hidden.kernel, changed.hidden.bias, changed.head.kernel)
    hidden, bias, head = values = [keras.ops.convert_to_numpy(v).copy() for v in variables]
    hidden[:, 0], bias[0], head[0] = 0, 0, 100
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    blind = Split(data.validation.x, data.validation.y)
    rows = sensitivity.measure(changed, Dataset(data.spec, data.train, blind, data.test), parse("int4"))
    assert [row["layer"] for row in rows][:2] == [sensitivity.EVERY_LAYER, "head"]
    assert {row["layer"] for row in rows[1:]} == {"conv_1", "conv_2", "hidden", "head"}
    with pytest.raises(UsageError, match="fewer than the model's 4 layers"):  # before anything is measured
        sensitivity.without_worst(changed, None, parse("int4"), 4)
    sensitivity.draw(tmp_path / "picture.png", rows, "a title")
    assert (tmp_path / "picture.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", ["savedmodel", pytest.param("onnx", marks=pytest.mark.slow)])
def test_other_formats_give_the_same_probabilities(name, loaded, tmp_path):
    model, data = loaded
    subject = classification.ClassSubject(model, classification.interface_of(data.spec, batch=None), data.test)
    found = formats.export(tmp_path / "made", name, subject)
    assert found["parity"]["largest_difference"] <= formats.TOLERANCE
    assert found["test"][name]["accuracy"] == found["test"]["keras"]["accuracy"]
    files = [tmp_path / file for file in found["sha256"]]
    assert files and found["bytes"] == sum(file.stat().st_size for file in files)


def test_other_formats_append_no_softmax_to_other_outputs_than_classes(loaded, tmp_path):
    model, data = loaded
    interface = classification.interface_of(data.spec, batch=None)
    formats.saved_model(model, tmp_path / "made", interface, probabilities=False)
    x = np.asarray(data.test.x[:8], np.float32) / 255
    (found,) = formats._run_saved_model(tmp_path / "made", interface)({interface.name: x})
    np.testing.assert_allclose(found, model.predict(x, verbose=0), atol=1e-5)


def test_gelu_survives_the_way_to_onnx(tmp_path):
    model, interface, x = small("self_attention")
    path = tmp_path / "model.onnx"
    formats.onnx(
        model, path, classification.interface_of(DataSpec("x", "image", (9, 10, 1), ("a", "b", "c")), batch=None)
    )
    expected = keras.ops.convert_to_numpy(keras.ops.softmax(model(x)))
    (found,) = formats._run_onnx(path, interface)({interface.name: x})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert model.blocks[0].expand.activation is keras.activations.gelu


def test_a_format_that_differs_from_keras_fails(loaded, tmp_path, monkeypatch):
    model, data = loaded
    monkeypatch.setitem(
        formats._RUNNERS, "savedmodel", lambda path, interface: lambda x: [np.zeros((len(x["image"]), CLASSES))]
    )
    subject = classification.ClassSubject(model, classification.interface_of(data.spec, batch=None), data.test)
    with pytest.raises(formats.Failed, match="outputs differ from Keras"):
        formats.export(tmp_path / "made", "savedmodel", subject)


def test_an_interval_is_judged_but_for_rounding():
    def told(**changes):
        return {"test": {"intervals": {"accuracy": [0.9, 0.95], "loss": [0.1, 0.2]} | changes}}

    assert not receipt.differences(told(), told(accuracy=[0.9, 0.95 + 1e-12], loss=[0.1 + 5e-6, 0.2]))
    assert receipt.differences(told(), told(accuracy=[0.9, 0.9501])) == [
        "test.intervals.accuracy[1]: the receipt says 0.95, measured 0.9501"
    ]
    assert len(receipt.differences({"test": {}}, told())) == 1  # a receipt that lacks them is not whole
