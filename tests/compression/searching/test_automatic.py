"""`--recipe auto`: it takes the best of the files that it measured, and searches if none is good enough."""

import json

import pytest

from compression import compress, verify
from compression.recipes import language
from compression.searching import automatic
from tests.compression.test_commands import said


def test_recipes_follow_from_the_layers_of_a_network():
    import keras
    from keras import layers

    def of(*given):
        return automatic.candidates(keras.Sequential([keras.Input((8, 8)), *given]))

    assert of(layers.Conv1D(3, 3)) == automatic.OTHERS
    assert of(layers.DepthwiseConv1D(3)) == of(layers.SeparableConv1D(3, 3)) == automatic.DEPTHWISE
    assert of(layers.Bidirectional(layers.GRU(2))) == of(layers.Conv1D(3, 3), layers.LSTM(2)) == automatic.SEQUENCES
    x = keras.Input((8, 8))
    attention = keras.Model(x, layers.MultiHeadAttention(2, 3)(x, x))
    assert automatic.candidates(attention) == automatic.SEQUENCES
    for recipe in (*automatic.OTHERS, *automatic.DEPTHWISE, *automatic.SEQUENCES):
        assert not language.parse(recipe).stages, recipe


def test_limits_are_those_of_a_search():
    wanted = automatic.parse("auto(max_bytes=50k, min_accuracy=0.85, trials=7)")
    assert wanted.budget.limits == {"max_bytes": 50_000, "min_accuracy": 0.85} and wanted.trials == 7
    assert automatic.parse("auto").budget.limits == {} and automatic.parse("int8(skip=auto)") is None


@pytest.mark.parametrize(("words", "message"), [
    (("auto + int8",), "auto chooses all words itself"),
    (("auto(max_byte=2k)",), "max_bytes"),
    (("auto(trials=0)",), "trials: expected at least 1, received 0"),
    (("auto(min_accuracy=85)",), "85 % is 0.85"),
    (("auto", "--uint8-input"), "--uint8-input: expected a recipe of words"),
    (("auto", "--skip-worst", 1), "--skip-worst: expected a recipe of words"),
    (("auto", "--strategy", "mirrored"), "--strategy: expected a recipe of words"),
    (("auto", "--calibration", 3), "--calibration: expected a recipe of words"),
    (("auto(max_bytes=100)",), "expected at least"),
])  # fmt: skip
def test_impossible_requests_are_refused(words, message, image_run, tmp_path, capsys):
    status, _, error = said(capsys, compress, image_run, "--recipe", *words, "--output", tmp_path)
    assert status == 2 and message in error and len(error.strip().splitlines()[-1]) < 400, error


@pytest.mark.slow
def test_the_smallest_file_that_keeps_the_accuracy_is_taken(image_run, tmp_path, capsys):
    status, out, error = said(capsys, compress, image_run, "--recipe", "auto", "--output", tmp_path, "--json")
    assert status == 0, error
    receipt, lines = json.loads(out), error.splitlines()
    measured = {}
    for line in lines:
        recipe, _, rest = line.partition(": ")
        if " bytes, " in rest and not line.startswith("auto"):
            size, share = rest.split(" bytes, ")
            measured[recipe] = int(size.replace(",", "")), float(share.rstrip("%"))
    first = next(line for line in lines if "tried first" in line)
    least = 100 * float(first.split("--min-accuracy ")[1].split()[0])
    assert len(measured) == 4
    good = [recipe for recipe, (_, share) in measured.items() if share >= least - 1e-9]
    assert receipt["made"]["recipe"] == min(good, key=lambda recipe: measured[recipe][0])
    assert receipt["bytes"] == measured[receipt["made"]["recipe"]][0]
    status, _, error = said(capsys, verify, receipt["path"], image_run)
    assert status == 0, error


@pytest.mark.slow  # trains two recipes
def test_recipes_that_train_are_tried_if_no_other_fits(image_run, tmp_path, capsys):
    words = ("--recipe", "auto(max_bytes=2300, trials=2)", "--output", tmp_path, "--json")
    status, out, error = said(capsys, compress, image_run, *words)
    assert status == 0, error
    receipt = json.loads(out)
    assert receipt["bytes"] <= 2300 and language.parse(receipt["made"]["recipe"]).stages
    assert "recipes that train are tried" in error
    assert error.count("finished before") == 1  # what the search trained is not trained again
    assert (tmp_path / "search" / "search.json").is_file()


def test_a_model_in_memory_is_given_a_recipe(tmp_path):
    import keras
    import numpy as np

    from compression.api import compress as compressed

    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    x = (rng.normal(size=(400, 6)) + 3 * y[:, None]).astype("float32")
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(8, "relu"), keras.layers.Dense(2, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    model.fit(x, y, epochs=20, verbose=0)
    data = {"train": (x[:200], y[:200]), "validation": (x[200:300], y[200:300]), "test": (x[300:], y[300:])}
    found = compressed(model, "auto", data=data, output=tmp_path)
    assert found.receipt["made"]["recipe"] in ("int8", "int8(per_tensor=true)", "int4", "dynamic")
    assert found.receipt["test"]["litert"]["accuracy"] > 0.95
