"""Errors by layer are those that numpy computes from the weights of the file."""

import keras
import numpy as np
import pytest

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.receipts import by_layer
from compression.recipes.language import parse
from compression.tasks.classification import ClassSubject
from tests.compression.conftest import small
from zoo.data import Split


def compared(model, interface, x, recipe, folder):
    """Return the errors by layer of a file, by name of the layer, and the path of the file."""
    path = folder / "model.tflite"
    tflite.export(model, path, parse(recipe), interface, calibration=x)
    found = by_layer.measure(path, ClassSubject(model, interface, Split(x, np.zeros(len(x), np.int32))), 1)
    return found, path


def rms(values):
    return np.sqrt(np.mean(np.square(values, dtype=np.float64)))


@pytest.fixture(scope="module")
def dense():
    """Return a model of four dense layers, its interface and examples."""
    keras.utils.set_random_seed(3)
    names = ("first", "second", "third", "last")
    layers = [keras.layers.Dense(16, activation=None if n == "last" else "relu", name=n) for n in names]
    model = keras.Sequential([keras.Input((12,)), *layers], name="dense")
    return model, Interface("features", (12,)), np.random.default_rng(3).normal(size=(20, 12)).astype(np.float32)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("cnn", "image"), pytest.param("transformer", "tokens", marks=pytest.mark.slow), ("self_attention", "image")],
)
def test_a_file_in_float32_has_no_error_in_any_layer(name, kind, tmp_path):
    found, _ = compared(*small(name, kind), "float32", tmp_path)
    assert found["examples"] == by_layer.EXAMPLES and len(found["layers"]) > 4
    for row in found["layers"]:
        assert row["error"] < 1e-5 and row["own_error"] < 1e-5, row


def test_fused_layers_are_one_row_that_names_the_first_and_the_last(tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = keras.layers.Conv2D(4, 3, name="filters")(inputs)
    x = keras.layers.ReLU(name="bend")(keras.layers.BatchNormalization(name="norm")(x))
    model = keras.Model(inputs, keras.layers.Dense(3, name="head")(keras.layers.Flatten(name="flat")(x)), name="net")
    model.get_layer("norm").set_weights(
        [np.array(v, np.float32) for v in ([2, 1, 3, 1], [0, 1, 0, 1], [0.1] * 4, [2] * 4)]
    )
    examples = np.random.default_rng(0).uniform(size=(9, 8, 8, 1)).astype(np.float32)
    found, _ = compared(model, Interface("image", (8, 8, 1)), examples, "int8", tmp_path)
    rows = {row["layer"]: row for row in found["layers"]}
    assert rows["filters"]["to"] == "bend" and not {"norm", "bend"} & rows.keys()
    assert 1e-4 < rows["filters"]["own_error"] < 0.05 and "to" not in rows["head"]


@pytest.mark.parametrize(
    "bad", [pytest.param("second", marks=pytest.mark.slow), pytest.param("third", marks=pytest.mark.slow), "last"]
)
def test_the_layer_that_alone_is_quantized_is_the_worst_by_as_much_as_its_weights_say(dense, bad, tmp_path):
    model, interface, x = dense
    others = "|".join(layer.name for layer in model.layers if layer.name != bad)
    found, path = compared(model, interface, x, f"int4(skip={others})", tmp_path)
    rows = {row["layer"]: row for row in found["layers"]}
    assert max(found["layers"], key=lambda row: row["own_error"])["layer"] == bad
    assert all(row["own_error"] < 1e-5 for name, row in rows.items() if name != bad)
    # The file's own kernel, (units, features), on what the float layers before it give.
    (kernel,) = [v.T for name, v in flatbuffer.real_constants(flatbuffer.read(path)) if bad in name and v.ndim > 1]
    assert not np.allclose(kernel, model.get_layer(bad).kernel)
    before = keras.Sequential(model.layers[: model.layers.index(model.get_layer(bad))] or [keras.layers.Identity()])
    given = keras.ops.convert_to_numpy(before(x[: by_layer.EXAMPLES]))
    bend = (lambda y: y) if bad == "last" else (lambda y: np.maximum(y, 0))
    expected = bend(given @ keras.ops.convert_to_numpy(model.get_layer(bad).kernel))
    truth = rms(bend(given @ kernel) - expected) / rms(expected)
    assert truth > 0.02 and rows[bad]["own_error"] == pytest.approx(truth, rel=0.1)
    later = [row for row in found["layers"] if row["layer"] == "last"]
    assert later[0]["error"] > 0.02 and rows["first"]["error"] < 1e-5


def test_what_cannot_be_compared_has_a_reason(dense, tmp_path, monkeypatch):
    monkeypatch.setattr(by_layer, "MOST_VALUES", 10)
    found, _ = compared(*dense, "float32", tmp_path)
    assert found == {"left_out": "the outputs of its layers are too large"}
