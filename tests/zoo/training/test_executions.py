"""Several steps in one execution, against one step at a time."""

import itertools

import keras
import numpy as np
import pytest

from tests.conftest import blobs
from zoo.config.train_config import TrainConfig
from zoo.runs import checkpoints
from zoo.training import executions
from zoo.training.executions import Executions
from zoo.training.loop import train

STEPS = 7  # steps of an epoch, a prime number


@pytest.fixture(scope="module")
def data():
    from zoo.data.dataset import Dataset, DataSpec, Split

    x, y = blobs(16 * STEPS, (8, 5))
    rest = blobs(30, (8, 5), seed=1)
    spec = DataSpec("blobs", "sequence", (8, 5), ("a", "b", "c"))
    return Dataset(spec, Split(x.astype("float32"), y), Split(rest[0].astype("float32"), rest[1]), Split(*rest))


def trained(data, folder, model="simplenet", **options):
    options.setdefault("settings", {"dropout": 0.3})
    return train(TrainConfig(model=model, epochs=3, batch_size=16, output=folder, **options), data=data, verbose=False)


@pytest.fixture(scope="module")
def one(data, tmp_path_factory):
    return trained(data, tmp_path_factory.mktemp("one"), steps_per_execution=1)


@pytest.mark.parametrize(
    "options", [{"checkpoint_every": 4}, pytest.param({"strategy": "one_device"}, marks=pytest.mark.slow)]
)
def test_weights_do_not_depend_on_the_number_of_steps_of_an_execution(data, tmp_path, one, options):
    several = trained(data, tmp_path, steps_per_execution=5, **options)
    for ours, theirs in zip(several.model.get_weights(), one.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert several.history == one.history
    assert several.metrics["test"] == one.metrics["test"]


@pytest.mark.slow
def test_weights_do_not_depend_on_who_gathers_the_batches(data, tmp_path, one, monkeypatch):
    monkeypatch.setattr("zoo.tasks.classification.Classification.gathered", lambda *_: None)
    handed = trained(data, tmp_path)
    for ours, theirs in zip(handed.model.get_weights(), one.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert handed.history == one.history


@pytest.mark.slow
@pytest.mark.parametrize("model", ["simplenet", "conv1d"])
def test_two_replicas_give_the_same_bits_in_executions_and_step_by_step(data, tmp_path, mirrored, monkeypatch, model):
    """Also when `fit` hands the batches to the replicas instead of letting them gather their shares."""
    options = {"strategy": "mirrored", "virtual_devices": 2}
    single = trained(data, tmp_path / "single", model, steps_per_execution=1, **options)
    several = trained(data, tmp_path / "several", model, steps_per_execution=5, **options)
    monkeypatch.setattr("zoo.tasks.classification.Classification.gathered", lambda *_: None)
    handed = trained(data, tmp_path / "handed", model, **options)
    alone = trained(data, tmp_path / "alone", model, **options | {"strategy": "none", "virtual_devices": 0})
    for run in (several, handed):
        for ours, theirs in zip(run.model.get_weights(), single.model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert run.history == single.history
    for ours, theirs in zip(several.model.get_weights(), alone.model.get_weights(), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


def test_executions_end_with_epochs_and_at_checkpoints(data, tmp_path, monkeypatch):
    """Executions are not limited by time, as on a fast machine."""
    monkeypatch.setattr(executions, "MOST_SECONDS", 1e9)
    counts, real = [], executions.steps_of

    def counted(model, gathered):
        run = real(model, gathered)
        return lambda iterator, count: counts.append(count) or run(iterator, count)

    monkeypatch.setattr(executions, "steps_of", counted)
    saved, save = [], checkpoints.save
    monkeypatch.setattr(
        checkpoints, "save", lambda folder, snapshot: saved.append(snapshot.step) or save(folder, snapshot)
    )
    trained(data, tmp_path, steps_per_execution=16, checkpoint_every=4)
    ends = list(itertools.accumulate(counts))
    assert counts[:2] == [1, 1]  # the first traces, the second is timed
    assert ends[1:] == [2, 4, 7, 8, 12, 14, 16, 20, 21]
    assert saved == ends[2:]


def test_slow_steps_are_executed_one_at_a_time(monkeypatch):
    clock = itertools.count(step=2 * executions.MOST_SECONDS)
    monkeypatch.setattr(executions.time, "perf_counter", lambda: float(next(clock)))
    counts = []
    monkeypatch.setattr(
        executions, "steps_of", lambda model, gathered: lambda iterator, count: counts.append(count) or {"loss": 1.0}
    )
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    steps = Executions(16, steps=100, done=0, every=0)
    steps.install(model)
    for _ in range(6):
        model.train_function(None)
    assert counts == [1] * 6 and steps.step == 6 and steps.ahead == 0


@pytest.mark.slow
def test_an_interrupted_training_resumes_from_the_end_of_its_execution(data, tmp_path, monkeypatch):
    """A signal in the middle of an execution leads to a checkpoint at its end; the resumed run has the same bits."""
    from zoo.console.errors import Interrupted
    from zoo.training.callbacks import Checkpointer

    monkeypatch.setattr(executions, "MOST_SECONDS", 1e9)
    whole = trained(data, tmp_path / "whole")
    before, stopped = Checkpointer.on_train_batch_end, []

    def signalled(self, batch, logs=None):
        if self.step == 3:  # inside an execution from step 2 to step 7
            self.signal = 15
        before(self, batch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpointer, "on_train_batch_end", signalled)
        with pytest.raises(Interrupted) as error:
            trained(data, tmp_path / "run")
        stopped.append(str(error.value))
    assert stopped == ["interrupted after epoch 1"]
    again = trained(data, tmp_path / "run", resume=True)
    for ours, theirs in zip(again.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert again.history == whole.history
