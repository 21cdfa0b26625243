"""A run that was interrupted inside an epoch resumes on other devices, or on another backend, with equal results."""

import contextlib
import dataclasses
import functools
import shutil

import keras
import numpy as np
import pytest

from strategies import keras_fit
from tests.conftest import blobs, run_module, stop_after
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.train import configure
from zoo.training.capabilities.executions import stride_of
from zoo.training.loop import train

EPOCHS, STEPS = 3, 6


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The configuration of a run that was not interrupted."""
    folder = tmp_path_factory.mktemp("runs")
    x, y = blobs(150, (10, 8))
    np.savez(folder / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    common = {
        "model": "cnn", "data": folder / "blobs.npz", "epochs": EPOCHS, "batch_size": 16, "optimizer": "adamw",
        "learning_rate": 0.01, "keep": "last", "checkpoint_every": 1, "seed": 3, "precision": "float64",
        "settings": {"filters": (4,), "pools": 1, "units": 8, "dropout": 0.0, "batch_norm": True},
    }  # fmt: skip
    whole = TrainConfig(**common, output=folder / "whole")
    train(whole, verbose=False)
    return whole


@pytest.fixture(scope="module")
def interrupted(whole):
    """A function that returns the folder of a run under a strategy that was interrupted in the second epoch."""

    @functools.cache
    def run(strategy):
        devices = 2 if strategy == "mirrored" else 0
        output = whole.output.parent / strategy
        config = dataclasses.replace(whole, strategy=strategy, virtual_devices=devices, output=output)
        with contextlib.suppress(Interrupted):
            train(config, callbacks=[stop_after(STEPS + 4)], verbose=False)
        assert checkpoints.newest(output / "checkpoints")[0].step == STEPS + 4
        return output

    return run


def moved(run, tmp_path):
    return shutil.copytree(run, tmp_path / "run")


def assert_same(folder, whole, tolerance=1e-9):
    ours, theirs = (checkpoints.newest(f / "checkpoints")[0] for f in (folder, whole))
    assert ours.step == theirs.step == EPOCHS * STEPS
    for name, value in theirs.arrays.items():
        if name.startswith("metric/"):
            continue  # one copy for each replica; the history has their sums
        np.testing.assert_allclose(ours.arrays[name], value, rtol=0, atol=tolerance, err_msg=name)
    for row, expected in zip(ours.state["history"], theirs.state["history"], strict=True):
        assert row == pytest.approx(expected, abs=1e-5)
    assert RunFolder(folder).read_metrics()["test"] == pytest.approx(RunFolder(whole).read_metrics()["test"], abs=1e-5)


@pytest.mark.parametrize(("name", "to"), [
    ("mirrored", {"strategy": "none"}),
    pytest.param("none", {"strategy": "mirrored", "virtual_devices": 2}, marks=pytest.mark.slow),
    pytest.param("none", {"steps_per_execution": 2}, marks=pytest.mark.slow),
])  # fmt: skip
def test_devices_may_change(name, to, whole, interrupted, tmp_path):
    folder = moved(interrupted(name), tmp_path)
    train(configure({"resume": True, "output": folder, **to}), verbose=False)
    assert_same(folder, whole.output)
    assert RunFolder(folder).read_config()["config"].strategy == to.get("strategy", "none")


@pytest.mark.slow
def test_the_engine_may_change(whole, interrupted, tmp_path):
    """Move from TensorFlow in one process to JAX on four devices with three steps in an execution."""
    folder = moved(interrupted("none"), tmp_path)
    words = ("--strategy", "data_parallel", "--virtual-devices", 4, "--steps-per-execution", 3)
    done = run_module("zoo.train", "--resume", "--output", folder, *words, cwd=tmp_path, check=0)
    assert f"after step {STEPS + 4}" in done.stderr
    assert "RuntimeWarning" not in done.stderr and "UserWarning" not in done.stderr
    assert_same(folder, whole.output, 1e-6)
    model = RunFolder(folder).load_model()  # written on JAX, read on TensorFlow
    for ours, theirs in zip(model.get_weights(), RunFolder(whole.output).load_model().get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


def test_metrics_of_all_replicas_are_kept_if_their_number_changes():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(np.zeros((4, 2)), np.zeros((4, 1)), verbose=0)
    arrays = checkpoints.capture(model)
    arrays |= {f"worker {w}/metric/{i}/{r}": np.float32(10 * w + r + i) for w in (0, 1) for i in (0, 1) for r in (0, 1)}
    checkpoints.restore_metrics(model, arrays)
    held = dict(checkpoints.variables(model))
    assert [float(held[f"metric/{i}/0"]) for i in (0, 1)] == [22, 26]


def test_replicas_of_one_process_and_workers_of_one_replica_are_told_apart(mirrored):
    """Distinguish two replicas of one process from two workers: equal numbers of copies, different names."""
    with mirrored.scope():
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        keras_fit.build_for_fit(model, (np.zeros((4, 2), "float32"), np.zeros((4, 1), "float32")))
    arrays = {f"worker {w}/metric/{i}/0": np.float32(10 * w + i) for w in (0, 1) for i in (0, 1)}
    checkpoints.restore_metrics(model, arrays)
    held = dict(checkpoints.variables(model))
    assert [[float(held[f"metric/{i}/{r}"]) for r in (0, 1)] for i in (0, 1)] == [[10, 0], [12, 0]]


@pytest.mark.parametrize(("most", "steps", "done", "stride"), [
    (1, 20, 0, 1), (16, 20, 0, 10), (16, 20, 40, 10), (16, 20, 26, 2), (16, 7, 0, 7), (4, 7, 0, 1), (8, 32, 8, 8),
])  # fmt: skip
def test_an_execution_never_crosses_the_end_of_an_epoch(most, steps, done, stride):
    assert stride_of(most, steps, done) == stride
