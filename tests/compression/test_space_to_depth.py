"""A first convolution on blocks of pixels: the same integers as without."""

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from compression import flatbuffer, litert, pipeline, space_to_depth, tflite
from compression.interface import Interface
from compression.recipes import parse
from tests.compression.conftest import CLASSES, small
from zoo.config import TrainConfig
from zoo.data import Dataset, DataSpec, Split
from zoo.errors import UsageError

EXPECTED = "an even number of rows and columns, stride 1 and no padding, with a pool of 2 x 2 behind it"


def net(*stem, shape=(12, 10, 1)):
    keras.utils.set_random_seed(1)
    head = [keras.layers.Flatten(), keras.layers.Dense(CLASSES)]
    return keras.Sequential([keras.Input(shape), *stem, *head])


def examples(shape, count=32):
    return np.random.default_rng(1).uniform(0, 1, (count, *shape)).astype("float32")


@pytest.mark.parametrize(
    ("kernel", "channels", "activation", "batch", "recipe"),
    [
        (3, 1, "relu", 1, "int8({}space_to_depth=true)"),
        (5, 1, None, 1, "int8({}space_to_depth=true)"),
        ((2, 3), 2, "relu", 4, "int8({}space_to_depth=true, per_tensor=true)"),
        (1, 2, None, 1, "int8({}space_to_depth=true)"),
    ],
)
def test_outputs_are_the_same_integers(kernel, channels, activation, batch, recipe, tmp_path):
    shape = (12, 10, channels)
    layer = keras.layers.Conv2D(5, kernel, activation=activation, bias_initializer="random_normal")
    model, x = net(layer, keras.layers.MaxPooling2D(), shape=shape), examples(shape)
    interface = Interface("image", shape, batch=batch)
    found = []
    for text in (recipe.format(""), recipe.format("").replace("space_to_depth=true", "io=integer")):
        path = tmp_path / "model.tflite"
        tflite.export(model, path, parse(text), interface, calibration=x)
        found.append((litert.run(path, x), flatbuffer.operators(flatbuffer.read(path))))
    (blocks, operators), (plain, before) = found
    np.testing.assert_array_equal(blocks, plain)
    assert len(np.unique(blocks)) > 20
    assert operators == {**before, "SPACE_TO_DEPTH": 1, "RESHAPE": before["RESHAPE"] + 2}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A file of a convolution and a pool in float32."""
    path = tmp_path_factory.mktemp("plain") / "model.tflite"
    model = net(keras.layers.Conv2D(5, 3), keras.layers.MaxPooling2D())
    tflite.export(model, path, parse("float32"), Interface("image", (12, 10, 1)))
    return path


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image, convolution, pool: setattr(image, "shape", [1, 12, 10, 3]), "it has 3 channels"),
        (lambda image, convolution, pool: setattr(image, "shape", [1, 13, 10, 1]), "its input is 13 x 10"),
        (lambda image, convolution, pool: setattr(convolution, "strideW", 2), "it has a stride of 1 x 2"),
        (lambda image, convolution, pool: setattr(convolution, "padding", schema.Padding.SAME), "it has padding"),
        (lambda image, convolution, pool: setattr(pool, "filterHeight", 3), "its pool is another"),
        (lambda image, convolution, pool: setattr(pool, "padding", schema.Padding.SAME), "its pool is another"),
    ],
)
def test_where_it_cannot_be_it_is_refused(plain, change, reason, tmp_path):
    space_to_depth.check(plain)
    model, path = flatbuffer.read(plain), tmp_path / "changed.tflite"
    graph = model.subgraphs[0]
    convolution, pool = (
        next(op for op in graph.operators if flatbuffer.code(model, op) == code)
        for code in (schema.BuiltinOperator.CONV_2D, schema.BuiltinOperator.MAX_POOL_2D)
    )
    change(graph.tensors[convolution.inputs[0]], convolution.builtinOptions, pool.builtinOptions)
    flatbuffer.write(model, path)
    with pytest.raises(UsageError, match=f"{EXPECTED}; {reason}"):
        space_to_depth.check(path)


def test_what_follows_must_be_a_pool(plain, tmp_path):
    model, path = flatbuffer.read(plain), tmp_path / "changed.tflite"
    model.operatorCodes[model.subgraphs[0].operators[1].opcodeIndex].builtinCode = schema.BuiltinOperator.L2_POOL_2D
    model.operatorCodes[model.subgraphs[0].operators[1].opcodeIndex].deprecatedBuiltinCode = 0
    flatbuffer.write(model, path)
    with pytest.raises(UsageError, match="what follows it is no pool"):
        space_to_depth.check(path)


def test_it_is_refused_before_anything_is_trained(tmp_path):
    model, interface, x = small("simplenet")
    y = np.arange(len(x)) % CLASSES
    split = Split(x, y)
    data = Dataset(DataSpec("random", "image", interface.shape, tuple("abc")), split, split, split)
    with pytest.raises(UsageError, match="this model has no convolution"):
        pipeline.compress(model, data, "prune(0.5) + int8(space_to_depth=true)", tmp_path, training=TrainConfig())
    assert not list(tmp_path.iterdir())


def test_the_recipe_keeps_it_and_trains_without_it():
    recipe = parse("qat + int8(space_to_depth=true)")
    assert parse(str(recipe)) == recipe and recipe.file.space_to_depth
    assert recipe.training_name == parse("qat + int8").training_name != recipe.file_name
    with pytest.raises(UsageError, match="space_to_depth is for files of integers alone; leave skip out"):
        parse("int8(skip=head, space_to_depth=true)")
