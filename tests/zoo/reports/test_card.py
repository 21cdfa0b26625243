"""The model card: every number comes from a file of the run, and missing measurements are stated."""

import json

import pytest

from tests.conftest import ROOT
from zoo import card
from zoo.config.train_config import TrainConfig
from zoo.runs.folder import RunFolder
from zoo.scores import groups
from zoo.system.files import sha256, write_json

SPEC = {
    "name": "digits",
    "kind": "image",
    "input_shape": [8, 8, 1],
    "class_names": ["zero", "one|two"],
    "per_step": False,
    "task": "classification",
}
PRIVATE = {
    "epsilon": 3.2, "delta": 1e-5, "noise": 1.1, "clip": 1.0, "steps": 1200, "sampling_rate": 0.004,
    "sampling": "poisson", "clipped": 0.5, "key": "secret",
}  # fmt: skip
METRICS = {
    "test": {"accuracy": 0.8125, "f1": 0.75, "precision": 0.7, "recall": 0.8, "loss": 0.5, "examples": 16},
    "intervals": {"accuracy": [0.625, 1.0]},
    "per_class": [
        {"class": "zero", "precision": 0.9, "recall": 0.8, "f1": 0.847, "examples": 10},
        {"class": "one|two", "precision": 0.6, "recall": 0.7, "f1": 0.646, "examples": 6},
    ],
    "split_examples": {"train": 100, "validation": 20, "test": 16},
    "epoch": 3,
    "epochs": 4,
    "seconds": 7.5,
    "examples_per_second": 90,
    "parameters": 1234,
    "model_sha256": "ab" * 32,
}


@pytest.fixture
def run(tmp_path):
    """Return the folder of a finished run without a model file."""
    folder = RunFolder(tmp_path / "run")
    folder.write_config(TrainConfig(seed=5).resolved(), SPEC, ["python", "-m", "zoo.train", "--seed", "5"])
    write_json(folder.metrics_file, METRICS)
    return folder


def made(run, *words):
    assert card.main([str(run.path), *words]) == 0
    return run.card_file.read_text(encoding="utf-8")


def test_a_card_holds_what_was_measured_and_says_what_was_not(run, capsys):
    text = made(run)
    assert capsys.readouterr().out.splitlines()[-1] == str(run.card_file)
    for said in (
        "# Model card: cnn on digits",
        "| parameters | 1,234 |",
        "    python -m zoo.train --seed 5",
        "| seed | 5 |",
        "| epochs | 4, weights of epoch 3 |",
        "| accuracy | 81.25% (62.50 to 100.00) |",
        "| macro F1 | 75.00% |",
        r"| one\|two | 60.00% | 70.00% | 64.60% | 6 |",
        "| train examples | 100 |",
        "scikit-learn; Alpaydin & Kaynak, 1998",
        f"Not measured; run `python -m zoo.attack {run.path}`",
        f"Not measured; run `python -m zoo.calibrate {run.path}`",
        f"Not measured; run `python -m zoo.evaluate {run.path} --groups FILE.csv`",
        f"run `python -m compression.compress {run.path} --recipe int8`",
        "- Robustness: not measured",
        "- Privacy: not measured",
        "The class with the lowest F1 is one|two: 64.60%.",
        "Primary uses: *to be written*",
    ):
        assert said in text, said
    assert "$" not in text  # no placeholder remains


def test_what_was_measured_later_is_in_the_next_card(run, capsys):
    made(run)
    rows = groups.measured({"pen": ["ink"] * 12 + ["chalk"] * 12}, [True] * 12 + [False] * 6 + [True] * 6)
    groups.write(run.groups_file, "digits", "test", rows)
    run.attacks.mkdir()
    attack = {"attack": "pgd", "steps": 40, "restarts": 2, "examples": 16, "eps": [0.0, 0.1]}
    attack |= {"accuracy": {"keras": [0.8125, 0.25]}, "model_sha256": METRICS["model_sha256"]}
    write_json(run.attacks / "pgd.json", attack)
    write_json(run.attacks / "fgsm.json", attack | {"attack": "fgsm", "model_sha256": "other"})
    calibration = {"temperature": 1.5, "test": {"ece": 0.01, "nll": 0.2, "brier": 0.3}}
    write_json(run.metrics_file, METRICS | {"calibration": calibration, "private": PRIVATE})
    text = made(run)
    assert "pen: worst chalk, 50.00 points below the best" in text
    assert "| 0.1 | 25.00% |" in text and "PGD, 40 steps, 2 starts, 16 test examples" in text
    assert "FGSM" not in text  # that report is of another model
    assert "Temperature 1.500" in text and "| expected calibration error | 0.0100 |" in text
    assert "epsilon 3.200 at delta 1e-05 for each training example (noise 1.1, clip 1, 1,200 steps" in text
    for name in ("Subgroups", "Robustness", "Calibration", "Privacy"):
        assert f"- {name}: not measured" not in text


def receipt(file, **changes):
    whole = json.loads((ROOT / "zoo/stock/cnn-digits/artifacts/float32.receipt.json").read_text())
    without = ("digest", "signed", "not_run", "beside", "tolerances", "device")
    test = {"examples": 16, "litert": {"accuracy": 0.75, "f1": 0.7, "precision": 0.7}}
    found = {name: value for name, value in whole.items() if name not in without} | {
        "sha256": sha256(file),
        "made": whole["made"] | {"recipe": "prune(0.5) + int8", "model_sha256": changes.pop("of", "ab" * 32)},
        "bytes": 4096,
        "gzip_bytes": 2048,
        "times_smaller": 3.75,
        "test": whole["test"] | test | {"intervals": {"accuracy": [0.5, 0.9375]}},
        "latency": [whole["latency"][0] | {"threads": 1, "median_ms": 0.125}],
        "processor": {"name": "a chip"},
    }
    write_json(file.with_name(f"{file.stem}.receipt.json"), found | changes)


def test_files_are_those_of_the_run_and_as_they_were_measured(run):
    folder = run.path / "artifacts"
    folder.mkdir()
    for name in ("good", "altered", "other", "damaged", "flex"):
        (folder / f"{name}.tflite").write_bytes(name.encode())
        receipt(folder / f"{name}.tflite")
    (folder / "altered.tflite").write_bytes(b"changed")
    receipt(folder / "other.tflite", of="cd" * 32)
    (folder / "damaged.receipt.json").write_text("{")
    receipt(folder / "flex.tflite", not_run="no kernels")
    text = made(run)
    line = next(line for line in text.splitlines() if line.startswith("| `good.tflite`"))
    assert line == (
        "| `good.tflite` | `prune(0.5) + int8` | 4,096 | 2,048 | 3.8 |"
        " accuracy 75.00% (50.00 to 93.75), macro F1 70.00%; 16 examples | 0.125 (1 thread) | a chip |"
    )
    assert "not run: no kernels" in text
    assert "altered since it was measured" in text
    assert "other.tflite is left out: it was made from another model" in text
    assert "damaged.tflite is left out" in text
    assert "- Compressed files: not measured" not in text


def test_what_somebody_wrote_into_a_card_is_not_replaced(run, tmp_path, capsys):
    text = made(run)
    assert made(run) == text  # unchanged
    run.card_file.write_text(text.replace("*to be written*", "Reading meters.", 1))
    assert card.main([str(run.path)]) == 2
    assert "expected no file, or an unedited card of zoo.card; this one was edited" in capsys.readouterr().err
    assert card.main([str(run.path), "--output", str(tmp_path / "card.md")]) == 0
    assert (tmp_path / "card.md").read_text() == text
    (tmp_path / "notes.md").write_text("")
    for place, why in (("notes.md", "this one was edited"), ("", "received a folder"), ("no/c.md", "found no")):
        assert card.main([str(run.path), "--output", str(tmp_path / place)]) == 2
        assert why in capsys.readouterr().err


def test_a_card_needs_a_finished_run(run, tmp_path, capsys):
    assert card.main([str(tmp_path / "absent")]) == 2
    assert "expected the folder of a run, found no such folder" in capsys.readouterr().err
    run.metrics_file.unlink()
    assert card.main([str(run.path)]) == 2
    assert "this run has not finished" in capsys.readouterr().err


def test_the_licence_is_the_one_that_the_set_states(run, tmp_path):
    place = tmp_path / "sets" / "mnist" / "1.0.0"
    place.mkdir(parents=True)
    (place / "features.json").write_text(json.dumps({"featuresDict": {"features": {}}}))
    info = {"version": "1.0.0", "location": {"urls": ["http://there"]}, "citation": "@article{x}"}
    config = TrainConfig(dataset="mnist", data_dir=tmp_path / "sets").resolved()
    for licence, said in (({}, "unknown"), ({"redistributionInfo": {"license": "CC BY 4.0"}}, "CC BY 4.0")):
        (place / "dataset_info.json").write_text(json.dumps(info | licence))
        run.write_config(config, SPEC, [])
        text = made(run)
        assert f"| licence | {said}" in text
        assert "| source | TFDS, mnist 1.0.0, http://there |" in text


@pytest.mark.parametrize(("task", "test", "said"), [
    ("translation", {"bleu": 30.5, "accuracy": 0.5, "loss": 2.0, "tokens": 9, "examples": 3}, "next-token accuracy"),
    ("generation", {"frechet_distance": 1.5, "precision": 0.5, "examples": 3}, "| precision | 50.00% |"),
    ("link_prediction", {"mrr": 0.25, "examples": 3}, "| filtered MRR | 0.2500 |"),
])  # fmt: skip
def test_every_task_has_a_card(task, test, said, run):
    run.write_config(TrainConfig().resolved(), SPEC | {"task": task}, [])
    rest = {k: v for k, v in METRICS.items() if k not in ("per_class", "intervals")}
    write_json(run.metrics_file, rest | {"test": test, "intervals": {}, "no_intervals": "sets are no means"})
    text = made(run)
    assert said in text
    assert "has no classes" in text
    assert "Without an interval: sets are no means." in text
