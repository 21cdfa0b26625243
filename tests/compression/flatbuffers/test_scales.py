"""Scales that LiteRT does not read where they stand: its answers are those of Keras, and the weights stay the same."""

import keras
import numpy as np
import pytest

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer, scales
from compression.flatbuffers.interface import Interface
from compression.recipes.language import parse
from compression.runtime import litert


@pytest.fixture(scope="module")
def network():
    """A network whose depthwise kernel has 1,152 values, more than the converter leaves in float."""
    keras.utils.set_random_seed(0)
    layers = [keras.layers.Conv2D(128, 3, activation="relu"), keras.layers.DepthwiseConv2D(3)]
    model = keras.Sequential([keras.Input((10, 10, 3)), *layers, keras.layers.GlobalAveragePooling2D()])
    model.layers[0].bias.assign(np.linspace(0, 1, 128))
    return model, np.random.default_rng(0).random((6, 10, 10, 3)).astype("float32")


@pytest.mark.parametrize(
    ("recipe", "engine"),
    [("dynamic(per_tensor=true)", "TFLite converter"), ("int4(per_tensor=true, rounding=nearest)", "litert-quantizer")],
)
def test_one_scale_of_a_depthwise_kernel_is_one_for_each_channel(network, recipe, engine, tmp_path):
    model, x = network
    path = tmp_path / "m.tflite"
    made = tflite.export(model, path, parse(recipe), Interface("image", (10, 10, 3), output="y"), probabilities=False)
    assert made.engine == engine
    expected = model.predict(x, verbose=0)
    assert (
        np.abs(litert.run(path, x) - expected).max() < (0.02 if "dynamic" in recipe else 0.2) * np.abs(expected).max()
    )
    graph = flatbuffer.read(path).subgraphs[0]
    kernels = [tensor for tensor in graph.tensors if list(tensor.shape) == [1, 3, 3, 128] and tensor.quantization]
    (grid,) = [tensor.quantization for tensor in kernels if tensor.quantization.scale is not None]
    assert len(grid.scale) == len(grid.zeroPoint) == 128 and len(set(grid.scale.tolist())) == 1
    assert not scales.repeat(path)  # nothing is left to do


@pytest.mark.parametrize("kind", ["convolution", "dense"])
@pytest.mark.parametrize(
    "recipe", ["int16x8", *(pytest.param(r, marks=pytest.mark.slow) for r in ("int8", "int8(per_tensor=true)"))]
)
@pytest.mark.parametrize("size", [1, 1e-4])
def test_a_layer_that_is_called_twice_has_a_bias_for_each_call(kind, recipe, size, tmp_path):
    """The inputs of the two calls have ranges that differ by about ten."""
    keras.utils.set_random_seed(0)
    shape = (6, 6, 4) if kind == "convolution" else (8,)
    convolution = keras.layers.Conv2D(4, 3, padding="same", activation="relu")
    layer = convolution if kind == "convolution" else keras.layers.Dense(8, activation="relu")
    inputs = keras.Input(shape)
    model = keras.Model(inputs, layer(layer(inputs)))
    layer.bias.assign(size * np.linspace(-20, 30, layer.bias.shape[0]))
    x = (size * np.random.default_rng(0).normal(size=(64, *shape))).astype("float32")
    path = tmp_path / "m.tflite"
    tflite.export(model, path, parse(recipe), Interface("x", shape, output="y"), calibration=x, probabilities=False)
    expected = model.predict(x, verbose=0)
    most = 0.01 if recipe == "int16x8" else 0.05
    assert np.abs(litert.run(path, x) - expected).max() < most * np.abs(expected).max()
    assert scales.own_biases(path) == 0


def test_places_that_one_hot_leaves_out_are_zero(tmp_path):
    inputs = keras.Input((3,))
    bins = keras.layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0], output_mode="one_hot")(inputs)
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(bins)))
    x = np.random.default_rng(0).choice([-1.5, -0.5, 0.5, 1.5], (32, 3)).astype("float32")
    path = tmp_path / "m.tflite"
    tflite.export(model, path, parse("int8"), Interface("x", (3,), output="y"), calibration=x, probabilities=False)
    expected = model.predict(x, verbose=0)
    assert np.abs(litert.run(path, x) - expected).max() < 0.02 * np.abs(expected).max()
    assert scales.own_one_hot(path) == 0
