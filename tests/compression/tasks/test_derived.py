"""Models whose layers keep something besides weights: copies of them have to compute the same."""

import keras
import numpy as np
import pytest
from keras import layers

from compression import api
from compression.runtime import litert
from compression.surgery.layers import in_float, stays_in_float
from zoo.console.errors import UsageError

RNG = np.random.default_rng(0)
# Features in units of their own: one scale of 256 steps from -310 to 70 leaves two of them nothing.
SPREAD, CENTRE = np.array([1, 10, 3, 0.01]), np.array([0, 50, -300, 1])
X = (RNG.standard_normal((160, 4)) * SPREAD + CENTRE).astype("float32")
Y = (X[:, 3] > 1).astype("int32") + (X[:, 1] > 50)
DATA = {"train": (X, Y), "test": (X, Y)}
TRAINING = {"epochs": 1, "batch_size": 32, "learning_rate": 1e-4}


def adapted(x):
    norm = layers.Normalization()
    norm.adapt(x)
    return norm


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    hidden = layers.Dense(16, activation="relu")
    made = keras.Sequential([keras.Input((4,)), adapted(X), hidden, layers.Dense(3, activation="softmax")])
    made.compile(keras.optimizers.Adam(0.02), "sparse_categorical_crossentropy")
    made.fit(X, Y, epochs=12, verbose=0)
    return made


@pytest.mark.parametrize("saved", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_an_adapted_normalization_reaches_the_file(model, saved, tmp_path):
    """Keras' set_weights leaves the constants that the layer computes with as they were."""
    given = tmp_path / "model.keras" if saved else model
    if saved:
        model.save(given)
    made = api.compress(given, "float32", data=DATA, output=tmp_path / "out")
    expected = model.predict(X, verbose=0)
    assert (expected.argmax(1) == Y).mean() > 0.9
    np.testing.assert_allclose(litert.run(made.path, X), expected, atol=1e-5)
    assert made.receipt["test"]["keras"]["accuracy"] == pytest.approx((expected.argmax(1) == Y).mean())


@pytest.mark.parametrize(
    "recipe",
    ["int8"]
    + [
        pytest.param(each, marks=pytest.mark.slow)
        for each in ("qat + int8", "int8(rounding=learnt)", "dynamic", "int4")
    ],
)
def test_features_in_units_of_their_own_keep_their_precision(model, recipe, tmp_path):
    """The file takes floats, and the layer that brings them to one scale stays in float32."""
    made = api.compress(model, recipe, data=DATA, output=tmp_path, **TRAINING)
    answers, expected = (found.argmax(1) for found in (litert.run(made.path, X), model.predict(X, verbose=0)))
    assert (answers == expected).mean() >= 0.95
    if recipe == "qat + int8":  # trained on the grids that the file has
        assert made.receipt["parity"]["largest_difference"] <= 1 / 256


def test_a_normalization_of_one_scale_is_quantized():
    pixels = RNG.uniform(0, 255, (64, 8, 8, 3)).astype("float32")
    assert not stays_in_float(adapted(pixels))
    assert stays_in_float(adapted(X)) and not stays_in_float(adapted(X / SPREAD - CENTRE / SPREAD))
    assert stays_in_float(adapted(np.float32([[299], [300], [301]])))  # a range begins at zero: steps of 1.2
    assert not in_float(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))


def test_int16x8_that_cannot_leave_a_layer_in_float_is_refused(tmp_path):
    wide = np.concatenate([X[:, :3] * 1000, X[:, 3:]], 1)
    found = keras.Sequential([keras.Input((4,)), adapted(wide), layers.Dense(3)])
    with pytest.raises(UsageError, match=r"int16x8: the converter cannot leave normalization\w* in float32"):
        api.compress(found, "int16x8", data={"train": (wide, Y), "test": (wide, Y)}, output=tmp_path)


@keras.saving.register_keras_serializable("test_derived")
class Scaled(layers.Layer):
    """Forgets in get_config what it was made with, as users' layers do."""

    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return super().get_config()


def test_a_layer_that_its_configuration_does_not_describe(tmp_path):
    """Without training, the file is made from the model itself; a recipe that trains would train another network."""
    found = keras.Sequential([keras.Input((4,)), Scaled(3.0), layers.Dense(3, activation="softmax")])
    x = ((X - CENTRE) / SPREAD).astype("float32")
    made = api.compress(found, "float32", data={"train": (x, Y), "test": (x, Y)}, output=tmp_path / "float32")
    np.testing.assert_allclose(litert.run(made.path, x), found.predict(x, verbose=0), atol=1e-5)
    with pytest.raises(UsageError, match=r"a copy from get_config\(\) and the weights to compute the same"):
        api.compress(
            found, "prune(0.5) + float32", data={"train": (x, Y), "test": (x, Y)}, output=tmp_path / "b", **TRAINING
        )


def test_parity_is_measured_against_predict_in_bfloat16(tmp_path):
    """The file computes in float32; what it differs by is from the model that was given, not from a copy."""
    policy = keras.mixed_precision.DTypePolicy("mixed_bfloat16")
    hidden = layers.Dense(64, activation="relu", dtype=policy)
    model = keras.Sequential([keras.Input((4,)), hidden, layers.Dense(3, dtype=policy)])
    x = ((X - CENTRE) / SPREAD).astype("float32")
    made = api.compress(model, "float32", data={"train": (x, Y), "test": (x, Y)}, output=tmp_path)
    difference = np.abs(litert.run(made.path, x) - model.predict(x, verbose=0).astype("float32")).max()
    assert 1e-4 < difference == pytest.approx(made.receipt["parity"]["largest_difference"])


def test_a_network_on_raw_features_is_told_what_helps(tmp_path, capsys):
    """Its first layer divides by the spread of each feature, which one scale for the input loses."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), layers.Dense(16, activation="relu"), layers.Dense(3)])
    kernel, bias = model.layers[0].get_weights()
    model.layers[0].set_weights([kernel / SPREAD[:, None], bias - (CENTRE / SPREAD) @ kernel])
    first, made = model.layers[0].name, {}
    lost = {"int8": "leaves 3 of 4", "int16x8": "leaves 1 of 4", "float16": None, f"int8(skip={first})": None}
    for recipe, words in lost.items():
        made[recipe] = api.compress(model, recipe, data=DATA, output=tmp_path / recipe)
        said = capsys.readouterr().err
        assert (words or "") in said and ("one scale for all features" in said) == bool(words)
    worst = {recipe: each.receipt["parity"]["largest_difference"] for recipe, each in made.items()}
    assert worst[f"int8(skip={first})"] < 0.1 * worst["int8"]


def test_results_written_over_their_inputs_do_not_widen_ranges(tmp_path):
    """The converter's calibration reads the inputs of an operator after running it, when a result may lie over them."""
    x = RNG.uniform(0, 1, (64, 8, 8, 3)).astype("float32")
    inputs = keras.Input((8, 8, 3))
    small = layers.Rescaling(1 / 255)(inputs)
    model = keras.Model(inputs, layers.Conv2D(4, 3)(adapted(x / 255)(small)))
    made = api.compress(model, "int8", data={"train": x, "test": x}, output=tmp_path)
    expected = model.predict(x, verbose=0)
    assert np.abs(litert.run(made.path, x) - expected).max() < 0.05 * np.abs(expected).max()
