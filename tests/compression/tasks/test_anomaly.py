"""Files of detectors of anomalies: their scores are computed here again, by scikit-learn and numpy."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from compression import tasks
from compression.devices import micro
from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.flatbuffers.interface import Interface
from compression.on_device.generate import METADATA
from compression.pipeline import pipeline, source
from compression.recipes import language
from compression.recipes.options import Calibration
from compression.runtime import litert
from compression.tasks.base import Export
from zoo.console.errors import UsageError
from zoo.data.images import scaled
from zoo.models.conv_autoencoder import ConvAutoencoder
from zoo.scores import roc


@pytest.fixture(scope="module")
def file(anomaly_run, tmp_path_factory):
    """An int8 file, the data of its run, and its receipt."""
    run = source.open_run(anomaly_run, {}, any_task=True)
    model, data = run.load()
    made = pipeline.compress(model, data, "int8", tmp_path_factory.mktemp("int8"), calibration=Calibration(examples=32))
    return made.path, data, made.receipt


def errors(path, split):
    x = scaled(split.x)
    return np.square(x - litert.run(path, x)).reshape(len(x), -1).mean(1)


@pytest.mark.slow
def test_the_scores_of_a_receipt_are_those_of_the_file(file):
    path, data, receipt = file
    found, odd = errors(path, data.test), data.test.y != 0
    scores = receipt["test"]["litert"]
    assert scores["auc"] == pytest.approx(roc_auc_score(odd, found), abs=1e-9)
    assert scores["partial_auc"] == pytest.approx(roc_auc_score(odd, found, max_fpr=0.1), abs=1e-9)
    assert scores["loss"] == pytest.approx(found[~odd].mean(), rel=1e-5)
    limit = roc.threshold(errors(path, data.validation), 0.01)
    assert scores["threshold"] == pytest.approx(limit, rel=1e-5)
    assert scores["detected"] == (found[odd] > limit).mean() and scores["false_alarms"] == (found[~odd] > limit).mean()


@pytest.mark.slow
def test_a_file_says_how_its_score_is_computed(file):
    path, _, receipt = file
    about = json.loads(flatbuffer.metadata(flatbuffer.read(path), METADATA))
    assert about["labels"] == ["normal", "anomalous"] and about["output"]["mean"] == [0.0]
    assert about["score"].startswith("mean of the squared differences") and about["threshold_in_float"] > 0
    (output,) = receipt["signature"]["outputs"]
    assert {"scale", "zero_point"} <= output.keys() or output["dtype"] == "float32"
    assert 0 <= receipt["parity"]["score_difference"] <= receipt["parity"]["largest_score_difference"]


@pytest.mark.slow
def test_searches_are_refused_because_validation_examples_are_all_normal(anomaly_run):
    run = source.open_run(anomaly_run, {})
    model, data = run.load()
    kind = tasks.of("anomaly")
    exported = kind.exported(model, data)
    with pytest.raises(UsageError, match="search: expected a run that gives classes"):
        kind.build(Export(model, exported, data)).class_indices(data.train)


@pytest.mark.parametrize("shape", [(13, 12, 1), pytest.param((20, 3), marks=pytest.mark.slow)])
def test_microcontrollers_have_the_operators_of_the_convolutional_autoencoder(shape, tmp_path):
    model = ConvAutoencoder(filters=(4, 8), code=2)
    model.build((None, *shape))
    path, x = tmp_path / "m.tflite", np.random.default_rng(0).random((4, *shape)).astype("float32")
    tflite.export(model, path, language.parse("float32"), Interface("x", shape, output="y"), probabilities=False)
    assert not micro.hindrances(flatbuffer.read(path))
    np.testing.assert_allclose(litert.run(path, x), np.asarray(model(x)), atol=1e-5)
