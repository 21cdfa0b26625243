"""Inputs and outputs of models of one's own in any structure, and ids in floats: the file gives what predict gives."""

from collections import OrderedDict

import keras
import numpy as np
import pytest
from keras import layers

from compression import api
from compression.runtime import litert
from zoo.console.errors import UsageError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((48, 4)).astype("float32")


def splits(x, y=None):
    part = x if y is None else (x, y)
    return {"train": part, "test": part}


def test_outputs_in_structures_have_the_names_of_their_keys(tmp_path):
    inputs = keras.Input((4,), name="x")
    outputs = {"z": [layers.Dense(2)(inputs), layers.Dense(2)(inputs)], "a": layers.Dense(2)(inputs)}
    model = keras.Model(inputs, outputs)
    made = api.compress(model, "float32", data=splits(X), output=tmp_path)
    found, expected = litert.run_named(made.path, {"x": X}), model.predict(X, verbose=0)
    assert sorted(found) == ["a", "z_0", "z_1"]
    for name, values in zip(("a", "z_0", "z_1"), (expected["a"], *expected["z"]), strict=True):
        np.testing.assert_allclose(found[name], values, atol=1e-5)


def test_ordered_outputs_keep_their_names(tmp_path):
    class Ordered(keras.Model):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.first, self.second = layers.Dense(3), layers.Dense(3)

        def call(self, x):
            return OrderedDict([("z", self.first(x)), ("a", self.second(x))])

    model = Ordered()
    expected = model.predict(X, verbose=0)
    y = {"z": X[:, :3], "a": X[:, 1:]}
    for recipe in ("float32", "prune(0.5) + float32"):
        made = api.compress(model, recipe, data=splits(X, y), output=tmp_path, epochs=1)
        assert made.receipt["parity"]["largest_difference"] < 1e-5
    found = litert.run_named(tmp_path / "float32.tflite", {"input_0": X})
    for name in "az":
        np.testing.assert_allclose(found[name], expected[name], atol=1e-5)


def test_inputs_within_inputs_are_refused(tmp_path):
    one, two, three = (keras.Input((4,), name=name) for name in ("one", "two", "three"))
    model = keras.Model({"one": one, "others": [two, three]}, layers.Add()([one, two, three]))
    with pytest.raises(UsageError, match="received arrays within arrays; give the model a dictionary of all"):
        api.compress(model, "float32", data=splits({"one": X, "others": [X, X]}), output=tmp_path)


def test_labels_by_name_are_those_of_their_outputs(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, [layers.Dense(1, name="second")(inputs), layers.Dense(1, name="first")(inputs)])
    second, first = model.predict(X, verbose=0)
    made = api.compress(
        model, "prune(0) + float32", data=splits(X, {"first": first, "second": second}), output=tmp_path, epochs=1
    )
    assert max(made.receipt["test"]["keras"][f"{name}.rmse"] for name in ("first", "second")) < 0.05
    with pytest.raises(UsageError, match="as the outputs of the model, first, second, received first, other"):
        api.compress(model, "float32", data=splits(X, {"first": first, "other": second}), output=tmp_path)


def test_a_model_that_keras_quantized_is_refused(tmp_path):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(3)])
    model.layers[0].quantize("int8")
    with pytest.raises(UsageError, match="after quantize"):
        api.compress(model, "float32", data=splits(X), output=tmp_path)


def test_bytes_of_a_picture_are_no_ids(tmp_path):
    model = keras.Sequential([keras.Input((8,), dtype="uint8"), layers.Rescaling(1 / 255), layers.Dense(2)])
    x = RNG.integers(0, 255, (48, 8), dtype="uint8")
    made = api.compress(model, "float32", data=splits(x), output=tmp_path)
    assert [row["dtype"] for row in made.receipt["interface"]["inputs"]] == ["float32"]


@pytest.mark.parametrize("dtype", ["float32", "int32", "uint8"])
@pytest.mark.parametrize("kind", ["embedding", "categories"])
def test_ids_in_floats_stay_whole_in_int8(kind, dtype, tmp_path):
    if kind == "embedding":
        inputs, ids = keras.Input((7,)), RNG.integers(0, 250, (64, 7))
        x = layers.GlobalAveragePooling1D()(layers.Embedding(250, 4, embeddings_initializer="normal")(inputs))
    else:
        inputs, ids = keras.Input((1,), dtype=dtype), RNG.integers(0, 40, (64, 1))
        x = layers.CategoryEncoding(40, "one_hot")(inputs)
    model, ids = keras.Model(inputs, layers.Dense(2)(x)), ids.astype(dtype)
    made = api.compress(model, "int8", data=splits(ids), output=tmp_path)
    assert [row["dtype"] for row in made.receipt["interface"]["inputs"]] == ["int32"]
    expected = model.predict(ids, verbose=0)
    assert np.abs(litert.run(made.path, ids.astype("int32")) - expected).max() < 0.05 * np.abs(expected).max()


def test_ids_among_other_numbers_are_told(tmp_path, capsys):
    inputs = keras.Input((4,))
    looked_up = layers.Flatten()(layers.Embedding(1000, 4)(inputs[:, :1]))
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()([looked_up, inputs[:, 1:]])))
    x = X.copy()
    x[:, 0] = RNG.integers(0, 1000, len(x))
    for recipe, told in (("dynamic", False), ("int8", True)):
        api.compress(model, recipe, data=splits(x), output=tmp_path)
        assert ("one scale rounds the ids that the model looks up" in capsys.readouterr().err) == told


def test_a_model_in_bfloat16_is_compressed(tmp_path):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = keras.Sequential([keras.Input((4,)), layers.Dense(3, activation="softmax")])
    finally:
        keras.config.set_dtype_policy(before)
    made = api.compress(model, "float32", data=splits(X), output=tmp_path)
    assert made.receipt["parity"]["largest_difference"] < 0.01


def test_frozen_layers_are_told(tmp_path, capsys):
    frozen = layers.Dense(8, activation="relu", trainable=False, name="backbone")
    model = keras.Sequential([keras.Input((4,)), frozen, layers.Dense(2, name="head")])
    for recipe, told in (("float32", False), ("prune(0.5, epochs=1) + float32", True)):
        api.compress(model, recipe, data=splits(X, X[:, :2]), output=tmp_path)
        assert ("1 of 2 layers with weights are frozen (backbone)" in capsys.readouterr().err) == told
    frozen.trainable = True
    api.compress(model, "prune(0.5, epochs=1) + float32", data=splits(X, X[:, :2]), output=tmp_path / "thawed")
    assert "are frozen" not in capsys.readouterr().err
