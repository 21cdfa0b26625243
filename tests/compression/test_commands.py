"""The commands of compression as a user types them."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from compression import compress, export, inspect, sensitivity, verify
from compression.flatbuffers.layers import layers_of
from tests.compression.conftest import altered
from tests.conftest import ROOT, run_module, unsealed

_NO_BACKEND = """
import sys
from compression import __main__ as words
from compression import attack, compress, export, inspect, profile, search, sensitivity, snippets, to_c, verify
for command in (attack, compress, export, inspect, profile, search, sensitivity, snippets, to_c, verify, words):
    try:
        command.main(["--help"])
    except SystemExit as ended:
        assert ended.code == 0
words.main(["--json"])
assert compress.main(["absent"]) == compress.main(["absent", "--recipe", "int9"]) == 2
assert search.main(["absent"]) == search.main(["absent", "--max-bytes", "20q"]) == 2
assert attack.main(["absent"]) == 2
assert profile.main(["absent.tflite"]) == profile.main(["absent.tflite", "--target", "tfml"]) == 2
assert export.main(["absent"]) == sensitivity.main(["absent"]) == 2
assert verify.main(["absent.tflite"]) == inspect.main(["absent.tflite"]) == to_c.main(["absent.tflite"]) == 2
assert snippets.main(["absent.tflite"]) == 2
heavy = {"tensorflow", "keras", "jax", "tf_keras"} & set(sys.modules)
assert not heavy, heavy
"""


def test_help_and_mistakes_import_no_backend(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", _NO_BACKEND], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def said(capsys, command, *words):
    """Run a command's main in this process; return (status, stdout, stderr)."""
    capsys.readouterr()
    status = command.main([str(word) for word in words])
    return status, *capsys.readouterr()


@pytest.mark.timeout(600)  # three processes that each import TensorFlow, and the fixture's training
@pytest.mark.slow
def test_compress_verify_inspect_in_processes_of_their_own(image_run, tmp_path):
    made = run_module("compression.compress", image_run, "--recipe", "dynamic", cwd=tmp_path, check=0)
    path = made.stdout.splitlines()[-1]
    assert path == str(image_run / "artifacts" / "dynamic.tflite")
    assert "test accuracy" in made.stdout and "latency" in made.stdout
    verified = run_module("compression.verify", path, "--json", cwd=tmp_path, check=0)
    assert json.loads(verified.stdout)["verified"] is True
    shown = run_module("compression.inspect", path, cwd=tmp_path, check=0)
    assert "CONV_2D" in shown.stdout and "\nhead\t" in shown.stdout and "metadata" in shown.stdout


def test_inspect_adds_up_to_the_file(image_run, capsys):
    assert said(capsys, compress, image_run, "--recipe", "float32")[0] == 0
    file = image_run / "artifacts" / "float32.tflite"
    status, out, _ = said(capsys, inspect, file, "--json", "--top", "3")
    found = json.loads(out)
    assert status == 0 and sum(found["layers"].values()) == found["bytes"] == file.stat().st_size
    assert len(found["constants"]) == 3 and found["more_constants"] > 0
    assert {"conv_1", "conv_2", "hidden", "head"} <= set(found["layers"])


def test_verify_fails_with_the_number_that_is_wrong(image_run, tmp_path, capsys):
    assert said(capsys, compress, image_run, "--recipe", "float16", "--output", tmp_path)[0] == 0
    receipt = tmp_path / "float16.receipt.json"
    altered(tmp_path / "float16.tflite", lambda stored: stored["test"]["litert"].update(accuracy=0.011))
    status, _, error = said(capsys, verify, tmp_path / "float16.tflite", image_run)
    assert status == 1 and "not reproduced: test.litert.accuracy: the receipt says" in error
    assert len(error.strip().splitlines()) == 1
    # Outside of a run folder, the run has to be named.
    status, _, error = said(capsys, verify, tmp_path / "float16.tflite")
    assert status == 2 and "name the run" in error
    receipt.write_text("{")
    status, _, error = said(capsys, verify, tmp_path / "float16.tflite", image_run)
    assert status == 2 and "cut short or altered" in error
    receipt.unlink()
    status, _, error = said(capsys, verify, tmp_path / "float16.tflite", image_run)
    assert status == 2 and "expected its receipt float16.receipt.json" in error


@pytest.mark.slow  # the functions behind them are tested in test_pipeline.py
def test_skip_worst_and_sensitivity_from_the_command_line(image_run, tmp_path, capsys):
    words = ("--recipe", "int4", "--skip-worst", "1", "--output", tmp_path, "--json")
    status, out, error = said(capsys, compress, image_run, *words)
    assert status == 0, error
    skipped = json.loads(out)["made"]["recipe"]
    assert skipped.startswith("int4(skip=") and "left in float32" in error
    status, out, _ = said(capsys, sensitivity, image_run, "--recipe", "int4")
    assert status == 0 and out.splitlines()[-1].endswith("int4.sensitivity.json")
    assert (image_run / "artifacts" / "int4.sensitivity.png").is_file()
    # The same layer: both measure on the same validation examples.
    worst = out.splitlines()[2].split("\t")[0]
    assert skipped == f"int4(skip={worst})"


def test_export_as_a_saved_model(image_run, tmp_path, capsys):
    status, out, error = said(capsys, export, image_run, "--to", "savedmodel", "--output", tmp_path)
    assert status == 0, error
    assert (tmp_path / "saved_model" / "saved_model.pb").is_file() and (tmp_path / "saved_model.receipt.json").is_file()


@pytest.mark.parametrize(
    ("command", "words", "expected"),
    [
        (compress, ["RUN", "--recipe", "int9"], ["unknown recipe word 'int9'", "did you mean 'int8'"]),
        (compress, ["RUN", "--recipe", "int8+int4"], ["expected one precision"]),
        (compress, ["RUN", "--lstm-kernel", "unroled"], ["--lstm-kernel", "did you mean 'unrolled'"]),
        (compress, ["RUN", "--batch", "0"], ["--batch: expected at least 1, received 0"]),
        (compress, ["RUN", "--input-size", "30,30"], ["--input-size", "together with --uint8-input"]),
        (compress, ["RUN", "--uint8-input", "--input-size", "30"], ["HEIGHT,WIDTH", "received 30"]),
        (compress, ["RUN", "--recipe", "float16", "--skip-worst", "1"], ["--skip-worst", "float16"]),
        (compress, ["RUN", "--recipes", "int8"], ["'--recipes'", "did you mean '--recipe'"]),
        (compress, ["absent"], ["absent", "expected the folder of a run"]),
        (sensitivity, ["RUN", "--recipe", "float16"], ["dynamic, int8 or int4"]),
        (export, ["RUN", "--to", "onxn"], ["--to", "did you mean 'onnx'"]),
        (inspect, ["absent.tflite"], ["absent.tflite", "found none"]),
        (inspect, ["RUN/config.json"], ["expected a TFLite flatbuffer"]),
        (verify, ["RUN/config.json"], ["expected a TFLite flatbuffer"]),
    ],
)
def test_mistakes_are_one_sentence(command, words, expected, image_run, capsys, monkeypatch):
    monkeypatch.setattr("compression.pipeline.source.OpenedRun.load", lambda self: pytest.fail("began to work"))
    words = [word.replace("RUN", str(image_run)) for word in words]
    status, out, error = said(capsys, command, *words)
    assert (status, out) == (2, "")
    assert all(word in error for word in expected), error
    assert len(error.strip().splitlines()) == 1


def test_a_run_without_a_model_or_unfinished(image_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(image_run, copy, ignore=shutil.ignore_patterns("artifacts", "checkpoints"))
    (copy / "model.keras").unlink()
    status, _, error = said(capsys, compress, copy)
    assert status == 2 and "expected a model.keras" in error
    (copy / "metrics.json").unlink()
    status, _, error = said(capsys, compress, copy)
    assert status == 2 and "has not finished" in error


def test_a_model_that_was_altered(image_run, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(image_run, copy, ignore=shutil.ignore_patterns("artifacts", "checkpoints"))
    with (copy / "model.keras").open("ab") as file:
        file.write(b"more")
    status, _, error = said(capsys, compress, copy)
    assert status == 2 and "altered" in error


@pytest.mark.slow
def test_a_recipe_that_trains_tells_each_stage_and_is_verified(image_run, tmp_path, capsys):
    recipe = "prune(0.5, epochs=1) + int8"
    status, out, err = said(capsys, compress, image_run, "--recipe", recipe, "--output", image_run / "trained")
    assert status == 0
    assert "stage 1 of 1: prune(0.5, epochs=1)" in err and "after start: test accuracy" in err
    assert "after prune(0.5, epochs=1): " in out
    assert said(capsys, verify, out.splitlines()[-1])[0] == 0
    status, _, err = said(capsys, compress, image_run, "--recipe", recipe, "--output", image_run / "trained")
    assert status == 0 and "finished before" in err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--recipe", "prune(1.5)"), "prune: sparsity: expected a share from 0 to below 1, received 1.5"),
        (("--recipe", "prune(0.5, only=convolution_1)"), "did you mean 'conv_1'"),
        (("--recipe", "prune(0.5) + int8", "--skip-worst", "1"), "--skip-worst: expected a precision alone"),
        (("--recipe", "distill(nowhere)"), "nowhere: expected the folder of a run"),
        (("--recipe", "prune(0.5)", "--strategy", "mirored"), "did you mean 'mirrored'"),
        (
            ("--recipe", "prune(0.5)", "--strategy", "data_parallel"),
            "recipes are trained and files exported on TensorFlow",
        ),
        (("--recipe", "prune(0.5)", "--strategy", "multi_worker"), "expected a cluster in the environment"),
        (("--recipe", "cluster(5000)"), "cluster: number: expected at most"),
    ],
)
def test_a_training_recipe_that_cannot_be_is_one_sentence(image_run, capsys, words, sentence):
    status, _, err = said(capsys, compress, image_run, *words)
    *opening, last = (
        err.splitlines()
    )  # some of these are known only of the model, which is loaded after the opening line
    assert status == 2 and sentence in last and len(opening) <= 1, err


def test_a_teacher_of_other_classes_is_refused(image_run, tmp_path, capsys):
    teacher = tmp_path / "teacher"
    teacher.mkdir()
    for name in ("config.json", "metrics.json", "model.keras"):
        shutil.copy(image_run / name, teacher)
    config = unsealed(teacher, "config.json")
    config["data"]["class_names"] = ["low", "high"]
    (teacher / "config.json").write_text(json.dumps(config))
    status, _, err = said(capsys, compress, image_run, "--recipe", f"distill({teacher})")
    assert status == 2
    assert "expected a run with the student's class names low, middle, high, received low, high" in err


def test_layers_that_keras_numbered_are_told_apart():
    traced = ["net_1/conv2d_1/convolution", "net_1/conv2d_7_1/convolution", "net_1/dense_1/MatMul"]
    assert layers_of(traced) == ["conv2d", "conv2d_7", "dense"]
    plain = ["net/conv2d/convolution", "net/conv2d_1/convolution", "a;net/conv2d_13/convolution", "net/while/x"]
    assert layers_of(plain) == ["conv2d", "conv2d_1", "conv2d_13", "(other)"]
    assert layers_of(["net_1/conv_1_1/convolution", "net_1/head_1/MatMul", "add"]) == [
        "conv_1",
        "head",
        "(other)",
    ]
