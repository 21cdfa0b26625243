import keras
import numpy as np
import pytest
from keras import layers

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.recipes.language import parse
from compression.runtime import litert


def one_layer():
    """Return a layer whose inputs never have mean 0, its interface and 64 examples."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((40,)),
            layers.Dense(6, bias_initializer="normal", name="first"),
            layers.Dense(5, bias_initializer="normal"),
        ]
    )
    model.layers[0].kernel.assign(np.eye(40, 6) * 3)
    x = np.random.default_rng(0).uniform(0, 4, (64, 40)).astype("float32")
    return model, Interface("x", (40,)), x


def test_corrected_biases_keep_the_mean_of_the_outputs(tmp_path):
    model, interface, x = one_layer()
    expected, shift = model.predict(x, verbose=0), {}
    for recipe in ("int8(per_tensor=true)", "int8(per_tensor=true, correct_bias=true)"):
        path = tmp_path / "model.tflite"
        tflite.export(model, path, parse(recipe), interface, calibration=x, probabilities=False)
        shift[recipe] = np.abs((litert.run(path, x) - expected).mean(0))
    plain, corrected = shift.values()
    (end,) = flatbuffer.signature(flatbuffer.read(path))["outputs"]
    # Each of the 64 outputs is rounded by up to half a step, so that their mean is off by up to about 0.15 steps.
    assert corrected.max() <= 0.25 * end["scale"]
    assert np.square(corrected).sum() < np.square(plain).sum()


def test_biases_are_corrected_where_relu6_lets_outputs_through(tmp_path):
    model = keras.Sequential([keras.Input((9, 9, 16)), layers.DepthwiseConv2D(3, activation="relu6")])
    model.add(layers.GlobalAveragePooling2D())
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 3, 16, 1)) * 20  # finds edges: weights nearly cancel out, and ReLU6 cuts off most
    kernel += 0.5 - kernel.mean((0, 1))
    model.layers[0].set_weights([kernel / 4.5, np.zeros(16)])
    x = (rng.uniform(0, 8, (64, 1, 1, 16)) + rng.normal(0, 0.3, (64, 9, 9, 16))).astype("float32")
    expected, shift = model.predict(x, verbose=0), []
    for recipe in ("int8", "int8(correct_bias=true)"):
        path = tmp_path / "model.tflite"
        tflite.export(model, path, parse(recipe), Interface("x", (9, 9, 16)), calibration=x, probabilities=False)
        shift.append(np.abs((litert.run(path, x) - expected).mean(0)).max())
    assert shift[1] < shift[0] / 10


@pytest.mark.parametrize(
    "recipe", ["int8(ranges=mse)", "int8(equalize=true)", "int8(correct_bias=true)", "int8(rounding=learnt)"]
)
def test_each_way_gives_a_file_near_keras(recipe, tmp_path):
    model, interface, x = one_layer()
    path = tmp_path / "model.tflite"
    tflite.export(model, path, parse(recipe), interface, calibration=x, probabilities=False)
    expected = model.predict(x, verbose=0)
    assert np.abs(litert.run(path, x) - expected).max() <= 0.03 * np.abs(expected).max()


@pytest.mark.slow
def test_learnt_int8_keeps_skipped_layers_and_writes_its_own_scales(tmp_path):
    model, interface, x = one_layer()
    rows = {}
    for recipe in ("int8", "int8(rounding=learnt)", "int8(skip=first, rounding=learnt)"):
        path = tmp_path / "model.tflite"
        tflite.export(model, path, parse(recipe), interface, calibration=x, probabilities=False)
        rows[recipe] = [row for row in flatbuffer.constants(flatbuffer.read(path)) if len(row["shape"]) > 1]
        expected = model.predict(x, verbose=0)
        assert np.abs(litert.run(path, x) - expected).max() <= 0.03 * np.abs(expected).max()
    assert {row["type"] for row in rows["int8(rounding=learnt)"]} == {"int8"}
    assert {row["type"] for row in rows["int8(skip=first, rounding=learnt)"]} == {"int8", "float32"}


def test_chosen_ranges_cut_off_rare_values(tmp_path):
    model = keras.Sequential([keras.Input((16_384,)), layers.Dense(2)])
    x = np.random.default_rng(0).uniform(0, 4, (64, 16_384)).astype("float32")
    x[0, 0] = 8.0  # one value in a million: cutting it off costs less than twice as wide steps for all others
    scales = []
    for recipe in ("int8", "int8(ranges=mse)"):
        path = tmp_path / "model.tflite"
        tflite.export(model, path, parse(recipe), Interface("x", (16_384,)), calibration=x, probabilities=False)
        (end,) = flatbuffer.signature(flatbuffer.read(path))["inputs"]
        scales.append(end["scale"])
    assert scales == pytest.approx([8 / 255, 4 / 255], rel=0.05)
