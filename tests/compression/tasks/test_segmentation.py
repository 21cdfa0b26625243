"""Files of masks: scores and classes, camera bytes, words that train, and what is told and refused."""

import json

import numpy as np
import pytest

from compression import compress, search, tasks
from compression.flatbuffers import flatbuffer
from compression.pipeline import pipeline, source
from compression.recipes.options import Calibration, ExportOptions, StageTraining
from compression.runtime import litert
from compression.tasks.base import Export
from tests.compression.passes.test_grids import compared
from zoo.config.masks import IGNORED
from zoo.data.images import scaled
from zoo.models import UNet


@pytest.fixture(scope="module")
def opened(segmentation_run):
    run = source.open_run(segmentation_run, {})
    return run, *run.load()


def made(opened, recipe, folder, **options):
    run, model, data = opened
    return pipeline.compress(
        model, data, recipe, folder, export=ExportOptions(**options), calibration=Calibration(examples=32),
        training=StageTraining(run.config, every_stage=False), provenance=run.provenance(),
    )  # fmt: skip


def test_a_file_gives_the_scores_of_the_model(opened, tmp_path):
    _, model, data = opened
    file = made(opened, "float32", tmp_path)
    x = scaled(data.test.x[:8])
    np.testing.assert_allclose(litert.run(file.path, x), model.predict(x, verbose=0), atol=1e-4)
    test = file.receipt["test"]
    assert test["litert"]["miou"] == pytest.approx(test["keras"]["miou"]) and file.receipt["parity"]["same_answer"] == 1
    assert file.receipt["about"]["output"] == {
        "name": "scores", "shape": [12, 12, 4],
        "values": "score of each label for each pixel; the highest is the class, their softmax are probabilities",
    }  # fmt: skip


@pytest.mark.parametrize("recipe", [pytest.param("float32", marks=pytest.mark.slow), "int8"])
def test_a_file_of_classes_gives_the_highest_score(opened, recipe, tmp_path):
    _, model, data = opened
    file = made(opened, recipe, tmp_path, argmax=True)
    found = litert.run(file.path, scaled(data.test.x[:8]))
    assert file.path.stem == f"{recipe}-argmax" and found.shape == (8, 12, 12)
    expected = model.predict(scaled(data.test.x[:8]), verbose=0).argmax(-1)
    assert (found == expected).mean() > (0.9999 if recipe == "float32" else 0.9)
    assert flatbuffer.signature(flatbuffer.read(file.path))["outputs"][0]["type"] == "int32"
    _, differences = pipeline.verify(file.path, model, data)
    assert differences == [] and "loss" not in file.receipt["test"]["litert"]


@pytest.mark.slow
def test_a_file_for_a_camera_answers_at_its_size(opened, tmp_path):
    file = made(opened, "float32", tmp_path, uint8=True, input_size=(24, 30))
    assert file.receipt["about"]["output"]["shape"] == [24, 30, 4]
    content = flatbuffer.read(file.path)
    assert flatbuffer.signature(content)["outputs"][0]["shape"] == [1, 24, 30, 4]
    assert file.receipt["test"]["litert"]["miou"] > file.receipt["test"]["keras"]["miou"] - 0.1


def test_argmax_of_other_runs_is_refused(classification_run, tmp_path, capsys):
    assert compress.main([str(classification_run), "--recipe", "int8", "--argmax", "--output", str(tmp_path)]) == 2
    assert "--argmax: expected a run that gives masks, this one gives classes" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["channels(0.4) + int8", "prune(0.5) + int8", "cluster(8) + int8", "qat + int8"])
def test_words_that_train_keep_the_masks(opened, recipe, tmp_path):
    file = made(opened, recipe, tmp_path)
    assert file.receipt["test"]["litert"]["miou"] > file.receipt["test"]["keras"]["miou"] - 0.05
    assert file.receipt["parity"]["same_answer"] > 0.9


@pytest.mark.slow
def test_a_search_selects_by_miou(segmentation_run, tmp_path, capsys):
    words = ["--max-bytes", "20k", "--trials", "1", "--sampler", "random", "--output", str(tmp_path), "--json"]
    assert search.main([str(segmentation_run), *words]) == 0
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["score"] == "miou" and "the accuracy of a file is its mean IoU" in err


def test_calibration_is_bounded_in_memory(opened, monkeypatch):
    _, model, data = opened
    form = tasks.of("segmentation").build(Export(model, model, data))
    assert len(form.calibration(64, 0)) == 64
    monkeypatch.setattr("compression.tasks.segmentation.CHOSEN_BYTES", 20 * 4 * 12 * 12 * 3)
    assert len(form.calibration(64, 0)) == 20
    assert set(np.unique(form.class_indices(data.train))) <= {0, 1, 2, 3, IGNORED}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "shape", "most"),
    [
        (UNet(3, filters=2, depth=1), (8, 8, 3), 0.03),
        (UNet(3, filters=2, depth=1), (7, 9, 3), 0.03),
        (UNet(3, filters=2, depth=1, up="resize"), (8, 8, 3), 0.08),  # TFLite rounds what it interpolates in other ways
    ],
    ids=["transpose", "odd sides", "resize"],
)
def test_training_rounds_as_the_file_does(model, shape, most, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, *shape)).astype("float32")
    model(x)
    for variable in model.trainable_variables:
        variable.assign(variable + rng.normal(0, 0.05, variable.shape).astype("float32"))
    (output,) = compared(model, x, tmp_path)
    assert output.different < most and output.largest <= 3.05
