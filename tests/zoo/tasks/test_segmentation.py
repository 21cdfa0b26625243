"""Training of masks: learning, resuming, several replicas, prediction on pictures of any size."""

import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from zoo import predict
from zoo.api import evaluate
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder
from zoo.training.loop import train

SMALL = {"model": "unet", "settings": {"filters": 4, "depth": 1}, "batch_size": 8, "learning_rate": 1e-2}


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    """40 pictures of 20x14 pixels: sky, road and a border of ignored pixels."""
    folder, rng = tmp_path_factory.mktemp("street"), np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    for i in range(40):
        mask = np.zeros((14, 20), "uint8")
        mask[rng.integers(4, 9) :] = 1
        picture = np.array([(60, 120, 230), (90, 90, 90)])[mask] + rng.normal(0, 20, (14, 20, 3))
        mask[:, :2] = 255
        Image.fromarray(np.clip(picture, 0, 255).astype("uint8")).save(folder / "images" / f"{i}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{i}.png")
    (folder / "classes.txt").write_text("sky\nroad\n")
    return folder


@pytest.fixture(scope="module")
def run(street, tmp_path_factory):
    config = TrainConfig(**SMALL, data=street, epochs=6, dice=0.5, output=tmp_path_factory.mktemp("run") / "run")
    train(config, verbose=False)
    return config.output


@pytest.mark.slow
def test_masks_are_learnt_and_measured_again(run):
    metrics = RunFolder(run).read_metrics()
    assert metrics["test"]["miou"] > 0.9 and metrics["test"]["boundary_f1"] > 0.5
    assert [row["class"] for row in metrics["per_class"]] == ["sky", "road"]
    again = evaluate(run)
    assert again["miou"] == pytest.approx(metrics["test"]["miou"])
    report = RunFolder(run).report_file.read_text()
    assert "Worst pictures" in report and report.count("<figure>") == 8 * 4


@pytest.mark.slow
def test_a_picture_of_another_size_gets_a_mask_of_its_own_size(run, street, tmp_path, capsys):
    picture = Image.open(street / "images" / "3.png").resize((75, 31))
    picture.save(tmp_path / "wide.png")
    words = [str(run), str(tmp_path / "wide.png"), str(street / "images" / "4.png")]
    assert predict.main([*words, "--draw", str(tmp_path / "out.png"), "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)
    assert set(first["shares"]) == {"sky", "road"} and sum(first["shares"].values()) == pytest.approx(1)
    drawn = np.asarray(Image.open(tmp_path / "out.png"))
    assert drawn.shape == (31, 75, 3) and np.asarray(Image.open(tmp_path / "out-2.png")).shape == (14, 20, 3)
    assert first["shares"]["road"] == pytest.approx(second["shares"]["road"], abs=0.35)


@pytest.mark.slow
def test_a_resumed_training_ends_with_the_same_bits(street, tmp_path):
    options = SMALL | {"data": street, "augment": "standard", "epochs": 3, "checkpoint_every": 1}
    whole = train(TrainConfig(**options, output=tmp_path / "whole"), verbose=False)
    broken = TrainConfig(**options, output=tmp_path / "broken")
    command = [sys.executable, "-c", _KILLED.format(config=broken.to_json())]
    assert subprocess.run(command, cwd=ROOT).returncode == 9
    again = train(dataclasses.replace(broken, resume=True), verbose=False)
    for a, b in zip(whole.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


_KILLED = """
import os
import keras
from zoo.config.train_config import TrainConfig
from zoo.tasks.segmentation import TASK
from zoo.training.loop import train

class Kill(keras.callbacks.Callback):
    seen = 0
    def on_train_batch_end(self, batch, logs=None):
        Kill.seen += 1
        if Kill.seen == 5:  # inside the second epoch of four steps
            os._exit(9)

type(TASK).callbacks = lambda *_: [Kill()]
train(TrainConfig.from_json({config}), verbose=False)
"""


@pytest.mark.slow
def test_two_replicas_learn_what_one_does(street, tmp_path):
    options = SMALL | {"data": street, "epochs": 1, "augment": "flip", "learning_rate": 1e-3}
    one, two = (
        train(TrainConfig(**options, **extra, output=tmp_path / str(number)), verbose=False)
        for number, extra in enumerate(({}, {"strategy": "mirrored", "virtual_devices": 2}))
    )
    for name in ("loss", "miou"):
        assert two.history[0][name] == pytest.approx(one.history[0][name], rel=1e-3)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"augment": "mixup"}, "mixup mixes the classes of two .*, and segmentation has no classes to mix"),
        ({"focal_gamma": 2.0}, "--focal-gamma 2: expected a classifier, unet learns segmentation"),
        ({"new_head": True}, "--new-head: expected a model whose layers form a sequence"),
    ],
)
def test_options_of_classes_are_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        TrainConfig(model="unet", **options)


def test_dice_is_an_option_of_masks_alone(tmp_path):
    with pytest.raises(UsageError, match="--dice: expected with --task segmentation"):
        train(TrainConfig(model="cnn", dice=1.0, output=tmp_path / "run"), verbose=False)


def test_a_model_of_classes_is_refused_for_masks(street, tmp_path):
    with pytest.raises(
        UsageError, match="cnn: learns classification or .*, and .* is for segmentation; models .* unet, lrasp"
    ):
        train(TrainConfig(model="cnn", data=street, output=tmp_path / "run"), verbose=False)
