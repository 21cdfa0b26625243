"""Layers that stay in float32: columns of very different ranges lose nothing, and integers begin behind them."""

import keras
import numpy as np
import pytest

from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.passes import qat
from compression.recipes.language import parse
from compression.runtime import litert
from zoo.console.errors import UsageError
from zoo.models.parts.floating import InFloat
from zoo.models.parts.standardization import FloatRescaling

MEANS, DEVIATIONS = (1e4, -120.0, 0.01), (3e3, 2.0, 0.002)


@keras.saving.register_keras_serializable("tests")
class Standardized(InFloat):
    def call(self, x):
        return (x - np.float32(MEANS)) / np.float32(DEVIATIONS)


@keras.saving.register_keras_serializable("tests")
class InUnits(InFloat):
    def call(self, y):
        return y * 5e4 + 2e5


def trained(*last):
    """A model of three columns whose target depends on the smallest of them."""
    rng = np.random.default_rng(0)
    x = (rng.normal(size=(400, 3)) * DEVIATIONS + MEANS).astype("float32")
    y = np.tanh((x[:, 2] - MEANS[2]) / DEVIATIONS[2])
    keras.utils.set_random_seed(0)
    layers = [keras.Input((3,)), Standardized(), keras.layers.Dense(16, "relu"), keras.layers.Dense(1)]
    model = keras.Sequential(layers)
    model.compile(keras.optimizers.Adam(0.02), "mse")
    model.fit(x, y, epochs=8, verbose=0)
    return keras.Sequential([keras.Input((3,)), *model.layers, *last]), x, y


def file_of(model, x, recipe, tmp_path, **options):
    path = tmp_path / "m.tflite"
    tflite.export(model, path, parse(recipe), Interface("x", (3,), output="y"), calibration=x,
                  probabilities=False, **options)  # fmt: skip
    (given,), (made,) = (flatbuffer.signature(flatbuffer.read(path))[side] for side in ("inputs", "outputs"))
    return litert.run(path, x), given["type"], made["type"]


def test_int8_files_take_raw_numbers_in_float32_and_lose_little(tmp_path):
    model, x, y = trained()
    expected = model.predict(x, verbose=0)
    found, given, made = file_of(model, x, "int8", tmp_path)
    assert (given, made) == ("float32", "int8")
    assert np.abs(found - expected).max() < 0.05 < np.abs(expected).max()
    assert np.square(found[:, 0] - y).mean() < 1.1 * np.square(expected[:, 0] - y).mean() + 1e-4
    wide, given, made = file_of(trained(InUnits())[0], x, "int8", tmp_path)
    assert (given, made) == ("float32", "float32")
    np.testing.assert_allclose(wide, found * 5e4 + 2e5, atol=3e3)


@pytest.mark.slow
def test_quantization_aware_training_rounds_behind_them(tmp_path):
    model, x, _ = trained(InUnits())
    points = qat.Points(model, x[:8])
    assert points.inputs == [None]
    ranges = qat.calibrated(model, points, x)
    assert all(high - low < 100 for low, high in ranges.values())  # neither raw columns nor the units of the target
    found, *_ = file_of(model, x, "int8", tmp_path, ranges=tflite.Ranges(points, ranges))
    rounded = qat.Quantized(model, points=points, functions={}, ranges=ranges, biases=False)
    np.testing.assert_allclose(found, rounded.predict(x, verbose=0), atol=2e3)


def test_int16x8_is_refused(tmp_path):
    model, x, _ = trained()
    with pytest.raises(UsageError, match="int16x8: the converter cannot leave standardized.* in float32"):
        file_of(model, x, "int16x8", tmp_path)


def test_the_operator_that_gives_the_output_is_in_float32_as_well(tmp_path):
    """Unless the converter folds it into the weights before it, as it can not with a sum of two layers."""
    given = keras.Input((3,))
    x = Standardized()(given)
    y = keras.layers.Dense(2, "relu")(x) + keras.layers.Dense(2, "tanh")(x)
    model = keras.Model(given, InUnits()(y))
    rng = np.random.default_rng(0)
    examples = (rng.normal(size=(64, 3)) * DEVIATIONS + MEANS).astype("float32")
    found, *ends = file_of(model, examples, "int8", tmp_path)
    in_float = flatbuffer.float_operators(flatbuffer.read(tmp_path / "m.tflite"))
    assert ends == ["float32", "float32"] and in_float["ADD"] == 1 and in_float["MUL"] >= 1


class Frames(InFloat):
    """Logarithms of numbers that are far apart, as a front end of sound has them."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        rng = np.random.default_rng(0)
        self.mixed = (rng.normal(size=(40, 40)) * np.geomspace(1e-4, 1, 40)).astype("float32")

    def call(self, x):
        return keras.ops.log(keras.ops.abs(keras.ops.matmul(x, self.mixed)) + 1e-6)


@pytest.mark.parametrize(
    ("recipe", "within"),
    [
        ("float16", 2e-3),
        ("dynamic", 0.05),
        ("int4", 0.3),
        ("int8", 0.1),
        pytest.param("int8(rounding=learnt)", 0.1, marks=pytest.mark.slow),
    ],
)
def test_matrices_of_layers_in_float_are_never_rounded(recipe, within, tmp_path):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((40,)), Frames(), keras.layers.Dense(40, "relu"), keras.layers.Dense(3)])
    x = np.random.default_rng(1).normal(size=(64, 40)).astype("float32")
    path, expected = tmp_path / "m.tflite", model.predict(x, verbose=0)
    tflite.export(model, path, parse(recipe), Interface("x", (40,), output="y"), calibration=x, probabilities=False)
    content = flatbuffer.read(path)
    mixed = [row for row in flatbuffer.constants(content) if row["elements"] == 1600 and row["type"] == "float32"]
    assert len(mixed) == 1
    assert np.abs(litert.run(path, x) - expected).max() < within * np.abs(expected).max()


@keras.saving.register_keras_serializable("tests")
class Distance(InFloat):
    def call(self, x, y):
        return keras.ops.mean(keras.ops.square(x - y), axis=-1, keepdims=True)


def test_a_mean_in_float_is_of_what_the_layers_in_float_gave(tmp_path):
    """Integers are cut off at the ends of their range; distances are measured from what was given, in training too."""
    given, each = keras.Input((3,)), zip(MEANS, DEVIATIONS, strict=True)
    z = FloatRescaling([1 / s for s in DEVIATIONS], [-m / s for m, s in each])(given)
    back = keras.layers.Dense(3)(keras.layers.Dense(8, "relu")(z))
    model = keras.Model(given, Distance()(z, back))
    rng = np.random.default_rng(0)
    x, far = ((s * rng.normal(size=(200, 3)) * DEVIATIONS + MEANS).astype("float32") for s in (1, 20))
    points = qat.Points(model, x[:8])
    ranges = qat.calibrated(model, points, x)
    file_of(model, x, "int8", tmp_path, ranges=tflite.Ranges(points, ranges))
    found, path = litert.run(tmp_path / "m.tflite", far), tmp_path / "m.tflite"
    assert flatbuffer.float_operators(flatbuffer.read(path)).keys() >= {"SQUARED_DIFFERENCE", "MEAN"}
    rounded = qat.Quantized(model, points=points, functions={}, ranges=ranges, biases=False).predict(far, verbose=0)
    np.testing.assert_allclose(found, rounded, rtol=0.05)
    inside = np.clip(far, x.min(0), x.max(0))
    assert np.corrcoef(found[:, 0], np.square((far - inside) / DEVIATIONS).mean(1))[0, 1] > 0.8
