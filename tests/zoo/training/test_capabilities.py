"""The interface of capabilities: which are active, in which order their hooks are called, what they can change."""

import contextlib
import dataclasses
import inspect

import numpy as np
import pytest

import strategies
from tests.conftest import blobs
from zoo.config.groups import Capabilities
from zoo.config.train_config import TrainConfig
from zoo.training import capabilities, loop
from zoo.training.capabilities import Capability
from zoo.training.capabilities.moments import momentum
from zoo.training.loop import train

OFF = {"StepsPerExecution", "Moments", "Baseline"}  # active in every training on TensorFlow
OPTIONS = {
    "unfreeze_every": (2, "Unfreezing"),
    "adversarial": ("fgsm(0.1)", "AdversarialTraining"),
    "private": ("dp(3)", "PrivateTraining"),
    "average": ("ema(0.9)", "Averaging"),
    "snapshots": (2, "Snapshots"),
}


def wanted(config):
    strategy = strategies.build("none")
    return [kind.__name__ for kind in capabilities.REGISTRY if kind.wanted(config, strategy)]


def test_a_plain_training_has_only_what_every_training_has():
    assert set(wanted(TrainConfig())) == OFF


@pytest.mark.parametrize("name", [field.name for field in dataclasses.fields(Capabilities)])
def test_an_option_of_the_group_activates_its_capability(name):
    value, expected = OPTIONS[name]
    assert set(wanted(TrainConfig(model="simplenet", **{name: value}))) == {expected} | OFF


@pytest.mark.parametrize(("changes", "expected"), [
    ({"init_from": "run"}, {"Transfer"}),
    ({"freeze": ("head",)}, {"Transfer"}),
    ({"layer_decay": 0.5}, {"LayerDecay"}),
])  # fmt: skip
def test_options_of_other_groups_activate_capabilities_too(changes, expected):
    assert set(wanted(TrainConfig(**changes))) == expected | OFF


@pytest.mark.parametrize(("strategy", "expected"), [
    ("multi_worker", "StepsPerExecution"),
    ("mirrored", "StepsPerExecution"),
    ("tpu", "KerasStepsPerExecution"),
])  # fmt: skip
def test_executions_depend_on_the_strategy(strategy, expected):
    assert wanted(TrainConfig(strategy=strategy)) == ["Moments", expected, "Baseline"]


def test_the_loop_names_no_capability():
    source = inspect.getsource(loop)
    for name in [*(kind.__name__ for kind in capabilities.REGISTRY), *(f"config.{name}" for name in OPTIONS)]:
        assert name not in source, name


class Toy(Capability):
    """Record the calls of its hooks, halve the learning rate, add a metric and a section."""

    calls: list = []

    @classmethod
    def wanted(cls, config, strategy):
        return True

    def note(self, name):
        self.calls.append(name)

    def check(self):
        self.note("check")
        assert self.training.data.spec.name == "blobs"

    def prepare(self):
        self.note("prepare")

    @contextlib.contextmanager
    def around(self):
        self.note("around")
        yield
        self.note("around ends")

    def begin(self):
        self.note("begin")
        assert self.training.plain.built

    def wrap(self, model):
        self.note("wrap")
        return model

    def rates(self, rates):
        self.note("rates")
        return (0.5,) * len(self.training.plain.trainable_variables)

    def started(self):
        self.note("started")
        assert self.training.run.started and self.training.model.compiled

    def callbacks(self):
        self.note("callbacks")
        return []

    @contextlib.contextmanager
    def around_fit(self):
        self.note("around_fit")
        yield
        self.note("around_fit ends")

    def stops(self):
        self.note("stops")
        return [self.training.steps]

    def before_fit(self):
        self.note(f"before_fit {self.training.step}")

    def feed(self, start, stop):
        self.note(f"feed {start} {stop}")
        return

    def record(self):
        self.note("record")
        return {"toy": 17}

    def sections(self, found):
        self.note("sections")
        return [f"<section><h2>Toy</h2><p>{found['toy']}</p></section>"]


def test_a_new_capability_is_a_class_and_a_row(tmp_path, monkeypatch):
    x, y = blobs(60, (8,))
    np.savez(tmp_path / "blobs.npz", x=x.astype("float32"), y=y)
    config = TrainConfig(model="simplenet", data=tmp_path / "blobs.npz", epochs=3, batch_size=16,
                         learning_rate=0.01, schedule="constant", warmup=0.0, output=tmp_path / "run")  # fmt: skip
    monkeypatch.setattr(capabilities, "REGISTRY", (Toy, *capabilities.REGISTRY))
    monkeypatch.setattr(Toy, "calls", [])
    found = train(config, verbose=False)
    steps = len(found.history) and int(found.model.optimizer.iterations) // 3
    assert Toy.calls == [
        *("check", "prepare", "around", "begin", "wrap", "rates", "started", "callbacks", "around_fit", "stops"),
        *("before_fit 0", f"feed 0 {steps}", f"before_fit {steps}", f"feed {steps} {3 * steps}"),
        *("around_fit ends", "record", "sections", "around ends"),
    ]
    assert found.metrics["toy"] == 17
    assert "<h2>Toy</h2><p>17</p>" in found.run.report_file.read_text()
    assert set(found.model.optimizer.rates) == {0.5}


def test_the_momentum_of_moments_fits_the_steps():
    assert momentum(0.99, 10_000, 50_000) == 0.99  # enough steps
    assert momentum(0.99, 100, 1000) == pytest.approx(0.01 ** (1 / 100))
    assert momentum(0.99, 5, 500) == 0.9
    assert momentum(0.99, 5, 10) ** 10 == pytest.approx(0.01)  # forgotten at the end of ten steps
    assert momentum(0.5, 100, 1000) == 0.5


def test_batch_normalisation_is_right_after_few_steps(tmp_path, capsys):
    """Moving moments are close to those of the training examples; with the usual momentum they would not be."""
    x, y = blobs(204, (12, 12))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    settings = {"filters": (4,), "pools": 1, "units": 0, "batch_norm": True}
    found = train(TrainConfig(model="cnn", data=tmp_path / "blobs.npz", settings=settings, epochs=2, batch_size=16,
                              learning_rate=1e-4, output=tmp_path / "run"), verbose=True)  # fmt: skip
    assert "momentum of batch normalisation: 0.7743, for 9 steps an epoch" in capsys.readouterr().err
    (norm,) = found.model.norms
    assert norm.momentum == 0.99  # given back
    given = found.model.convolutions[0](x[..., None].astype("float32"))
    mean = np.asarray(given).mean((0, 1, 2))
    np.testing.assert_allclose(np.asarray(norm.moving_mean), mean, atol=0.1 * np.abs(mean).max())
