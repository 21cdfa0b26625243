"""The pretrained runs with the weights of MLPerf Tiny: the given networks, and what a command says of their data."""

import json

import keras
import numpy as np
import pytest

import zoo
from benchmarks import mlperf_inputs, mlperf_tiny
from compression import compress, verify
from compression.receipts.subject import UNLABELLED
from tests.conftest import DATA_DIR, ROOT
from zoo import evaluate, predict

PARAMETERS = {
    "resnet8-cifar10": 78_666,
    "ds_cnn-kws": 24_908,
    "mobilenet-vww": 221_794,
    "autoencoder-toycar": 269_992,
    "wakeword": 47_707,
}
LARGE = ("mobilenet-vww", "resnet8-cifar10")
UNSCORED = ("mobilenet-vww", "autoencoder-toycar", "wakeword")
NETWORKS = DATA_DIR.parent / "models" / "mlperf_tiny"
STOCK = ROOT / "zoo" / "stock"


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LARGE)) for n in PARAMETERS])
def test_outputs_are_those_of_the_given_network(name):
    task, model = mlperf_tiny.TASKS[name], zoo.load(name)
    assert model.count_params() == PARAMETERS[name]
    if not (NETWORKS / task.network).is_file():
        pytest.skip(f"no {NETWORKS / task.network}")
    theirs = keras.saving.load_model(NETWORKS / task.network, compile=False)
    shape = json.loads((STOCK / name / "config.json").read_text())["data"]["input_shape"]
    rng = np.random.default_rng(0)
    if task.by_errors:
        x = rng.normal(-30, 20, (20, *shape)).astype("float32")
        found, within = model(x), 1e-5 * 80  # values of up to 80 dB
    else:
        x = rng.integers(0, 256, (20, *shape)).astype("uint8")
        found, within = keras.ops.softmax(model(x / np.float32(255))), 1e-5
    np.testing.assert_allclose(found, theirs.predict(mlperf_tiny.of_reference(x, task), verbose=0), atol=within)


@pytest.mark.parametrize("name", UNSCORED)
def test_no_score_is_stated_where_no_labels_were(name):
    folder = STOCK / name
    assert json.loads((folder / "metrics.json").read_text())["test"] == {"examples": 1000}
    for file in ("float32", "int8"):
        receipt = json.loads((folder / "artifacts" / f"{file}.receipt.json").read_text())
        assert receipt["test"]["litert"] == receipt["test"]["keras"] == {}
        assert receipt["test"]["labels"] == UNLABELLED
        assert receipt["made"]["data"] == mlperf_tiny.TASKS[name].inputs


def test_commands_that_need_its_data_say_which(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    for command, words in ((evaluate, []), (verify, []), (compress, ["--recipe", "int8"])):
        assert command.main(["wakeword", *words]) == 2
        assert "--data spoken_digits.npz: expected a file or a folder, found none" in capsys.readouterr().err


def test_it_answers_without_its_data(tmp_path, capsys):
    np.savez(tmp_path / "sound.npz", x=np.zeros((2, 30, 40, 1), np.uint8))
    assert predict.main(["wakeword", str(tmp_path / "sound.npz"), "--json"]) == 0
    assert {row["label"] for row in json.loads(capsys.readouterr().out)} == {"unknown"}


def test_every_fifth_input_calibrates(tmp_path):
    if not NETWORKS.is_dir():
        pytest.skip(f"no trained networks in {NETWORKS}")
    mlperf_inputs.keywords(DATA_DIR, tmp_path / "kws01.npz", first=1)
    arrays, stored = np.load(tmp_path / "kws01.npz"), np.load(NETWORKS / "kws01" / "kws01.npz")
    assert (len(arrays["x_train"]), len(arrays["x_test"])) == (200, 800)
    np.testing.assert_array_equal(arrays["x_train"][2].astype(int) - 128, stored["x"][11])
    np.testing.assert_array_equal(arrays["y_test"][:4], stored["y"][[0, 2, 3, 4]])
