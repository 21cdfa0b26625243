"""The search command: its winner is reproducible, a search resumes, and impossible requests are refused."""

import contextlib
import csv
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from compression import compress, search, verify
from compression.devices import profile as devices
from compression.devices.targets import versions
from compression.searching import search as explore
from compression.searching import worker
from compression.searching.budget import Budget
from tests.compression.test_commands import said
from tests.conftest import ROOT, blobs, run_module, unsealed
from zoo.config.train_config import TrainConfig
from zoo.runs.folder import RunFolder
from zoo.system.files import sha256

QUICK = ("--space", "epochs=1", "--space", "rate=2", "--space", "precision=int8", "--space", "qat=false")


@pytest.fixture(scope="module")
def searched(image_run, tmp_path_factory):
    """Return the folder and result of a search with two trials."""
    folder, out = tmp_path_factory.mktemp("search") / "found", io.StringIO()
    with contextlib.redirect_stdout(out):
        words = [str(image_run), "--max-bytes", "2400", "--trials", "2", *QUICK, "--output", str(folder), "--json"]
        assert search.main(words) == 0
    return folder, json.loads(out.getvalue())


def test_the_winner_is_within_the_budget_and_all_files_are_written(searched):
    folder, result = searched
    winner = result["winner"]
    assert winner["bytes"] <= 2400 and winner["accuracy"] == max(r["accuracy"] for r in result["files"])
    file = folder / "files" / winner["path"]
    assert file.stat().st_size == winner["bytes"] and sha256(file) == winner["sha256"]
    receipt = json.loads(file.with_name(file.name.replace(".tflite", ".receipt.json")).read_text())
    assert receipt["test"]["litert"]["accuracy"] == winner["test_accuracy"]
    assert receipt["test"]["examples"] == result["test_examples"] == 48
    assert result["trials"] == 2 and len(result["files"]) + result["stopped_early"] == 2
    with (folder / "front.csv").open() as front:
        rows = list(csv.DictReader(front))
    assert [int(row["bytes"]) for row in rows] == [row["bytes"] for row in result["front"]]
    page = (folder / "search.html").read_text()
    embedded = page.split("id=data>")[1].split("</script>")[0]
    assert json.loads(embedded)["winner"] == winner["number"]
    assert json.loads(embedded)["baselines"] == result["baselines"]
    in_float, plain = result["baselines"]
    assert (in_float["recipe"], plain["recipe"]) == ("float32", "int8") and in_float["bytes"] > plain["bytes"]
    # One of the trials is the baseline: a small network trained from scratch on labels only.
    assert any("init=scratch" in r["recipe"] and "distill" not in r["recipe"] for r in result["files"])


@pytest.mark.slow
def test_the_printed_command_reproduces_the_file(searched, image_run, tmp_path):
    _, result = searched
    command = result["winner"]["command"]
    assert command.startswith("python -m compression.compress ")
    words = [*shlex.split(command)[3:], "--output", tmp_path]
    assert compress.main([str(word) for word in words]) == 0
    assert sha256(tmp_path / result["winner"]["path"]) == result["winner"]["sha256"]


@pytest.mark.slow
def test_the_winner_can_be_verified(searched, image_run, capsys):
    folder, result = searched
    status, out, error = said(capsys, verify, folder / "files" / result["winner"]["path"], image_run)
    assert status == 0, error


def test_a_complete_search_is_not_repeated(searched, image_run, capsys, monkeypatch):
    from compression.searching import search as explore

    folder, before = searched
    for name in ("estimate", "train_and_measure", "receipt_on_test"):
        monkeypatch.setattr(explore, name, None)
    words = (image_run, "--max-bytes", "2400", *QUICK, "--output", folder, "--trials", "2", "--json")
    status, out, error = said(capsys, search, *words)
    assert status == 0, error
    assert {key: json.loads(out)[key] for key in ("winner", "front", "files")} == {
        key: before[key] for key in ("winner", "front", "files")
    }


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_resumes_and_another_budget_reuses_known_trials(searched, image_run, tmp_path, capsys):
    folder = tmp_path / "found"
    shutil.copytree(searched[0], folder)
    before = searched[1]
    words = (image_run, "--max-bytes", "2400", *QUICK, "--output", folder, "--json")
    status, out, error = said(capsys, search, *words, "--trials", "4")
    again = json.loads(out)
    assert status == 0 and again["trials"] == 4
    assert {r["recipe"] for r in before["files"]} <= {r["recipe"] for r in again["files"]}
    words = (image_run, "--max-bytes", "2300", *QUICK, "--output", folder, "--json", "--trials", "1")
    status, out, error = said(capsys, search, *words)
    other = json.loads(out)
    assert status == 0 and other["repeated"] >= len(again["files"]) and other["trials"] == 1
    assert {r["recipe"] for r in again["files"]} <= {r["recipe"] for r in other["files"]}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_unmet_budget_is_reported_with_the_closest_file(searched, image_run, tmp_path, capsys):
    folder = tmp_path / "found"
    shutil.copytree(searched[0], folder)
    words = (image_run, "--max-bytes", "2400", "--min-accuracy", "1", *QUICK, "--output", folder, "--trials", "2")
    status, out, error = said(capsys, search, *words)
    best = max(row["accuracy"] for row in searched[1]["files"])
    if best < 1:
        assert status == 1 and "the closest has" in error.splitlines()[-1]
    else:
        assert status == 0 and out.splitlines()[-1].endswith(".tflite")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--max-bytes", "20q"), "--max-bytes: expected a number of bytes such as"),
        (("--max-bytes", "5k", "--max-gzip-bytes", "6k"), "contradict each other"),
        (("--min-accuracy", "98"), "98 % is 0.98"),
        (("--time-limit", "soon"), "--time-limit: expected a time such as"),
        (("--trials", "0"), "--trials: expected at least 1, received 0"),
        (("--jobs", "9", "--trials", "3"), "--jobs 9: expected at most the 3 trials"),
        (("--threads", "2"), "--threads 2: expected together with --max-latency-ms"),
        (("--sampler", "grid"), "--sampler: expected one of tpe, random"),
        (("--teacher", "absent"), "absent"),
        (("--space-file", "absent.toml"), "--space-file absent.toml: expected a TOML file"),
    ],
)
def test_usage_errors_are_one_line_before_anything_is_loaded(image_run, capsys, words, sentence):
    status, out, error = said(capsys, search, image_run, *words)
    assert status == 2 and sentence in error and len(error.strip().splitlines()) == 1 and not out


def test_a_budget_below_the_smallest_file_is_refused_with_its_size(image_run, tmp_path, capsys):
    status, _, error = said(capsys, search, image_run, "--max-bytes", "500", "--output", tmp_path / "found")
    floor = error.split("expected at least ")[1].split(",")
    assert status == 2 and "the smallest file of this model in the search space" in error
    assert 500 < int("".join(floor[:2]).split()[0]) < 5000


def test_the_storage_of_another_run_is_refused(searched, image_run, tmp_path, capsys):
    folder = tmp_path / "found"
    folder.mkdir()
    (folder / "search.db").write_bytes(b"something else")
    status, _, error = said(capsys, search, image_run, "--output", folder)
    assert status == 2 and "expected the SQLite storage of a search" in error
    shutil.copyfile(searched[0] / "search.db", folder / "search.db")
    other = tmp_path / "run"
    shutil.copytree(image_run, other)
    model = RunFolder(other).load_model()
    model.set_weights([w + 1e-3 for w in model.get_weights()])
    model.save(other / "model.keras")
    metrics = unsealed(other, "metrics.json")
    metrics["model_sha256"] = sha256(other / "model.keras")
    (other / "metrics.json").write_text(json.dumps(metrics))
    status, _, error = said(capsys, search, other, "--output", folder, "--max-bytes", "5k")
    assert status == 2 and "holds the search of another run: model" in error


def test_a_run_without_validation_examples_is_refused(image_run, tmp_path, capsys):
    other = tmp_path / "run"
    shutil.copytree(image_run, other)
    config = unsealed(other, "config.json")
    config["config"]["validation_split"] = 0.0
    (other / "config.json").write_text(json.dumps(config))
    status, _, error = said(capsys, search, other, "--output", tmp_path / "found")
    assert status == 2 and "expected a validation split" in error


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_users_model_and_data(tmp_path):
    import keras

    x, y = blobs(150, (6,), 3)
    batches = [(x[i : i + 30].astype("float32"), y[i : i + 30]) for i in range(0, 150, 30)]
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(16, "relu"), keras.layers.Dense(3)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(x, y, epochs=30, verbose=0)
    training = TrainConfig(model="simplenet", epochs=4, batch_size=30, learning_rate=1e-2).resolved()
    found = explore.search(
        model,
        batches[:3],
        batches[3:4],
        test=batches[4:],
        budget=Budget(max_bytes=3000),
        folder=tmp_path,
        training=training,
        narrowing={"precision": "int8", "epochs": "2", "rate": "1"},
        trials=3,
    )
    assert found.winner["bytes"] <= 3000 and found.winner["test_accuracy"] is not None
    assert "distill(model" in " ".join(row["recipe"] for row in found.result["files"])
    assert not any("command" in row for row in found.front)


def _started(run, folder, trials):
    words = [run, "--max-bytes", "2400", "--trials", trials, *QUICK, "--output", folder]
    return subprocess.Popen(
        [sys.executable, "-m", "compression.search", *map(str, words)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def _finished(folder):
    """Return {recipe: row} of the finished trials in the database."""
    import optuna

    storage = f"sqlite:///{folder / 'search.db'}"
    studies = optuna.study.get_all_study_names(storage)
    trials = [t for name in studies for t in optuna.load_study(study_name=name, storage=storage).trials]
    return {t.user_attrs["recipe"]: t.user_attrs["file"] for t in trials if "file" in t.user_attrs and t.values}


def _killed(run, folder, seconds, rng):
    """Start a search, kill it at a random moment after its first trial, and return the finished trials."""
    child = _started(run, folder, 60)
    with child.stderr:
        for line in child.stderr:
            if line.startswith("["):
                break
        time.sleep(rng.uniform(0, seconds))
        child.kill()
        child.wait()
    assert child.returncode == -signal.SIGKILL
    return _finished(folder)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_ten_kills_lose_no_finished_trial(image_run, tmp_path):
    rng, known = np.random.default_rng(0), {}
    for _ in range(10):
        found = _killed(image_run, tmp_path, 8, rng)
        assert all(found.get(recipe) == row for recipe, row in known.items())
        for row in found.values():
            assert sha256(tmp_path / "files" / row["path"]) == row["sha256"]
        known = found
    assert len(known) >= 5  # other trials are stopped after their estimate
    done = run_module(
        *("compression.search", image_run, "--max-bytes", "2400", "--trials", len(known), *QUICK),
        *("--output", tmp_path, "--json"),
        cwd=tmp_path,
        check=0,
    )
    assert set(known) <= {row["recipe"] for row in json.loads(done.stdout)["files"]}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_share_a_search(image_run, tmp_path):
    done = run_module(
        *("compression.search", image_run, "--max-bytes", "2400", "--trials", "8", "--jobs", "2", *QUICK),
        *("--output", tmp_path, "--json"),
        cwd=tmp_path,
        check=0,
    )
    result = json.loads(done.stdout)
    assert result["trials"] >= 8
    assert len({row["recipe"] for row in result["files"]}) == len(result["files"])


@pytest.mark.slow
@pytest.mark.skipif(not versions(), reason="needs the extra `device`: tflite-micro and ethos-u-vela")
@pytest.mark.timeout(600)
def test_files_within_a_devices_limits_keep_them_when_measured_again(image_run, tmp_path, capsys):
    words = (image_run, "--trials", "2", *QUICK[:4], "--seed", "3", "--output", tmp_path / "found", "--json")
    status, _, error = said(capsys, search, *words, "--max-arena", "100")
    assert status == 2 and "--max-arena 100: expected at least" in error and "on tflm" in error
    status, out, error = said(
        capsys, search, *words, "--max-arena", "12k", "--max-cycles", "20k", "--min-accuracy", "0.5"
    )
    assert status == 0, error
    result = json.loads(out)
    assert result["space"]["choices"]["precision"] == ["int8"]  # TFLite Micro has no int4 with float activations
    for row in result["files"]:
        found = devices.measure(tmp_path / "found" / "files" / row["path"], "ethos-u55-128")
        assert (row["arena_bytes"], row["cycles"]) == (found["arena_bytes"], found["cycles"])
    winner = result["winner"]
    assert winner["arena_bytes"] <= 12_000 and winner["cycles"] <= 20_000
    assert "plan=true" in winner["recipe"] and result["space"]["choices"]["memory"] == ["patches", "plan"]
    assert "arena_bytes" in (tmp_path / "found" / "front.csv").read_text().splitlines()[0]


def test_the_command_of_a_recipe_trains_only_if_the_recipe_does(tmp_path):
    (tmp_path / "mine.keras").write_bytes(b"model")
    np.savez(tmp_path / "data.npz", x=np.zeros((9, 2)))
    given = {"data": tmp_path / "data.npz", "epochs": 3}
    chosen = worker.SearchInputs(tmp_path / "mine.keras", (), tmp_path / "found", "auto", 1, given)
    opened, _ = worker.open_runs(chosen)
    subject = worker.load_subject(chosen, opened, {}, loaded=(None, None))
    assert "--epochs 3" in subject.command("prune(0.5) + int8") and "--epochs" not in subject.command("int8")
