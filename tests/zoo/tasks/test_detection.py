"""Detection: training learns boxes, resumes bit for bit with moved boxes, and answers are drawn."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT, run_module, wait_for_step
from tests.zoo.data.annotations import pictures
from zoo import evaluate, predict
from zoo.config.train_config import TrainConfig
from zoo.reports.boxes import colour
from zoo.runs import checkpoints
from zoo.scores.detections import Found
from zoo.tasks.pages.detection import worst
from zoo.training.loop import train

SETTINGS = {"backbone": "mobilenet_v2", "alpha": 0.35, "width": 24, "depth": 1, "blocks": 7}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run on discs and squares, and its folder."""
    folder = tmp_path_factory.mktemp("objects")
    pictures.voc(folder / "voc", {"train": 96, "val": 16, "test": 24})
    config = TrainConfig(
        model="detector", data=folder / "voc", settings=SETTINGS, image_size=64, fit="pad", epochs=40, batch_size=8,
        learning_rate=5e-3, augment="flip(both) + zoom(0.2)", output=folder / "run",
    )  # fmt: skip
    return train(config, verbose=False).run, folder


@pytest.mark.slow
def test_boxes_are_learnt_reported_and_evaluated(run, capsys):
    folder, _ = run
    metrics = folder.read_metrics()
    assert metrics["test"]["map_50"] > 0.6 and metrics["test"]["examples"] == 24
    assert {row["class"] for row in metrics["per_class"]} == set(pictures.CLASSES)
    rows = folder.read_history()
    assert {"val_loss", "val_map", "val_map_50"} <= rows[-1].keys()
    report = folder.report_file.read_text()
    assert "Precision and recall" in report and "Worst misses" in report and report.count("data:image/png") >= 1
    assert evaluate.main([str(folder.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["map_50"] == metrics["test"]["map_50"]


@pytest.mark.slow
def test_objects_are_given_in_pixels_of_the_picture_and_drawn(run, tmp_path, capsys):
    folder, data = run
    rng = np.random.default_rng(11)
    large = tmp_path / "large picture.png"
    picture, objects = pictures.scene(rng, most=1)
    Image.fromarray(picture).resize((320, 240), Image.Resampling.NEAREST).save(large)
    out = tmp_path / "out" / "drawn.png"
    assert predict.main([str(folder.path), str(large), "--draw", str(out), "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    best = row["objects"][0]
    assert best["label"] == objects[0][0] and best["probability"] > 0.3
    np.testing.assert_allclose(best["box"], 5 * np.array(objects[0][1:]), atol=15)
    shown = np.asarray(Image.open(out))
    assert shown.shape == (240, 320, 3)
    x, y = round(best["box"][0]), round((best["box"][1] + best["box"][3]) / 2)
    paint = np.array(colour(pictures.CLASSES.index(best["label"])))
    assert (np.abs(shown[y, max(0, x - 1) : x + 3].astype(int) - paint).sum(-1) == 0).any()
    assert predict.main([str(folder.path), str(large)]) == 0
    assert best["label"] in capsys.readouterr().out


def test_what_cannot_be_drawn_is_refused_before_work(run_of_classes, tmp_path, capsys):
    assert predict.main([str(run_of_classes), "absent.png", "--draw", "x.png"]) == 2
    assert "--draw x.png: expected a run that gives objects or masks, this one gives classes" in capsys.readouterr().err


@pytest.fixture
def run_of_classes(tmp_path):
    config = TrainConfig(model="simplenet", image_size=8, epochs=1, steps_per_epoch=1, output=tmp_path / "run")
    return train(config, verbose=False).run.path


def test_the_worst_pictures_come_first():
    truth = np.full((3, 2, 5), -1, np.float32)
    truth[:, 0] = [0, 0, 10, 10, 0]
    truth[2, 1] = [20, 20, 30, 30, 1]

    def found(*rows):
        boxes = np.array([row[:4] for row in rows], np.float32).reshape(-1, 4)
        return Found(boxes, np.array([row[4] for row in rows], np.int32), np.full(len(rows), 0.9, np.float32))

    right, moved = (0, 0, 10, 9, 0), (5, 5, 15, 15, 0)
    assert worst([found(right), found(moved, right), found()], truth) == [(2, 2, 0), (1, 0, 1)]


@pytest.mark.slow
def test_a_killed_training_with_moved_boxes_continues_bit_for_bit(tmp_path):
    pictures.voc(tmp_path / "voc", {"train": 32, "val": 8, "test": 8})
    words = [
        "zoo.train", "--model", "detector", "--data", tmp_path / "voc", "--image-size", 32, "--epochs", 3,
        "--batch-size", 8, "--augment", "flip(both) + crop(0.2) + zoom(0.3) + rotate(10) + colour(0.2)",
        "--deterministic", "--checkpoint-every", 1,
        "--set", "backbone=mobilenet_v2", "--set", "alpha=0.1", "--set", "width=8", "--set", "depth=1",
    ]  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    run_module(*words, "--output", whole, cwd=tmp_path, check=0)
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", *map(str, words), "--output", str(broken)]
    child = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for_step(broken, 6, child)
    child.send_signal(signal.SIGKILL)
    child.wait()
    listed = checkpoints.listed(broken / "checkpoints")
    while int(listed[-1].name.split("-")[1].partition(".")[0]) % 4 == 0:  # go back to a checkpoint inside an epoch
        listed.pop().unlink()
    assert not (broken / "metrics.json").exists()
    run_module("zoo.train", "--resume", "--output", broken, cwd=tmp_path, check=0)
    one, other = (checkpoints.newest(folder / "checkpoints")[0].arrays for folder in (whole, broken))
    np.testing.assert_equal(one, other)
    assert (whole / "history.csv").read_bytes() == (broken / "history.csv").read_bytes()
