"""Given weights and inputs without labels: a file is compared with its network, and nothing is scored or trained."""

import json

import keras
import numpy as np
import pytest

from compression import compress, search, verify
from compression.receipts.artifacts import read_receipt
from compression.receipts.subject import UNLABELLED
from tests.zoo.models.test_vision import with_varied_values
from zoo import calibrate, card, evaluate, predict, train
from zoo.attack import __main__ as attack
from zoo.data.sources import arrays
from zoo.isolation import passed
from zoo.models import DSCNN, Autoencoder
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256

PICTURE, NUMBERS = (16, 12, 1), (20,)
SIZES = {"ds_cnn": ("filters=4", "num_blocks=1"), "autoencoder": ("units=8,6", "code=3")}


def words(folder, name, epochs="0"):
    """Return arguments of zoo.train for one of two networks, whose weights and inputs are in a folder."""
    settings = [word for size in SIZES[name] for word in ("--set", size)]
    given = ["--data", str(folder / f"{name}.npz"), "--pretrained", str(folder / f"{name}.keras")]
    return ["--model", name, *settings, *given, "--epochs", epochs, "--output", str(folder / name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two networks, their inputs without labels, and their runs."""
    folder = tmp_path_factory.mktemp("unlabelled")
    rng = np.random.default_rng(0)
    networks = {
        "ds_cnn": (DSCNN(3, filters=4, num_blocks=1), PICTURE),
        "autoencoder": (Autoencoder((8, 6), 3), NUMBERS),
    }
    for name, (network, shape) in networks.items():
        network.build((None, *shape))
        with_varied_values(network).save(folder / f"{name}.keras")
        passed.remember(sha256(folder / f"{name}.keras"))  # tests/zoo/isolation has the trial of others
    pictures = (rng.random((50, *PICTURE)) * 255).astype("uint8")
    np.savez(folder / "ds_cnn.npz", x_train=pictures[:30], x_test=pictures[30:], class_names=["a", "b", "c"])
    numbers = rng.normal(0, 1, (50, *NUMBERS)).astype("float32")
    np.savez(folder / "autoencoder.npz", x_train=numbers[:30], x_test=numbers[30:])
    for name in networks:
        assert train.main(words(folder, name)) == 0
    return folder


@pytest.mark.parametrize("name", SIZES)
def test_a_run_of_given_weights_states_no_score(name, folder):
    run = RunFolder(folder / name)
    metrics = run.read_metrics()
    assert metrics["test"] == {"examples": 20} and metrics["intervals"] == {}
    assert metrics["data"]["classes"] == {}
    assert run.read_config()["data"]["unlabelled"] is True
    assert "test examples without labels: no score" in (folder / name / "report.html").read_text()
    assert not run.confusion_file.exists()
    x = np.load(folder / f"{name}.npz")["x_test"][:4]
    x = x / np.float32(255) if x.dtype == np.uint8 else x
    theirs = keras.saving.load_model(folder / f"{name}.keras")
    np.testing.assert_allclose(run.load_model()(x), theirs(x), atol=1e-5)


@pytest.mark.parametrize("name", ["ds_cnn", pytest.param("autoencoder", marks=pytest.mark.slow)])
def test_its_file_is_compared_with_keras_and_verified(name, folder, capsys):
    assert compress.main([str(folder / name), "--recipe", "int8"]) == 0
    assert "no labels: the file is compared with Keras alone (20 examples)" in capsys.readouterr().out
    file = folder / name / "artifacts" / "int8.tflite"
    receipt = read_receipt(file)
    assert receipt["test"] | {"sha256": ""} == {
        "examples": 20, "sha256": "", "litert": {}, "intervals": {}, "keras": {}, "labels": UNLABELLED,
    }  # fmt: skip
    assert receipt["made"]["data"] == name and receipt["parity"]["largest_difference"] > 0
    assert "threshold_in_float" not in receipt["about"]
    assert verify.main([str(file)]) == 0
    assert "reproduced: differences from Keras, no labels (20 examples)" in capsys.readouterr().out
    assert card.main([str(folder / name), "--output", str(folder / f"{name}.md")]) == 0
    _, _, told = (folder / f"{name}.md").read_text().partition("## Results")
    assert "the 20 test examples have no labels" in told and "no labels, compared with Keras; 20 examples" in told
    assert "%" not in told and "confusion" not in told


def test_a_classifier_answers_and_a_detector_has_no_threshold(folder, capsys):
    np.savez(folder / "few.npz", x=np.load(folder / "ds_cnn.npz")["x_test"][:2])
    assert predict.main([str(folder / "ds_cnn"), str(folder / "few.npz"), "--json"]) == 0
    assert {row["label"] for row in json.loads(capsys.readouterr().out)} <= {"a", "b", "c"}
    np.savez(folder / "few.npz", x=np.load(folder / "autoencoder.npz")["x_test"][:2])
    assert predict.main([str(folder / "autoencoder"), str(folder / "few.npz")]) == 2
    assert "metrics.json has a threshold; one on data without labels has none" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "options", "message"),
    [
        (evaluate, [], "ds_cnn: expected examples with labels, these have none"),
        (attack, ["--eps", "0.1"], "ds_cnn: expected examples with labels, these have none"),
        (calibrate, ["--output", "calibrated"], "ds_cnn: expected examples with labels, these have none"),
        (compress, ["--recipe", "qat + int8"], "expected labels to train with, ds_cnn has none"),
        (search, ["--max-bytes", "20k", "--trials", "1"], "expected labels, because recipes are selected by accuracy"),
    ],
)
def test_what_needs_labels_is_refused(command, options, message, folder, capsys):
    assert command.main([str(folder / "ds_cnn"), *options]) == 2
    assert message in capsys.readouterr().err


def test_labels_are_expected_where_something_is_trained(folder, capsys):
    assert train.main([*words(folder, "ds_cnn", epochs="1")[:-1], str(folder / "trained")]) == 2
    assert "expected an array 'y_train' beside 'x_train'" in capsys.readouterr().err


def test_classes_of_a_network_are_named(folder, capsys):
    np.savez(folder / "unnamed.npz", **{k: v for k, v in np.load(folder / "ds_cnn.npz").items() if k != "class_names"})
    given = ["--data", str(folder / "unnamed.npz"), "--output", str(folder / "unnamed")]
    assert train.main([*words(folder, "ds_cnn"), *given]) == 2
    assert "expected an array class_names beside examples without labels" in capsys.readouterr().err


def test_a_run_without_labels_is_scored_on_data_with_labels(folder, tmp_path, capsys):
    x = np.load(folder / "ds_cnn.npz")["x_test"]
    np.savez(tmp_path / "labelled.npz", x=x, y=np.arange(len(x)) % 3)
    given = ["--data", str(tmp_path / "labelled.npz"), "--output", str(tmp_path), "--json"]
    assert evaluate.main([str(folder / "ds_cnn"), *given]) == 0
    assert "accuracy" in json.loads(capsys.readouterr().out)


def test_one_label_is_enough_to_have_labels(folder, tmp_path):
    x = np.zeros((3, *PICTURE), np.uint8)
    np.savez(tmp_path / "some.npz", x_train=x, y_train=np.arange(3), x_test=x)
    assert arrays.without_labels(folder / "ds_cnn.npz") and not arrays.without_labels(tmp_path / "some.npz")
