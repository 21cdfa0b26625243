"""Runs on triples as .tflite files: what the files answer, by the ranks that Keras' own are measured by."""

import json

import numpy as np
import pytest

from compression import compress, sensitivity, verify
from compression.flatbuffers import flatbuffer
from compression.pipeline import pipeline, source
from compression.recipes.options import StageTraining
from compression.runtime import litert
from compression.tasks.link_prediction import QUESTIONS, LinkPrediction
from tests.compression.conftest import altered
from zoo.tasks import link_prediction

pytestmark = pytest.mark.slow

# The largest difference in probability and in MRR from Keras.
PRECISIONS = {"float32": (1e-6, 0), "float16": (1e-3, 0.03), "dynamic": (0.03, 0.06), "int4": (0.3, 0.2)}


@pytest.fixture(scope="module")
def loaded(link_prediction_run):
    return source.open_run(link_prediction_run, {}, any_task=True).load()


@pytest.mark.parametrize("name", PRECISIONS)
def test_a_file_ranks_as_keras_does(name, loaded, tmp_path):
    model, data = loaded
    made = pipeline.compress(model, data, name, tmp_path)
    logits = np.asarray(model(data.test.x), np.float64)
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = litert.run(made.path, data.test.x)
    most, worse = PRECISIONS[name]
    assert np.abs(found - p).max() <= most
    receipt = made.receipt["test"]
    scores, _ = link_prediction.TASK.measure(model, data)
    assert receipt["keras"]["mrr"] == pytest.approx(scores["mrr"]) and receipt["examples"] == receipt["of"] == 22
    assert receipt["litert"]["mrr"] == pytest.approx(scores["mrr"], abs=worse + 1e-6)
    assert pipeline.verify(made.path, model, data)[1] == []
    names = made.path.with_suffix(".labels.txt").read_text().splitlines()
    assert names == list(data.spec.class_names)
    assert made.path.with_suffix(".relations.txt").read_text().splitlines() == list(data.spec.relations)


def test_the_table_of_entities_is_stored_once(loaded, tmp_path):
    """It is what heads are looked up in and what answers are compared with."""
    model, data = loaded
    path = pipeline.compress(model, data, "float32", tmp_path).path
    tables = [row for row in flatbuffer.constants(flatbuffer.read(path)) if row["shape"] == [24, 32] and row["bytes"]]
    assert len(tables) == 2  # of entities, and of 12 relations with their inverses


def test_commands(link_prediction_run, capsys):
    assert compress.main([str(link_prediction_run), "--recipe", "dynamic"]) == 0
    out = capsys.readouterr().out
    assert "filtered MRR" in out and "Keras filtered MRR" in out and "(22 examples)" in out
    file = link_prediction_run / "artifacts" / "dynamic.tflite"
    assert verify.main([str(file)]) == 0
    assert "reproduced: test filtered MRR" in capsys.readouterr().out
    receipt = json.loads(file.with_name("dynamic.receipt.json").read_text())
    assert receipt["about"]["task"] == "link_prediction" and len(receipt["about"]["relations"]) == 12
    altered(file, lambda stored: stored["test"]["litert"].update(mrr=0.011))
    assert verify.main([str(file)]) == 1
    assert "test.litert.mrr: the receipt says" in capsys.readouterr().err


def test_questions_are_spread_over_both_directions(loaded):
    _, data = loaded
    chosen = link_prediction.spread(data.train, 20)
    tails = chosen.x[:, 1] < len(data.spec.relations)
    assert len(chosen) == 20 and tails.sum() == 10
    assert len(link_prediction.spread(data.test, QUESTIONS)) == len(data.test)


@pytest.mark.parametrize("recipe", ["prune(0.5, epochs=5) + dynamic", "cluster(16, epochs=2) + float32",
                                    "qat(epochs=2) + dynamic", "qat(epochs=2) + int4"])  # fmt: skip
def test_recipes_that_train(recipe, link_prediction_run, loaded, tmp_path):
    model, data = loaded
    training = source.open_run(link_prediction_run, {}, any_task=True).config
    made = pipeline.compress(model, data, recipe, tmp_path, training=StageTraining(training))
    assert pipeline.verify(made.path, model, data)[1] == []
    tables = [row for row in made.receipt["constants"] if row["shape"] == [24, 32] and row["bytes"]]
    if recipe.startswith("prune"):
        assert all(row["zeros"] >= 24 * 32 // 2 for row in tables)
    if recipe.startswith("cluster"):
        assert all(row["distinct"] <= 16 for row in tables)
    assert made.receipt["test"]["litert"]["mrr"] == pytest.approx(made.receipt["test"]["keras"]["mrr"], abs=0.15)


@pytest.mark.parametrize(("words", "expected"), [
    (["--recipe", "int8"], ["int8 of a run on triples", "256 steps", "use dynamic or int4"]),
    (["--recipe", "qat"], ["int8 of a run on triples", "use dynamic or int4"]),
    (["--recipe", "int16x8"], ["int16x8 of a run on triples", "whole-number inputs"]),
    (["--recipe", "channels(0.5) + dynamic"], ["channels of a run on triples", "a smaller dim"]),
    (["--recipe", "distill(elsewhere) + dynamic"], ["distill of a run on triples"]),
    (["--recipe", "dynamic(skip=entities)"], ["skip: the table of entities"]),
    (["--recipe", "dynamic", "--skip-worst", "1"], ["--skip-worst", "completes triples"]),
    (["--recipe", "dynamic", "--batch", "2"], ["--batch 2", "expected 1"]),
    (["--recipe", "dynamic", "--uint8-input"], ["--uint8-input", "completes triples"]),
    (["--recipe", "dynamic", "--beams", "2"], ["--beams", "completes triples"]),
])  # fmt: skip
def test_what_cannot_be_is_refused_in_one_sentence(words, expected, link_prediction_run, tmp_path, capsys):
    assert compress.main([str(link_prediction_run), *words, "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1 and not list(tmp_path.iterdir())
    for part in expected:
        assert part in error


def test_other_commands_refuse_it(link_prediction_run, loaded, capsys):
    assert sensitivity.main([str(link_prediction_run)]) == 2
    assert "expected a run that gives classes, this one is for link_prediction" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected training examples to begin with"):
        model, data = loaded
        import dataclasses

        empty = dataclasses.replace(data, train=data.train.take(np.arange(0)))
        LinkPrediction(empty, None).examples(8, 0)
