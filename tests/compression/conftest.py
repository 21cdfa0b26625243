"""Fixtures for the tests of compression: a small trained run and small models of every kind."""

import json

import keras
import numpy as np
import pytest

from compression.flatbuffers.interface import Interface
from compression.receipts.artifacts import receipt_path, sealed
from tests.conftest import blobs
from zoo.config import registry
from zoo.config.train_config import TrainConfig
from zoo.training.loop import train

CLASSES = 3
# Small values that differ from the constructors' defaults.
SETTINGS = {
    "simplenet": {"units": (12, 8)},
    "cnn": {"filters": (4, 6), "pools": 1, "units": 8, "batch_norm": True},
    "lstm": {"units": (6, 5)},
    "self_attention": {"model_dim": 8, "num_heads": 2, "ff_dim": 12, "num_blocks": 1},
    "transformer": {"model_dim": 8, "num_heads": 2, "ff_dim": 12, "num_layers": 1},
}

# How the converter is asked to treat a file when a recipe says nothing else.
AS_THEY_ARE = {"in_float": [], "equalize": False, "best_ranges": False, "correct_bias": False, "rounding": "nearest"}


@pytest.fixture(scope="session")
def image_run(tmp_path_factory):
    """Return the folder of a finished run: a small cnn on 240 greyscale 12x12 images in 3 classes."""
    folder = tmp_path_factory.mktemp("compression")
    x, y = blobs(240, (12, 12), CLASSES)
    np.savez(folder / "blobs.npz", x=(x * 255).astype("uint8"), y=y, class_names=["low", "middle", "high"])
    config = TrainConfig(
        model="cnn",
        data=folder / "blobs.npz",
        settings=SETTINGS["cnn"],
        epochs=6,
        batch_size=16,
        learning_rate=1e-2,
        output=folder / "run",
    )
    train(config, verbose=False)
    return folder / "run"


def altered(file, change, seal=True):
    """Alter the receipt of a file by `change(receipt)`, and return it; `seal` computes its digest anew."""
    receipt = json.loads(receipt_path(file).read_text())
    change(receipt)
    receipt = sealed(receipt) if seal else receipt
    receipt_path(file).write_text(json.dumps(receipt))
    return receipt


def small(name, kind="image", **settings):
    """Return a small model of the registry with random weights, its interface and 32 examples."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    shape = {"image": (9, 10, 1), "tokens": (7,)}[kind]
    settings = {**SETTINGS[name], **settings}
    x = rng.uniform(0, 1, (32, *shape)).astype("float32")
    if kind == "tokens":
        settings["vocabulary_size"] = 30
        x = rng.integers(1, 30, (32, *shape)).astype("int32")
        x[::2, 4:] = 0  # padding
    model = registry.model_class(name)(num_classes=CLASSES, **settings)
    model.build((None, *shape))
    for variable in model.trainable_variables:  # otherwise zero biases would hide that they are lost
        variable.assign(variable + rng.normal(0, 0.05, variable.shape).astype("float32"))
    return model, Interface(kind, shape, str(x.dtype), masked=kind == "tokens"), x
