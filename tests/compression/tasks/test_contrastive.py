"""Runs on images and captions as .tflite files of two signatures: what the files compute, and what is refused."""

import dataclasses
import json

import numpy as np
import pytest

from compression import compress, sensitivity, verify
from compression.exporting import tflite
from compression.flatbuffers import flatbuffer
from compression.on_device.generate import METADATA
from compression.pipeline import pipeline, source
from compression.receipts import receipt
from compression.recipes.language import parse
from compression.recipes.options import ExportOptions, StageTraining
from compression.runtime import litert_pairs
from compression.tasks.contrastive import Contrastive
from tests.compression.tasks.conftest import PAIR_SETTINGS
from zoo.data.images import scaled
from zoo.models import CrossModal

pytestmark = pytest.mark.slow

# How far the direction of a vector may be from Keras', as one minus the cosine.
PRECISIONS = {"float32": 1e-6, "float16": 1e-4, "dynamic": 5e-3, "int4": 0.2, "int8": 5e-2}


@pytest.fixture(scope="module")
def loaded(contrastive_run):
    return source.open_run(contrastive_run, {}, any_task=True).load()


@pytest.fixture(scope="module")
def files(loaded, tmp_path_factory):
    """The model in every precision, by name."""
    model, data = loaded
    folder, form = tmp_path_factory.mktemp("files"), Contrastive(data)
    paths = {name: folder / f"{name}.tflite" for name in PRECISIONS}
    calibration = form.calibration(64, 0)
    others = {paths[n]: parse(n) for n in PRECISIONS if n != "int8"}
    tflite.export_each(model, others, form.interface, calibration=calibration)
    tflite.export(model, paths["int8"], parse("int8"), form.interface, calibration=calibration)
    return paths


@pytest.mark.parametrize("name", PRECISIONS)
def test_both_towers_of_a_file_are_keras_own(name, files, loaded):
    model, data = loaded
    given = {"encode_image": scaled(data.test.x), "encode_text": data.captions.ids}
    made = litert_pairs.run(files[name], given)
    for tower, x in given.items():
        mine, theirs = made[tower].astype(np.float64), np.asarray(getattr(model, tower)(x), np.float64)
        lengths = np.linalg.norm(mine, axis=1)
        np.testing.assert_allclose(lengths, 1, atol=max(PRECISIONS[name], 1e-5))
        assert (1 - (mine * theirs).sum(1) / lengths).max() <= PRECISIONS[name]
        assert len(np.unique(made[tower].round(3), axis=0)) > 3  # else this test would say nothing
    file = flatbuffer.read(files[name])
    ends = flatbuffer.signatures(file)
    assert {tower: {row["type"] for row in each["outputs"]} for tower, each in ends.items()} == {
        "encode_image": {"float32"},
        "encode_text": {"float32"},
    }
    if name == "int8":
        kernels = [row for row in flatbuffer.constants(file) if row["elements"] > 100]
        assert len(kernels) >= 5 and {row["type"] for row in kernels} == {"int8"}


def test_a_receipt_is_reproduced_and_the_file_says_how_pairs_are_scored(contrastive_run, loaded, tmp_path, capsys):
    assert compress.main([str(contrastive_run), "--recipe", "int8", "--output", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "test zero-shot accuracy 100.00%" in out and "one minus the cosine" in out and "encode_text, 1 thread" in out
    path = tmp_path / "int8.tflite"
    stored = json.loads(path.with_suffix(".receipt.json").read_text())
    test, parity = stored["test"], stored["parity"]
    assert test["keras"]["zero_shot_accuracy"] == test["litert"]["zero_shot_accuracy"] == 1
    trained = json.loads((contrastive_run / "metrics.json").read_text())["test"]
    assert test["keras"] == pytest.approx({k: v for k, v in trained.items() if k != "examples"}, abs=1e-6)
    assert test["litert"]["caption_to_image_recall_at_10"] > 0.9 and test["examples"] == 30
    assert parity["largest_cosine_difference"] == max(
        parity["largest_cosine_difference_images"], parity["largest_cosine_difference_texts"]
    )
    assert 0 < parity["largest_cosine_difference"] < PRECISIONS["int8"]
    assert {row["signature"] for row in stored["latency"]} == {"encode_image", "encode_text"}
    model, data = loaded
    noted = json.loads(flatbuffer.metadata(flatbuffer.read(path), METADATA))
    assert noted["scale"] == pytest.approx(float(np.exp(model.log_scale)), rel=1e-6) and noted["labels"][2] == "high"
    assert noted["captions"][0][0] == "low" and noted["vocabulary_sha256"] == data.vocabulary.sha256
    assert path.with_suffix(".labels.txt").read_text() == "low\nmiddle\nhigh\n"
    assert stored["made"]["calibration_examples"] == len(data.train)
    assert verify.main([str(path), str(contrastive_run)]) == 0
    assert "reproduced: test zero-shot accuracy 100.00%" in capsys.readouterr().out
    other = json.loads(path.with_suffix(".receipt.json").read_text())
    other["test"]["litert"]["caption_to_image_recall_at_1"] -= 0.5
    (text,) = receipt.differences(other, stored)
    assert text.startswith("test.litert.caption_to_image_recall_at_1: the receipt says")


@pytest.mark.parametrize("bare", [False, True])
def test_a_fusion_head_is_scored_by_the_weights_that_the_file_says(bare, loaded, tmp_path):
    _, data = loaded
    model = CrossModal(data.spec.vocabulary_size, **PAIR_SETTINGS, head="fusion", text="transformer", num_layers=1)
    model.build([(None, *data.spec.input_shape), (None, *data.spec.target_shape)])
    made = pipeline.compress(model, data, "float32", tmp_path, export=ExportOptions(bare=bare))
    test = made.receipt["test"]
    assert test["litert"]["loss"] == pytest.approx(test["keras"]["loss"], abs=1e-5)
    assert "temperature" not in test["litert"] and made.receipt["parity"]["largest_difference"] < 1e-5
    noted = flatbuffer.metadata(flatbuffer.read(made.path), METADATA)
    assert (noted is None) == bare
    if not bare:
        np.testing.assert_allclose(json.loads(noted)["weights"], model.score)


def test_training_words_come_before_a_file(loaded, contrastive_run, tmp_path):
    model, data = loaded
    training = source.open_run(contrastive_run, {}, any_task=True).config
    recipe = "prune(0.5, epochs=2) + cluster(16, epochs=1) + qat(epochs=1) + dynamic"
    made = pipeline.compress(model, data, recipe, tmp_path, training=StageTraining(training))
    # The converter leaves kernels of less than 1,024 numbers in float32.
    rows = [row for row in made.receipt["constants"] if row["bytes"] and row.get("elements", 0) > 100]
    assert len(rows) >= 5 and max(row["distinct"] for row in rows) <= 17
    assert min(row["zeros"] / row["elements"] for row in rows) > 0.4
    assert made.receipt["test"]["litert"]["zero_shot_accuracy"] > 0.9
    # The scale of the last stage, not of the run that it began with.
    noted = json.loads(flatbuffer.metadata(flatbuffer.read(made.path), METADATA))
    assert noted["scale"] != pytest.approx(float(np.exp(model.log_scale)), rel=1e-6)
    assert made.receipt["test"]["keras"]["temperature"] == pytest.approx(1 / noted["scale"])
    assert pipeline.verify(made.path, model, data)[1] == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--recipe", "int16x8"], ["int16x8", "token ids", "use int8 or dynamic"]),
        (["--recipe", "int8(skip=head)"], ["skip", "leave skip out"]),
        (["--recipe", "channels(0.5) + int8"], ["channels of a run on images and captions", "use prune"]),
        (["--recipe", "qat + int8"], ["qat of a run on images and captions", "use qat with dynamic or int4"]),
        (["--recipe", "distill(elsewhere) + int8"], ["distill of a run on images and captions"]),
        (["--recipe", "int8", "--batch", "2"], ["--batch 2", "expected 1"]),
        (["--recipe", "int8", "--uint8-input"], ["--uint8-input", "matches images and captions"]),
        (
            ["--recipe", "int8", "--skip-worst", "1"],
            ["--skip-worst", "this one matches images and captions"],
        ),
        (["--recipe", "int8", "--beams", "2"], ["--beams", "a run that translates"]),
        (["--recipe", "int8", "--lstm-kernel", "loop"], ["no recurrent layers"]),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(words, expected, contrastive_run, tmp_path, capsys):
    capsys.readouterr()
    assert compress.main([str(contrastive_run), *words, "--output", str(tmp_path)]) == 2
    *said, error = capsys.readouterr().err.strip().splitlines()
    assert len(said) < 2 and not list(tmp_path.iterdir())  # at most the line that says what is made
    for part in expected:
        assert part in error


def test_other_commands_files_and_models_are_refused(contrastive_run, loaded, files):
    import keras

    model, data = loaded
    assert sensitivity.main([str(contrastive_run)]) == 2
    plain = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    with pytest.raises(ValueError, match="this one has no encode_image and no encode_text and no pair_weights"):
        tflite.check(plain, parse("float32"), Contrastive(data).interface)
    other = Contrastive(dataclasses.replace(data, spec=dataclasses.replace(data.spec, target_shape=(9,))))
    with pytest.raises(ValueError, match=r"'encode_text.tokens': \[1, 9\]}, as the data have it; it takes"):
        receipt.measure(files["float32"], other.subject(model, model))
