"""New heads, layer-wise learning rates and gradual unfreezing, against closed forms and bit for bit."""

import contextlib
import json

import keras
import numpy as np
import pytest

from tests.conftest import ROOT, blobs, run_module, stop_after
from zoo import models, tasks
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.data import DataSpec
from zoo.introspection.variables import hold, named
from zoo.runs.folder import RunFolder
from zoo.train import configure
from zoo.training import layerwise, optimization
from zoo.training.capabilities import unfreezing
from zoo.training.loop import train as fit

SPEC = DataSpec("blobs", "image", (12, 12, 1), ("a", "b", "c"))
WORDS = DataSpec("words", "tokens", (5,), ("a", "b"), vocabulary_size=9)
BLOCKS = {"model_dim": 8, "num_heads": 2, "ff_dim": 8, "vocabulary_size": 9}


def built(model, *shape):
    model.build((None, *shape))
    return model


def cnn():
    return built(models.CNN(3, filters=(4, 4), pools=1, units=8, batch_norm=True), 12, 12, 1)


def values(model):
    return {name: keras.ops.convert_to_numpy(variable).copy() for name, variable in named(model).items()}


def order_of(model, spec=SPEC):
    return layerwise.order(model, spec, tasks.of(spec.task))


def layers(found):
    """Return the names of the layers in each group."""
    return [list(dict.fromkeys("/".join(name.split("/")[:2][: name.count("/")]) for name in g)) for g in found.groups]


def test_layers_come_in_the_order_of_their_use():
    assert layers(order_of(cnn())) == [["conv_1", "norm_1"], ["conv_2", "norm_2"], ["hidden"], ["head"]]
    transformer = built(models.TransformerClassifier(2, **BLOCKS), 5)
    found = order_of(transformer, WORDS)
    blocks = ["encoder/block_1"], ["encoder/block_2", "encoder/last_norm"]
    assert layers(found) == [["embedding"], *blocks, ["head"]] and not found.again
    assert sorted(name for group in found.groups for name in group) == sorted(named(transformer))
    ours = keras.Sequential(
        [keras.Input((12, 12, 1)), keras.layers.Flatten(), keras.layers.Dense(4), keras.layers.Dense(3, name="last")]
    )
    assert layerwise.head(order_of(ours)) == ["last/kernel", "last/bias"]


def test_tied_embeddings_are_not_an_output_layer():
    spec = DataSpec("words", "tokens", (5,), ("a", "b"), task="language_model", vocabulary_size=9)
    found = order_of(built(models.TransformerLM(**BLOCKS), 5), spec)
    with pytest.raises(UsageError, match="--new-head: expected a layer that only gives the logits; in this model emb"):
        layerwise.head(found)
    untied = order_of(built(models.TransformerLM(**BLOCKS, tied=False), 5), spec)
    assert layerwise.head(untied) == ["head/kernel"]


# Change of a weight by the first step, from its rate, gradient and value; kernels decay by their own rate.
FIRST_STEPS = {
    "sgd": lambda rate, g, w, decay: decay * rate * w + 1.9 * rate * g,  # Nesterov momentum 0.9 from rest
    "adagrad": lambda rate, g, w, decay: decay * rate * w + rate * np.sign(g),
    "adamw": lambda rate, g, w, decay: decay * rate * w + rate * g / (np.abs(g) + 1e-7 / 0.001**0.5),
}


@pytest.mark.parametrize("name", FIRST_STEPS)
def test_layer_decay_is_raised_to_the_power_of_the_depth(name):
    model = cnn()
    hold(model, ["conv_2/kernel"])
    config = TrainConfig(layer_decay=0.5, optimizer=name, learning_rate=0.1, weight_decay=0.3, warmup=0.0,
                         schedule="constant", clip_norm=0.0).resolved()  # fmt: skip
    rates = layerwise.decayed(model, order_of(model), 0.5, layerwise.own_rates(model))
    chosen = optimization.optimizer(config, 10, rates)
    before, rng = values(model), np.random.default_rng(0)
    gradients = {n: rng.normal(size=v.shape).astype("float32") for n, v in named(model).items() if v.trainable}
    chosen.apply([*map(keras.ops.convert_to_tensor, gradients.values())], [named(model)[n] for n in gradients])
    depths = {"conv_1": 3, "norm_1": 3, "norm_2": 2, "hidden": 1, "head": 0}  # frozen layers count too
    for path, value in values(model).items():
        if path in gradients:
            decay = 0.3 if path.endswith("kernel") else 0.0
            rate = 0.1 * 0.5 ** depths[path.split("/")[0]]
            taken = FIRST_STEPS[name](rate, gradients[path], before[path], decay)
            np.testing.assert_allclose(before[path] - value, taken, atol=2e-6, err_msg=path)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(chosen))
    assert type(again) is type(chosen) and tuple(again.rates) == rates


def test_without_layer_rates_the_optimizer_is_the_plain_one():
    config = TrainConfig(new_head=True).resolved()
    assert layerwise.own_rates(cnn()) == ()
    assert type(optimization.optimizer(config, 10, ())) is models.AdamW


@pytest.mark.parametrize(("changes", "held", "new", "message"), [
    ({"epochs": 6}, [], [], "--unfreeze-every 2: expected --epochs 7 or more, so that all 4 layers are trained"),
    ({"epochs": 9}, [], ["hidden/kernel"], "below the last layer; hidden/kernel would be frozen while random"),
    ({"epochs": 9}, ["conv_1", "conv_2", "norm_1", "norm_2", "hidden"], [], "expected two or more layers to train"),
])  # fmt: skip
def test_unfreezing_that_cannot_work_is_refused(changes, held, new, message):
    model = cnn()
    hold(model, [name for name in named(model) if name.split("/")[0] in held])
    with pytest.raises(UsageError, match=message):
        unfreezing.check(model, TrainConfig(unfreeze_every=2, **changes), order_of(model), new)


COMMON = {
    "model": "cnn", "settings": {"filters": (4,), "pools": 1, "units": 8, "dropout": 0.0, "batch_norm": True},
    "epochs": 3, "batch_size": 16, "learning_rate": 0.01, "weight_decay": 0.1, "keep": "last", "precision": "float64",
    "deterministic": True, "clip_norm": 1.0,
}  # fmt: skip
STEPS = 4
# First epoch, from 0, in which a layer is trained.
BEGINS = {"conv_1": 2, "norm_1": 2, "hidden": 1, "head": 0}


class Kept(keras.callbacks.Callback):
    """Record the weights at the end of every epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append(values(self.model))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run `a`, and a run `b` that starts with its weights and unfreezes one layer after the other."""
    folder = tmp_path_factory.mktemp("runs")
    x, y = blobs(100, (12, 12))
    np.savez(folder / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    fit(TrainConfig(**COMMON | {"epochs": 1}, data=folder / "blobs.npz", output=folder / "a"), verbose=False)
    kept = Kept()
    fit(tuned(folder, "b"), callbacks=[kept], verbose=False)
    np.savez(folder / "kept.npz", **{f"{i} {n}": v for i, found in enumerate(kept.epochs) for n, v in found.items()})
    return folder


def tuned(folder, name, **changes):
    begun = {"init_from": folder / "a", "new_head": True, "unfreeze_every": 1, "layer_decay": 0.5}
    return TrainConfig(**COMMON | begun | {"data": folder / "blobs.npz", "output": folder / name} | changes)


def weights_of(run):
    return values(RunFolder(run).load_model())


def test_frozen_layers_do_not_change_and_unfrozen_layers_do(folder):
    kept, first = np.load(folder / "kept.npz"), weights_of(folder / "a")
    for name, value in first.items():
        for epoch in range(3):
            same = np.array_equal(kept[f"{epoch} {name}"], value)  # moving averages of the normalisation too
            assert same == (epoch < BEGINS[name.split("/")[0]]), (name, epoch)
    for name, value in weights_of(folder / "b").items():
        np.testing.assert_array_equal(value, kept[f"2 {name}"])
    begun = json.loads((folder / "b" / "config.json").read_text())["begun_with"]
    assert begun["new"] == ["head/kernel", "head/bias"] and begun["reshaped"] == begun["left"] == []
    assert begun["taken"] == len(first) - 2


@pytest.mark.slow
def test_an_interrupted_run_resumes_bit_for_bit(folder):
    stopped = tuned(folder, "stopped", checkpoint_every=1)
    with contextlib.suppress(Interrupted):
        fit(stopped, callbacks=[stop_after(STEPS + 2)], verbose=False)
    fit(configure({"resume": True, "output": stopped.output}), verbose=False)
    for name, value in weights_of(folder / "b").items():
        np.testing.assert_array_equal(weights_of(stopped.output)[name], value, err_msg=name)


@pytest.mark.slow
def test_replicas_give_the_same_weights(folder):
    fit(tuned(folder, "mirrored", strategy="mirrored", virtual_devices=2, deterministic=False), verbose=False)
    for name, value in weights_of(folder / "b").items():
        np.testing.assert_allclose(weights_of(folder / "mirrored")[name], value, rtol=0, atol=1e-9, err_msg=name)


_ON_JAX = """
import sys
from pathlib import Path
from strategies import backend
backend.start("jax", virtual_devices=2)
from tests.zoo.training.test_transfer import fit, tuned
fit(tuned(Path(sys.argv[1]), "jax", new_head=False, strategy="data_parallel", virtual_devices=2), verbose=False)
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_jax_gives_the_same_weights(folder):
    """Compare with a copied head, as backends draw different random weights; up to float32 rounding."""
    fit(tuned(folder, "tensorflow", new_head=False), verbose=False)
    run_module("-c", _ON_JAX, folder, cwd=ROOT, check=0, timeout=550)
    for name, value in weights_of(folder / "tensorflow").items():
        np.testing.assert_allclose(weights_of(folder / "jax")[name], value, rtol=0, atol=1e-6, err_msg=name)
