"""The networks for pictures on two devices, and after an interruption: the same weights as on one, in one go."""

import numpy as np
import pytest

from tests.conftest import blobs, stop_after
from tests.zoo.models.test_models import SMALL
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted
from zoo.data import from_tf_data
from zoo.introspection.layers import with_itself
from zoo.training.loop import train


@pytest.fixture(scope="module")
def data():
    x, y = blobs(64, (12, 12, 3))
    x = (x * 255).astype("uint8")
    return from_tf_data("blobs", [(x[:32], y[:32])], [(x[32:], y[32:])], validation=[(x[32:48], y[32:48])])


def configured(name, folder, **options):
    common = {"epochs": 2, "batch_size": 16, "learning_rate": 0.05, "optimizer": "sgd", "seed": 3, "keep": "last"}
    return TrainConfig(model=name, settings=SMALL[name], precision="float64", output=folder, **common | options)


def check_equal(two, one):
    for mine, theirs in zip(two.model.weights, one.model.weights, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=1e-9, err_msg=mine.path)
    assert not any(getattr(layer, "synchronized", False) for layer in with_itself(two.model))


@pytest.mark.slow
def test_two_devices_normalise_the_batch_that_one_would(data, tmp_path):
    ways = {"one": {}, "two": {"strategy": "mirrored", "virtual_devices": 2}}
    found = {
        way: train(configured("ds_cnn", tmp_path / way, **options, epochs=1), data=data, verbose=False)
        for way, options in ways.items()
    }
    check_equal(found["two"], found["one"])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SMALL)
def test_two_devices_equal_one_and_so_does_a_resumed_training(name, data, tmp_path):
    one = train(configured(name, tmp_path / "one"), data=data, verbose=False)
    shared = {"strategy": "mirrored", "virtual_devices": 2, "checkpoint_every": 1}
    with pytest.raises(Interrupted):
        train(configured(name, tmp_path / "two", **shared), data=data, callbacks=[stop_after(3)], verbose=False)
    two = train(configured(name, tmp_path / "two", **shared, resume=True), data=data, verbose=False)
    check_equal(two, one)
