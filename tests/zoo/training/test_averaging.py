"""Averaged weights against NumPy, also after an interruption; snapshots and the learning rates of their cycles."""

import dataclasses
import json
import math

import keras
import numpy as np
import pytest

from tests.conftest import blobs, stop_after
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted
from zoo.ensemble import __main__ as ensemble
from zoo.introspection.layers import with_itself
from zoo.models import CNN
from zoo.runs.folder import RunFolder
from zoo.training.loop import train
from zoo.training.optimization import learning_rate

STEPS, EPOCHS = 5, 4


@pytest.fixture
def config(tmp_path):
    """Four epochs of five steps of a network with dropout and batch normalisation."""
    x, y = blobs(120, (12, 12))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    settings = {"filters": (4,), "pools": 1, "units": 6, "dropout": 0.3, "batch_norm": True}
    return TrainConfig(
        model="cnn", data=tmp_path / "blobs.npz", epochs=EPOCHS, batch_size=16, learning_rate=0.01, deterministic=True,
        settings=settings, output=tmp_path / "run",
    )  # fmt: skip


class Weights(keras.callbacks.Callback):
    """Record the trainable weights at the end of every step."""

    def __init__(self):
        super().__init__()
        self.steps = []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append([v.numpy().astype("float64") for v in self.model.trainable_variables])


def saved(config):
    """Return the trainable weights of a run's model.keras, and all its weights."""
    model = RunFolder(config.output).load_model()
    return [v.numpy() for v in model.trainable_variables], model.get_weights()


def stopped_and_continued(config, output, steps):
    """Train a run that is interrupted after a number of steps, and resume it."""
    config = dataclasses.replace(config, output=output)
    with pytest.raises(Interrupted):
        train(config, callbacks=[stop_after(steps)], verbose=False)
    train(dataclasses.replace(config, resume=True), verbose=False)
    return config


def test_a_moving_average_equals_numpy(config):
    config = dataclasses.replace(config, average="ema(0.8)", checkpoint_every=1)
    seen = Weights()
    train(config, callbacks=[seen], verbose=False)
    expected = seen.steps[0]
    for weights in seen.steps[1:]:
        expected = [0.8 * average + 0.2 * w for average, w in zip(expected, weights, strict=True)]
    assert len(seen.steps) == STEPS * EPOCHS
    for mine, average, last in zip(saved(config)[0], expected, seen.steps[-1], strict=True):
        np.testing.assert_allclose(mine, average, rtol=1e-5, atol=1e-6)
        assert not np.allclose(mine, last, atol=1e-4)


@pytest.mark.slow
def test_a_moving_average_survives_an_interruption(config, tmp_path):
    config = dataclasses.replace(config, average="ema(0.8)", checkpoint_every=1)
    found = train(config, verbose=False)
    again = stopped_and_continued(config, tmp_path / "broken", STEPS + 2)
    for mine, theirs in zip(saved(again)[1], saved(config)[1], strict=True):
        np.testing.assert_array_equal(mine, theirs)
    metrics = RunFolder(again.output).read_metrics()
    assert metrics["validation"] == found.metrics["validation"]
    assert metrics["epoch"] == EPOCHS


@pytest.mark.slow
def test_a_mean_over_epochs_and_snapshots_equal_numpy_and_survive_an_interruption(config, tmp_path, capsys):
    config = dataclasses.replace(config, average="swa(0.5)", snapshots=2)
    seen = Weights()
    found = train(config, callbacks=[seen], verbose=False)
    ends = seen.steps[STEPS - 1 :: STEPS]
    trained, everything = saved(config)
    for mine, third, fourth in zip(trained, ends[2], ends[3], strict=True):
        np.testing.assert_allclose(mine, (third + fourth) / 2, rtol=1e-6, atol=1e-7)

    # The normalisation has the moments of its inputs under the averaged weights, here computed by NumPy.
    model = found.model
    x = np.load(config.data)["x"][..., None].astype("float32") / 255
    assert isinstance(model, CNN)
    (norm,) = (layer for layer in with_itself(model) if isinstance(layer, keras.layers.BatchNormalization))
    (convolution,) = (layer for layer in with_itself(model) if isinstance(layer, keras.layers.Conv2D))
    of_all = convolution(x).numpy().reshape(-1, 4)
    np.testing.assert_allclose(norm.moving_mean, of_all.mean(0), atol=0.05)
    np.testing.assert_allclose(norm.moving_variance, of_all.var(0), rtol=0.2)

    run = RunFolder(config.output)
    for number, end in ((1, ends[1]), (2, ends[3])):
        for variable, value in zip(run.load_model(number).trainable_variables, end, strict=True):
            np.testing.assert_array_equal(variable, value.astype("float32"))

    again = stopped_and_continued(config, tmp_path / "broken", 3 * STEPS + 2)
    for mine, theirs in zip(saved(again)[1], everything, strict=True):
        np.testing.assert_array_equal(mine, theirs)

    # The snapshots of a run are the members of an ensemble.
    capsys.readouterr()
    assert ensemble.main([str(again.output), "--output", str(tmp_path / "both"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert [row["run"] for row in result["members"]] == [f"{again.output}, snapshot {i}" for i in (1, 2)]
    run.snapshot_file(2).unlink()
    assert ensemble.main([str(run.path)]) == 2
    assert "expected a snapshots/2.keras, found none" in capsys.readouterr().err


def test_adversarial_training_averages_and_saves_the_plain_model(config):
    config = dataclasses.replace(config, average="swa(0.5)", snapshots=2, adversarial="fgsm(eps=0.05)")
    seen = Weights()
    found = train(config, callbacks=[seen], verbose=False)
    ends = seen.steps[STEPS - 1 :: STEPS]
    for mine, third, fourth in zip(saved(config)[0], ends[2], ends[3], strict=True):
        np.testing.assert_allclose(mine, (third + fourth) / 2, rtol=1e-6, atol=1e-7)
    assert isinstance(found.model, CNN)
    for number, end in ((1, ends[1]), (2, ends[3])):
        snapshot = RunFolder(config.output).load_model(number)
        assert isinstance(snapshot, CNN)
        for variable, value in zip(snapshot.trainable_variables, end, strict=True):
            np.testing.assert_array_equal(variable, value.astype("float32"))


def test_rates_of_cycles_are_those_of_the_paper():
    rate = learning_rate(TrainConfig(epochs=6, learning_rate=0.2, snapshots=3).resolved(), 60)
    for step in (0, 1, 19, 20, 35, 40, 59):
        expected = 0.2 / 2 * (math.cos(math.pi * (step % 20) / 20) + 1)
        assert float(rate(step)) == pytest.approx(expected, abs=1e-6)
