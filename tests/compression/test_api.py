"""The public functions of compression: runs and Keras models in, readable results out."""

import keras
import numpy as np
import pytest

from compression import api
from compression.recipes import language
from compression.recipes.options import unfollowed
from compression.runtime import litert
from tests.conftest import blobs
from zoo.console.errors import UsageError
from zoo.runs.results import Run

X, Y = blobs(120, (12, 12, 1))
X = (X * 255).astype("uint8")


def dense(**options):
    layers = [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(3, **options)]
    return keras.Sequential(layers, name="mine")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    keras.utils.set_random_seed(0)  # other weights may have answers that rounding changes
    model = dense()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("api"))
        file = api.compress(model, "dynamic", data=(X, Y), output="out")
        file.path = file.path.resolve()
    return model, file


def test_a_keras_model_becomes_a_measured_file(made):
    model, file = made
    logits = model.predict(X / 255.0, verbose=0)
    found = litert.run(file.path, (X / 255.0).astype("float32"))
    np.testing.assert_array_equal(found.argmax(-1), logits.argmax(-1))
    assert file.bytes == file.path.stat().st_size
    assert f"{file.test['accuracy']:.2%}" in repr(file) and "p95" in repr(file) and "<table>" in file._repr_html_()


def test_inspection_adds_up(made):
    found = api.inspect(made[1])
    assert sum(row["bytes"] for row in found.table()) == 2 * made[1].bytes  # the layers, and their sum
    assert {row["type"] for row in found.tensors} <= {"int8", "float32", "int32"}


@pytest.mark.slow
def test_a_run_is_compressed_where_it_lies(image_run):
    file = api.compress(Run(image_run), "float32", output=str(image_run / "api"))
    assert file.run == image_run and file.path == image_run / "api" / "float32.tflite"
    assert repr(api.verify(file)).count(f"{file.bytes:,} bytes") == 1


def test_options_without_effect_are_told(tmp_path, capsys):
    options = {"epochs": 50, "augment": "flip", "optimizer": "sgd", "calibration": 3}
    api.compress(dense(), "dynamic", data=(X, Y), output=tmp_path, **options)
    told = capsys.readouterr().err.splitlines()
    assert (
        "dynamic does not train: --epochs, --augment, --optimizer have no effect; dynamic takes no examples:"
        " --calibration has no effect" in told
    )


@pytest.mark.parametrize(
    ("recipe", "given", "told"),
    [
        ("int8", {"calibration": 50, "seed": 7}, ""),
        ("prune(0.5) + float32", {"epochs": 2, "seed": 7}, ""),
        ("int8", {"strategy": "mirrored", "virtual_devices": 2}, "int8 does not train: --strategy, --virtual-devices"),
        ("int4(rounding=nearest)", {"seed": 7}, "int4(rounding=nearest) takes no examples: --seed has no effect"),
        ("dynamic", {"seed": 7, "skip_worst": 2}, ""),
    ],
)
def test_which_options_have_no_effect(recipe, given, told):
    found = unfollowed(language.parse(recipe), given)
    assert found.startswith(told) and bool(found) == bool(told)


def test_what_does_not_fit_is_refused_before_work(image_run):
    with pytest.raises(UsageError, match="expected data beside a Keras model"):
        api.compress(dense(), output="out")
    with pytest.raises(UsageError, match="class_names: expected with arrays as data"):
        api.compress(dense(), dataset="digits", class_names=["a"], output="out")
    for name, value in {"dataset": "digits", "image_size": 28, "test_split": 0.5}.items():
        with pytest.raises(UsageError, match=f"{name}: expected with data that are read .* received with arrays"):
            api.compress(dense(), data=(X, Y), output="out", **{name: value})
    with pytest.raises(UsageError, match="expected a run, its path or a Keras model, received int"):
        api.compress(3)
    with pytest.raises(UsageError, match="received 'batchh'; did you mean 'batch'"):
        api.compress(image_run, batchh=2)
    with pytest.raises(UsageError, match="which has its own"):
        api.compress(image_run, data=(X, Y))
