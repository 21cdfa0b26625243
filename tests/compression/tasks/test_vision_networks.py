"""The networks for pictures in every precision and with every word that trains, on tiny networks."""

import keras
import numpy as np
import pytest

from compression.passes import channels
from compression.pipeline import pipeline, source
from compression.recipes.options import Calibration, StageTraining
from compression.surgery.copying import copies
from tests.conftest import blobs
from tests.zoo.models.test_models import SMALL, make
from zoo.config.train_config import TrainConfig
from zoo.training.loop import train

RECIPES = ("float32", "float16", "dynamic", "int8", "int16x8", "int4")
# In float32: networks that were hardly trained have activations of many sizes, which eight bits do not hold.
WORDS = ("channels(0.5, epochs=1)", "prune(0.5, epochs=1)", "cluster(8, epochs=1)")
# Largest difference of a probability from that of the Keras model that the file holds, by precision.
NEAR = {"float32": 1e-4, "float16": 5e-3}


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n != "resnet")) for n in SMALL])
@pytest.mark.parametrize("coupled", [pytest.param(False, marks=pytest.mark.slow), True])
def test_channels_are_removed_and_the_smaller_network_is_made_again(name, coupled):
    shape = (16, 16, 3)
    model = make(name, shape)
    x = np.random.default_rng(0).random((4, *shape), dtype="float32")
    before = model.count_params()
    channels.apply(model, channels.plan(model, 0.5, coupled=coupled, x=x))
    assert model.count_params() < (0.5 if coupled else 0.8) * before
    assert model.get_config()["widths"]
    np.testing.assert_allclose(copies(model)()(x), model(x), atol=1e-6)


@pytest.fixture(scope="module")
def run(request, tmp_path_factory):
    """An opened run of a tiny network with its model and data."""
    folder, name = tmp_path_factory.mktemp(request.param), request.param
    x, y = blobs(120, (16, 16, 3))
    np.savez(folder / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    config = TrainConfig(
        model=name, settings=SMALL[name], data=folder / "blobs.npz", epochs=4, batch_size=16, learning_rate=3e-3,
        output=folder / "run",
    )  # fmt: skip
    train(config, verbose=False)
    opened = source.open_run(folder / "run", {}, any_task=True)
    return opened, *opened.load()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("recipe", [*RECIPES, "qat(epochs=1) + int8", *(f"{word} + float32" for word in WORDS)])
@pytest.mark.parametrize("run", SMALL, indirect=True)
def test_every_recipe_makes_a_file_that_answers_as_its_model(run, recipe, tmp_path):
    opened, model, data = run
    file = pipeline.compress(
        model,
        data,
        recipe,
        tmp_path,
        calibration=Calibration(examples=32),
        training=StageTraining(opened.config),
        provenance=opened.provenance(),
    )
    assert file.receipt["parity"]["largest_difference"] < NEAR.get(recipe.rpartition("+ ")[2], 0.1)
    keras.backend.clear_session()
