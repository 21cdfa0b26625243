import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import ROOT, run_module
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder
from zoo.sweep import __main__ as sweep
from zoo.sweep import grid, trainings


def names(**given):
    return [point.name for point in grid.points(given)]


def test_every_combination_is_a_point():
    assert names(model="simplenet", learning_rate="0.1,0.2", settings={"dropout": "0,0.3"}) == [
        "learning-rate-0.1_dropout-0", "learning-rate-0.1_dropout-0.3",
        "learning-rate-0.2_dropout-0", "learning-rate-0.2_dropout-0.3",
    ]  # fmt: skip
    assert names(model="simplenet") == ["default"]


def test_values_are_typed_and_a_tuple_is_one_value():
    points = grid.points({"model": "simplenet,cnn", "batch_size": "16,32", "epochs": "3"})
    assert [(p.given["model"], p.given["batch_size"], p.given["epochs"]) for p in points] == [
        ("simplenet", 16, 3), ("simplenet", 32, 3), ("cnn", 16, 3), ("cnn", 32, 3),
    ]  # fmt: skip
    points = grid.points({"model": "simplenet", "settings": {"units": "32,16|8"}})
    assert [p.given["settings"] for p in points] == [{"units": "32,16"}, {"units": "8"}]


def test_budgets_vary_and_auto_batch_is_given_once():
    points = grid.points({"model": "cnn", "target_params": "20k,1.2M", "auto_batch": True})
    assert [(p.given["target_params"], p.given["auto_batch"]) for p in points] == [(20_000, True), (1_200_000, True)]
    assert [p.name for p in points] == ["target-params-20k", "target-params-1.2M"]
    job = trainings.Job(points[1], 0, Path("absent"))
    assert trainings.words(job)[4:] == ["--model", "cnn", "--auto-batch", "--target-params", "1200000"]


@pytest.mark.parametrize(("given", "message"), [
    ({"learning_rate": "0.1,fast"}, "--learning-rate: expected a number, received 'fast'"),
    ({"model": "cnn,cnnn"}, "unknown model 'cnnn'"),
    ({"settings": {"dropuot": "0.1,0.2"}}, "did you mean 'dropout'"),
    ({"settings": {"dropout": "0.1,much"}}, "--set dropout: expected a number, received 'much'"),
    ({"batch_size": "16,16"}, "--batch-size: expected different values"),
    ({"target_params": "20k,20q"}, "--target-params: expected a number such as 50000"),
    ({"auto_batch": True, "batch_size": "16,32"}, "--auto-batch and --batch-size: expected one of them"),
    ({"optimizer": "adamw,sgdd"}, "did you mean 'sgd'"),
])  # fmt: skip
def test_invalid_values_are_refused_before_any_training_starts(given, message):
    with pytest.raises(UsageError, match=message):
        grid.points(given)


@pytest.fixture
def words(image_npz, tmp_path):
    return ["--model", "simplenet", "--data", str(image_npz), "--set", "units=4|8", "--epochs", "2", "--batch-size",
            "16", "--seeds", "2", "--output", str(tmp_path / "sweep")]  # fmt: skip


@pytest.mark.slow
def test_a_failing_training_does_not_stop_the_others_and_is_named(words, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "sweep"
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder.mkdir()
    words[words.index("units=4|8")] = "units=4"
    words[words.index("--batch-size") + 1] = "16,200"
    assert sweep.main(words) == 1
    captured = capsys.readouterr()
    assert "2 of 4 trainings failed, the first of them" in captured.err and "batch-size-200_seed-0" in captured.err
    assert "--batch-size 200: expected at most the" in captured.err
    with (folder / "comparison.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["--batch-size"], row["seeds"]) for row in rows] == [("16", "2"), ("200", "0")]
    tests = [RunFolder(p).read_metrics()["test"]["accuracy"] for p in folder.glob("batch-size-16_*")]
    assert float(rows[0]["test accuracy"]) == pytest.approx(np.mean(tests), abs=1e-4)
    assert float(rows[0]["+-"]) == pytest.approx(np.std(tests, ddof=1), abs=1e-4)
    assert (folder / "comparison.png").stat().st_size > 5_000


@pytest.mark.slow
def test_interrupted_and_resumed(words, tmp_path):
    folder = tmp_path / "sweep"
    words[words.index("--epochs") + 1] = "40"
    command = [sys.executable, "-m", "zoo.sweep", *words, "--jobs", "2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while len(list(folder.glob("*/checkpoints/step*"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "interrupted with 0 of 4 finished; continue with: python -m zoo.sweep" in err and "--resume" in err
    begun = sorted(p.name for p in folder.iterdir() if p.is_dir())
    assert len(begun) == 2

    done = run_module("zoo.sweep", *words, cwd=tmp_path)
    assert done.returncode == 2 and "continue it with --resume" in done.stderr
    other = [w.replace("units=4|8", "units=4|9") for w in words]
    done = run_module("zoo.sweep", *other, "--resume", cwd=tmp_path)
    assert done.returncode == 2 and "is a sweep of" in done.stderr
    done = run_module("zoo.sweep", *words, "--resume", "--jobs", "4", cwd=tmp_path, check=0)
    assert done.stdout.splitlines()[-1] == str(folder)
    assert len([p for p in folder.iterdir() if RunFolder(p).finished]) == 4
    again = run_module("zoo.sweep", *words, "--resume", cwd=tmp_path, check=0)  # trains nothing
    assert again.stdout == done.stdout
