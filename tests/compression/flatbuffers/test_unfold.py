"""`unfold` turns kernel columns of the first convolution into channels and keeps the output integers."""

import dataclasses

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.flatbuffers.unfold import SMALLEST, unfold
from compression.recipes.language import parse
from compression.runtime import litert
from tests.compression.conftest import CLASSES


def made(path, layer, shape=(12, 10, 1), batch=1, recipe="int8(unfold=false)"):
    """Write a file with a convolution and a Dense layer, and return its calibration examples."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(shape), layer, keras.layers.Flatten(), keras.layers.Dense(CLASSES)])
    x = np.random.default_rng(1).uniform(0, 1, (32, *shape)).astype("float32")
    tflite.export(model, path, parse(recipe), Interface("image", shape, batch=batch), calibration=x)
    return x


def operators(path):
    return flatbuffer.operators(flatbuffer.read(path))


@pytest.mark.parametrize(
    ("kernel", "arguments", "recipe"),
    [
        (3, {"activation": "relu"}, "int8(unfold=false)"),
        (5, {"strides": 2}, "int8(per_tensor=true, unfold=false)"),
        ((1, 4), {}, "int8(io=float32, unfold=false)"),
        ((4, 2), {"dilation_rate": (2, 1)}, "int8(unfold=false)"),
    ],
)
def test_outputs_are_the_same_integers(kernel, arguments, recipe, tmp_path):
    path = tmp_path / "model.tflite"
    x = made(path, keras.layers.Conv2D(5, kernel, bias_initializer="random_normal", **arguments), recipe=recipe)
    plain, before = litert.run(path, x), operators(path)
    assert unfold(path, smallest=0)
    np.testing.assert_array_equal(litert.run(path, x), plain)
    assert len(np.unique(plain)) > 20
    columns = np.broadcast_to(kernel, 2)[1]
    assert operators(path) == {**before, "SLICE": columns, "CONCATENATION": 1, "TRANSPOSE": 1}


@pytest.mark.parametrize(
    ("layer", "more"),
    [
        (keras.layers.Conv2D(5, 3), {"shape": (12, 10, 2)}),
        (keras.layers.Conv2D(5, 3), {"batch": 4}),
        (keras.layers.Conv2D(5, 3, padding="same"), {}),
        (keras.layers.Conv2D(5, (3, 1)), {}),
        (keras.layers.Conv2D(5, 3), {"recipe": "dynamic"}),
        (keras.layers.Conv2D(5, 3, name="first"), {"recipe": "int8(skip=first)"}),
        (keras.layers.AveragePooling2D(2), {}),
    ],
)
def test_other_files_stay_as_they_are(layer, more, tmp_path):
    path = tmp_path / "model.tflite"
    made(path, layer, **more)
    before = path.read_bytes()
    assert not unfold(path, smallest=0)
    assert path.read_bytes() == before


def test_a_kernel_that_is_used_twice_keeps_its_shape(tmp_path):
    keras.utils.set_random_seed(1)
    given, layer = keras.Input((12, 10, 1)), keras.layers.Conv2D(1, 3)
    model = keras.Model(given, keras.layers.Dense(CLASSES)(keras.layers.Flatten()(layer(layer(given)))))
    path, x = tmp_path / "model.tflite", np.random.default_rng(1).random((32, 12, 10, 1), np.float32)
    tflite.export(model, path, parse("int8(unfold=false)"), Interface("image", (12, 10, 1)), calibration=x)
    assert not unfold(path, smallest=0)  # both convolutions of the file read one tensor


def test_dilated_columns_are_not_unfolded(tmp_path):
    path = tmp_path / "model.tflite"
    made(path, keras.layers.Conv2D(5, 3))
    model = flatbuffer.read(path)
    (convolution,) = (
        op for op in model.subgraphs[0].operators if flatbuffer.code(model, op) == schema.BuiltinOperator.CONV_2D
    )
    convolution.builtinOptions.dilationWFactor = 2
    flatbuffer.write(model, path)
    assert not unfold(path, smallest=0)


def test_a_recipe_unfolds_if_it_costs_at_most_two_percent(tmp_path):
    path, size, unfolded = tmp_path / "model.tflite", {}, {}
    for filters in (8, 64):
        for recipe in ("int8", "int8(unfold=false)"):
            made(path, keras.layers.Conv2D(filters, 5), shape=(30, 28, 1), recipe=recipe)
            size[filters, recipe], unfolded[filters, recipe] = path.stat().st_size, "TRANSPOSE" in operators(path)
    assert [case for case, done in unfolded.items() if done] == [(64, "int8")]
    assert size[8, "int8"] < SMALLEST < size[64, "int8"]
    assert size[64, "int8"] - size[64, "int8(unfold=false)"] < 0.02 * SMALLEST


def test_unfold_is_part_of_the_file_name_but_not_of_the_training_name():
    recipe = parse("qat + int8(unfold=false)")
    assert parse(str(recipe)) == recipe and not recipe.file.unfold
    assert recipe.training_name == parse("qat + int8").training_name != recipe.file_name
    assert dataclasses.replace(recipe, unfold=True) == parse("qat + int8")
