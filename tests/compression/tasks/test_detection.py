"""Files of detectors: what runs on a device finds what the Keras model finds; boxes and scores are rounded apart."""

import ctypes
import shutil
import subprocess
import sys

import numpy as np
import pytest

from compression.flatbuffers import flatbuffer
from compression.mcu import detect_snippets
from compression.on_device import detect
from compression.pipeline import pipeline, source
from compression.recipes.options import Calibration, ExportOptions, StageTraining
from compression.tasks.base import Export
from compression.tasks.detection import Detection
from tests.conftest import ROOT
from zoo.objectives.priors import Priors
from zoo.scores import detections


@pytest.fixture(scope="module")
def opened(detection_run):
    run = source.open_run(detection_run, {}, any_task=True)
    return run, *run.load()


@pytest.fixture(scope="module")
def file(opened, tmp_path_factory):
    run, model, data = opened
    return pipeline.compress(
        model, data, "int8", tmp_path_factory.mktemp("file"), calibration=Calibration(examples=16),
        training=StageTraining(run.config), provenance=run.provenance(),
    )  # fmt: skip


@pytest.mark.parametrize("coding", ["distances", "offsets"])
@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_decoding_on_a_device_is_that_of_the_zoo(coding, size):
    rng = np.random.default_rng(0)
    sizes = [[(8, 8), (12, 6)], [(16, 16), (30, 20)]]
    priors = Priors.of((*size, 3), (8, 16), sizes, coding)
    raw = rng.uniform(0, 6, (len(priors.boxes), 4)).astype(np.float32)
    logits = rng.normal(-1, 2, (len(priors.boxes), 3)).astype(np.float32)
    levels = [
        {"stride": one.stride, "rows": one.rows, "columns": one.columns, "sizes": [list(s) for s in one.sizes]}
        for one in priors.levels
    ]
    decoding = {"coding": coding, "size": list(size), "middle": 3.0, "levels": levels}
    np.testing.assert_array_equal(detect.priors(decoding), priors.boxes)
    how = {"overlap": detections.OVERLAP, "candidates": detections.CANDIDATES, "most": detections.MOST}
    boxes, classes, scores = detect.decode(raw, logits, priors.boxes, decoding, 0.2, **how)
    (found,) = detections.detected(raw[None], logits[None], priors, size, least=0.2)
    assert len(found.boxes) > 5
    np.testing.assert_allclose(boxes, found.boxes, rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(classes, found.classes)
    np.testing.assert_allclose(scores, found.scores, rtol=1e-6)


def test_the_file_on_a_device_finds_what_the_receipt_was_measured_by(file, opened):
    run, model, data = opened
    form = Detection.build(Export(model, model, data))
    subject = form.subject(model, model)
    on_device = detect.Model(file.path)
    outputs = subject.outputs(file.path)
    found = detections.detected(*outputs, form.priors, (32, 32), least=0.05)
    for picture, each in zip(np.asarray(data.test.x), found, strict=True):
        objects = on_device.detect(picture, 0.05)
        assert [data.spec.class_names[kind] for kind in each.classes] == [one.label for one in objects]
        np.testing.assert_allclose(np.reshape([one.box for one in objects], (-1, 4)), each.boxes, atol=1e-3)
        np.testing.assert_allclose([one.score for one in objects], each.scores, atol=1e-6)


@pytest.mark.slow
def test_a_file_that_suppresses_gives_what_the_host_finds(file, opened, tmp_path):
    run, model, data = opened
    made = pipeline.compress(
        model, data, "int8", tmp_path, calibration=Calibration(examples=16), training=StageTraining(run.config),
        export=ExportOptions(nms="file"), provenance=run.provenance(),
    )  # fmt: skip
    assert made.path.name == "int8-nms.tflite"
    assert made.receipt["test"]["litert"] == pytest.approx(file.receipt["test"]["litert"], abs=1e-6)
    assert {"NON_MAX_SUPPRESSION_V4", "TOPK_V2"} <= set(made.receipt["operators"])
    host, alone = detect.Model(file.path), detect.Model(made.path)
    for picture in np.asarray(data.test.x):
        for one, other in zip(host.detect(picture, 0.05), alone.detect(picture, 0.05), strict=True):
            assert one.label == other.label and one.score == pytest.approx(other.score, abs=1e-5)
            np.testing.assert_allclose(one.box, other.box, atol=1e-3)
    measured, differences = pipeline.verify(made.path, model, data)
    assert differences == [] and measured["test"]["litert"] == made.receipt["test"]["litert"]


def test_boxes_and_scores_have_scales_of_their_own_and_boxes_the_whole_of_theirs(file):
    content = flatbuffer.read(file.path)
    outputs = {row["name"]: row for row in flatbuffer.signature(content)["outputs"]}
    assert set(outputs) == {"boxes", "scores"}
    about = file.receipt["about"]
    assert about["decoding"]["levels"][0] == {"stride": 8, "rows": 4, "columns": 4, "sizes": [[8, 8]]}
    assert file.receipt["test"]["litert"].keys() >= {"map", "map_50", "map_75", "detection_recall"}


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
@pytest.mark.parametrize("coding", ["distances", "offsets"])
def test_decoding_in_c_is_that_in_python(coding, tmp_path):
    rng = np.random.default_rng(0)
    priors = Priors.of((64, 64, 3), (8, 16), [[(8, 8), (12, 6)], [(16, 16), (30, 20.5)]], coding)
    raw = rng.uniform(0, 6, (len(priors.boxes), 4)).astype(np.float32)
    logits = rng.normal(-1, 2, (len(priors.boxes), 2)).astype(np.float32)
    levels = [
        {"stride": one.stride, "rows": one.rows, "columns": one.columns, "sizes": [list(s) for s in one.sizes]}
        for one in priors.levels
    ]
    decoding = {"coding": coding, "size": [64, 64], "middle": 3.0, "levels": levels}
    how = {"overlap": 0.5, "candidates": 90, "most": 40}
    about = {"labels": ["a", "b"], "decoding": decoding, "suppression": how}
    made = detect_snippets.files(tmp_path / "x.tflite", about, "0" * 64)
    assert set(made) == set(detect_snippets.NAMES) and not any("@{" in text for text in made.values())
    (tmp_path / "detect.c").write_text(made["detect.c"])
    library = tmp_path / "detect.so"
    flags = ["-std=c99", "-Wall", "-Werror", "-shared", "-fPIC", "-O1"]
    subprocess.run(["cc", *flags, str(tmp_path / "detect.c"), "-o", str(library), "-lm"], check=True)
    found = np.zeros((40, 6), np.float32)
    pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (raw, logits, found)]
    count = ctypes.CDLL(str(library)).detect(*pointers[:2], ctypes.c_float(0.2), pointers[2])
    boxes, classes, scores = detect.decode(raw, logits, priors.boxes, decoding, 0.2, **how)
    assert count == len(boxes) > 5
    np.testing.assert_allclose(found[:count, :4], boxes, rtol=1e-4, atol=1e-3)
    np.testing.assert_allclose(found[:count, 4], scores, rtol=1e-5)
    np.testing.assert_array_equal(found[:count, 5].view(np.int32), classes)


def test_the_script_runs_without_the_project(file, tmp_path, detection_run):
    shutil.copy(ROOT / "compression" / "on_device" / "detect.py", tmp_path)
    shutil.copy(file.path, tmp_path)
    picture = next((detection_run.parent / "annotated" / "JPEGImages").glob("test_*.png"))
    command = [sys.executable, "-I", "detect.py"]  # isolated: the project is not on the path
    asked = [*command, file.path.name, str(picture), "--min-score", "0.001"]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert rows and all(len(row) == 7 and row[1] in ("disc", "square") for row in rows)
    asked = [*command, "absent.tflite", str(picture)]
    done = subprocess.run(asked, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr == "detect: absent.tflite: expected a .tflite file, found none\n"
