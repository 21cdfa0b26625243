"""A run on sound as files that take samples: the front end in float32, the rest in integers; with features outside."""

import json

import numpy as np
import pytest

from compression import api
from compression.flatbuffers import flatbuffer
from compression.mcu import facts, snippets
from compression.mcu import sound as outside
from tests.zoo.data.sound.test_sound import folder
from zoo.api import load
from zoo.config.train_config import TrainConfig
from zoo.runs.folder import RunFolder
from zoo.runs.inference import load_like
from zoo.training.loop import train

SMALL = {"filters": 8, "num_blocks": 1, "dropout": 0.0}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("sound")
    data = folder(place / "tones", classes=("high", "low"), count=40)
    options = {"epochs": 6, "batch_size": 16, "learning_rate": 1e-2, "augment": "timeshift(0.05) + noise(0.5)"}
    train(TrainConfig(model="ds_cnn", data=data, settings=SMALL, output=place / "run", **options), verbose=False)
    return place / "run"


def test_an_int8_file_takes_samples_and_gives_integers(run):
    made = api.compress(run, recipe="int8")
    receipt, path = made.receipt, made.path
    assert receipt["about"]["input"] == {
        "name": "samples",
        "kind": "sound",
        "shape": [4000],
        "values": "samples from -1 to 1, one channel, 8000 in a second",
        "rate": 8000,
    }
    assert [row["type"] for side in ("inputs", "outputs") for row in receipt["signature"][side]] == ["float32", "int8"]
    assert {"LOG", "SQRT"} <= set(receipt["float_operators"])
    assert "CONV_2D" not in receipt["float_operators"]
    assert receipt["test"]["litert"]["accuracy"] == receipt["test"]["keras"]["accuracy"] > 0.9
    words = snippets.words_of(path, facts.facts_of(path))
    assert words["input"].endswith("samples of sound from -1 to 1, 8000 in a second")


@pytest.mark.slow
def test_dynamic_files_leave_the_front_end_in_float(run):
    made = api.compress(run, recipe="dynamic")
    receipt, model = made.receipt, flatbuffer.read(made.path)
    kinds = {
        tensor.type
        for tensor in model.subgraphs[0].tensors
        if b"/front" in tensor.name and model.buffers[tensor.buffer].data is not None
    }
    assert not kinds & {9, 17}  # int8, int4
    assert receipt["parity"]["largest_difference"] < 0.05


@pytest.mark.slow
def test_a_file_takes_the_integers_of_features_outside(run, tmp_path):
    data = load_like(RunFolder(run), RunFolder(run).read_config()["config"])
    receipt = outside.export(load(run), tmp_path, data)
    assert receipt["test"]["litert"]["accuracy"] > 0.9
    assert json.loads((tmp_path / "features.json").read_text())["rate"] == 8000
    (given,) = flatbuffer.signature(flatbuffer.read(tmp_path / "classes.tflite"))["inputs"]
    assert given["type"] == "int8"
    made = outside.Features(outside.Settings(**json.loads((tmp_path / "features.json").read_text())))
    assert made.quantized(np.asarray(data.test.x[0])).shape == tuple(given["shape"][1:3])
