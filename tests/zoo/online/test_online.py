"""Online learning: comparison with an independent loop, rollback, and resuming without losing or repeating lines."""

import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import pytest

from compression import compress
from tests.conftest import ROOT, blobs, unsealed, wait_for_step
from zoo import evaluate, predict, train
from zoo.console.errors import Interrupted
from zoo.data import Split, load
from zoo.introspection.layers import with_itself
from zoo.online import __main__ as online
from zoo.online import run as online_run
from zoo.online.learning import BOOSTED, Learner
from zoo.online.settings import Settings
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.training.numerics import numerics

pytest.importorskip("river")
SIZE = (12, 12)


def pictures(count, seed):
    x, y = blobs(count, SIZE, seed=seed)
    order = np.random.default_rng(seed).permutation(count)
    return np.uint8(255 * np.clip(x[order], 0, 1)), y[order]


def line(x, y):
    return json.dumps({"x": x.tolist(), "y": int(y)}).encode() + b"\n"


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Return a folder with a trained run and a stream: malformed lines in it, and rotated images in its second half."""
    place = tmp_path_factory.mktemp("online")
    x, y = pictures(300, seed=0)
    np.savez(place / "set.npz", x=x, y=y)
    words = f"--model simplenet --set units=6 --set dropout=0.2 --data {place}/set.npz --epochs 3 --batch-size 16"
    assert train.main([*words.split(), "--learning-rate", "0.01", "--output", str(place / "run")]) == 0
    for name, changes in {"steps": {"per_step": True}, "translates": {"task": "translation"}}.items():
        shutil.copytree(place / "run", place / name)
        file = place / name / "config.json"
        stored = unsealed(file.parent, file.name)
        stored["data"] |= changes
        file.write_text(json.dumps(stored))
    x, y = pictures(1200, seed=1)
    lines = [
        line(image if i < 600 else np.rot90(image), label) for i, (image, label) in enumerate(zip(x, y, strict=True))
    ]
    for i in (3, 400, 401, 1100, 1204):
        lines.insert(i, b'{"x": [[1, 2]], "y": 0}\n' if i % 2 else b"{oops\n")
    (place / "stream.jsonl").write_bytes(b"".join(lines))
    return place


WORDS = ("--checkpoint-every", "200", "--hold-out", "0.1", "--rehearsal", "50")


def learnt(place, output, *words, status=0, stream="stream.jsonl"):
    """Run the command and return the folder it wrote."""
    given = [str(place / "run"), "--stream", str(place / stream), "--output", str(place / output), *WORDS, *words]
    assert online.main(given) == status
    return RunFolder(place / output)


@pytest.fixture(scope="module")
def whole(place):
    return learnt(place, "whole")


def the_same(one, other):
    """Assert that two runs ended with identical weights, rows and metrics."""
    for mine, theirs in zip(one.load_model().get_weights(), other.load_model().get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert one.prequential_file.read_bytes() == other.prequential_file.read_bytes()
    assert one.rejected_file.read_bytes() == other.rejected_file.read_bytes()
    assert one.read_metrics()["prequential"] == other.read_metrics()["prequential"]
    mine, theirs = (checkpoints.newest(run.checkpoints)[0].arrays for run in (one, other))
    for name, value in mine.items():
        np.testing.assert_array_equal(value, theirs[name], err_msg=name)


def test_the_other_commands_accept_the_run(place, whole, capsys):
    found = whole.read_metrics()["prequential"]
    assert (found["examples"], found["rejected"], found["lines"]) == (1200, 5, 1205)
    assert found["held_out"] == 120 and found["learnt"] == 1080
    (drift,) = found["drifts"]
    assert 600 < drift["example"] < 800
    assert found["windowed"] > drift["accuracy_after"]
    rows = whole.prequential_file.read_text().splitlines()
    assert rows[0] == "examples,accuracy,windowed,held_out,learning_rate,drifts,rollbacks,line"
    assert rows[-1].startswith(f"1200,{found['accuracy']:.6g},") and rows[-1].endswith(",1205") and len(rows) == 7
    rejected = [json.loads(text) for text in whole.rejected_file.read_text().splitlines()]
    assert [row["line"] for row in rejected] == [4, 401, 402, 1101, 1205]
    assert rejected[0]["content"] == '{"x": [[1, 2]], "y": 0}'
    assert "Prequential accuracy" in whole.report_file.read_text()
    assert whole.prequential_picture.is_file()
    config = whole.read_config()
    assert config["begun_with"]["model_sha256"] == RunFolder(place / "run").read_metrics()["model_sha256"]
    assert config["config"].learning_rate == 0.001
    assert evaluate.main([str(whole.path), "--json"]) == 0
    assert predict.main([str(whole.path), str(place / "set.npz")]) == 0
    assert compress.main([str(whole.path), "--recipe", "float32"]) == 0


def learner_of(place, **settings):
    run = RunFolder(place / "run")
    config = run.read_config()["config"]
    changes = {"schedule": "constant", "warmup": 0.0, "learning_rate": settings["learning_rate"], "deterministic": True}
    config = dataclasses.replace(config, **changes)
    data = load(config)
    return Learner(run.load_model(), config, data.spec, data.train, Settings(**settings))


def test_predictions_are_those_of_an_independent_loop_that_tests_then_trains(place):
    x, y = pictures(400, seed=2)
    x = np.rot90(x, axes=(1, 2))[..., None]  # rotated, so that learning changes the predictions
    learner = learner_of(place, learning_rate=0.01, rehearsal=0, hold_out=0)
    other = RunFolder(place / "run").load_model()
    for layer in (*with_itself(learner.model), *with_itself(other)):
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    decay = keras.optimizers.AdamW(0.01, weight_decay=1e-4, global_clipnorm=1.0)
    decay.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    other.compile(decay, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    right = []
    for start in range(0, 400, 32):
        part = slice(start, start + 32)
        pixels = x[part] / np.float32(255)
        right += (np.asarray(other(pixels)).argmax(-1) == y[part]).tolist()
        if start < 384:
            other.train_on_batch(pixels, y[part])
        learner.step(Split(x[part], y[part]))
    assert learner.prequential.accuracy == np.mean(right)
    assert 0.3 < np.mean(right) < 0.97
    assert learner.examples == learner.learnt == 400


def test_held_out_examples_are_predicted_and_never_learnt(place):
    learner = learner_of(place, learning_rate=0.01, rehearsal=1000, hold_out=0.25)
    x, y = pictures(64, seed=3)
    for start in (0, 32):
        learner.step(Split(x[start : start + 32, ..., None], y[start : start + 32]))
    assert learner.examples == 64 and learner.held_out == 16 and learner.learnt == 48
    assert learner.held.numbers.tolist() == list(range(4, 65, 4))
    assert set(learner.reservoir.numbers) == {0, *range(1, 65)} - set(range(4, 65, 4))


def test_what_spoils_the_weights_is_taken_back(place, capsys):
    with numerics(dataclasses.replace(RunFolder(place / "run").read_config()["config"], deterministic=True)):
        learner = learner_of(place, learning_rate=0.001, rehearsal=50, hold_out=0.5)
        x, y = pictures(800, seed=4)
        x = x[..., None]
        parts = [Split(x[i : i + 32], y[i : i + 32]) for i in range(0, 800, 32)]
        for part in parts[:12]:
            learner.step(part)
        learner.validate()
        assert learner.validated >= 0.95 and learner.best_example == 384
        best = learner.model.get_weights()
        learner.settings = dataclasses.replace(learner.settings, learning_rate=20.0)
        for part in parts[12:]:
            learner.step(part)
            learner.validate()
            if learner.rollbacks:
                break
    assert not learner.changes
    assert learner.rollbacks[0]["to"] == 384
    for mine, theirs in zip(learner.model.get_weights(), best, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert "rollback to the weights of example 384" in capsys.readouterr().err
    learner.model.trainable_variables[0].assign(np.nan * best[0])
    learner.validate()
    assert learner.rollbacks[-1]["why"] == "a weight is not finite"
    np.testing.assert_array_equal(learner.model.get_weights()[0], best[0])


def test_after_a_drift_the_rate_is_raised_and_what_is_older_dropped_where_it_is_to_be(place):
    x, y = pictures(900, seed=5)
    for what in ("keep", "drop"):
        learner = learner_of(place, learning_rate=0.001, rehearsal=50, on_drift=what, boost=5)
        for start in range(0, 900, 30):
            turned = np.rot90(x[start : start + 30], axes=(1, 2)) if start >= 450 else x[start : start + 30]
            learner.step(Split(turned[..., None], y[start : start + 30]))
        (drift,) = [c for c in learner.changes if c["accuracy_after"] < c["accuracy_before"]]
        first = drift["example"] - drift["window"] + 1
        left = 1 - (900 - drift["example"]) / BOOSTED
        assert 0.5 < left < 1 and learner.rate == pytest.approx(0.001 * 5**left)
        assert (learner.held.numbers >= first).all()
        assert (learner.reservoir.numbers >= first).all() == (what == "drop")
        learner.boosted_until = 900
        assert learner.rate == 0.001


def test_ended_anywhere_it_goes_on_with_nothing_lost_or_twice(place, whole, monkeypatch):
    """Stop by a signal, which leaves a checkpoint, or by SIGKILL, as if power had failed."""
    step = online_run.Session._step
    steps = random.Random(0)

    def cut(session, batch):
        if steps.random() < 0.12:
            if steps.random() < 0.5:
                raise MemoryError("gone")
            session.signal = signal.SIGTERM
        step(session, batch)

    monkeypatch.setattr(online_run.Session, "_step", cut)
    words = [str(place / "run"), "--stream", str(place / "stream.jsonl"), "--output", str(place / "cut")]
    statuses = [online.main([*words, *WORDS])]
    while statuses[-1] and len(statuses) < 30:
        statuses.append(online.main([*words, "--resume"]))
    assert statuses[-1] == 0 and {1, 130} <= set(statuses)
    the_same(whole, RunFolder(place / "cut"))


def test_what_changed_before_going_on_is_refused(place, whole, capsys, tmp_path):
    def said(change):
        shutil.rmtree(tmp_path / "copy", ignore_errors=True)
        shutil.copytree(whole.path, tmp_path / "copy")
        change(RunFolder(tmp_path / "copy"))
        capsys.readouterr()
        words = [str(place / "run"), "--stream", str(place / "stream.jsonl"), "--output", str(tmp_path / "copy")]
        assert online.main([*words, "--resume"]) == 2
        (line,) = [text for text in capsys.readouterr().err.splitlines() if text.startswith("zoo.online: ")]
        return line

    def less_rehearsal(run):
        stored = unsealed(run.path, "config.json")
        stored["begun_with"]["online"]["rehearsal"] = 40
        run.config_file.write_text(json.dumps(stored))

    def no_settings(run):
        stored = unsealed(run.path, "config.json")
        stored["begun_with"]["online"] = [1]
        run.config_file.write_text(json.dumps(stored))

    def other_rows(run):
        run.prequential_file.write_bytes(run.prequential_file.read_bytes().replace(b",0.", b",1.", 1))

    def checkpoint_of_a_training(run):
        shutil.rmtree(run.checkpoints)
        shutil.copytree(place / "run" / "checkpoints", run.checkpoints)

    assert "--rehearsal was 50, now 40" in said(less_rehearsal)
    assert "config.json is damaged: expected settings of zoo.online" in said(no_settings)
    assert "prequential.csv was truncated or altered" in said(other_rows)
    assert "prequential.csv was truncated or altered" in said(lambda run: run.prequential_file.unlink())
    assert "belongs to another run" in said(checkpoint_of_a_training)


@pytest.mark.slow
def test_a_file_that_grew_is_gone_on_with(place, capsys):
    content = (place / "stream.jsonl").read_bytes()
    cut = content.index(b"\n", len(content) // 3) + 20
    grown = place / "grown.jsonl"
    grown.write_bytes(content[:cut])
    first = learnt(place, "grown", stream="grown.jsonl")
    assert "is incomplete" in capsys.readouterr().err
    before = first.read_metrics()["prequential"]
    assert before["examples"] + before["rejected"] == before["lines"] == content[:cut].count(b"\n")
    rows = first.prequential_file.read_text()
    learnt(place, "grown", "--resume", stream="grown.jsonl")
    assert first.prequential_file.read_text() == rows and first.read_metrics()["prequential"] == before
    grown.write_bytes(content)
    found = learnt(place, "grown", "--resume", stream="grown.jsonl").read_metrics()["prequential"]
    assert (found["examples"], found["rejected"], found["lines"]) == (1200, 5, 1205)
    grown.write_bytes(content[: cut // 2])
    learnt(place, "grown", "--resume", stream="grown.jsonl", status=2)
    assert "is shorter or begins differently" in capsys.readouterr().err


def test_standard_input_is_learnt_from_as_the_file_is_and_gone_on_with(place, whole, monkeypatch):
    words = [str(place / "run"), "--stream", "-", "--output", str(place / "piped")]
    content = (place / "stream.jsonl").read_bytes()
    half = place / "half.jsonl"
    half.write_bytes(content)
    step = online_run.Session._step

    def cut(session, batch):
        if session.learner.examples > 500:
            raise MemoryError("gone")
        step(session, batch)

    for more, status in ((WORDS, 1), (("--resume",), 0)):
        with monkeypatch.context() as patch, half.open("rb") as given:
            patch.setattr("sys.stdin", given)
            if status:
                patch.setattr(online_run.Session, "_step", cut)
            assert online.main([*words, *more]) == status
    the_same(whole, RunFolder(place / "piped"))


def start(place, output, *words):
    """Start the command in a separate process."""
    command = [sys.executable, "-m", "zoo.online", place / "run", "--stream", place / "stream.jsonl"]
    command += ["--output", place / output, *words]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen([*map(str, command)], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(child):
    _, err = child.communicate(timeout=600)
    assert child.returncode == 0, err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_killed_and_gone_on_with_it_ends_with_the_bits_of_one_that_was_not(place, whole):
    child = start(place, "killed", *WORDS)
    wait_for_step(place / "killed", 400, child)
    child.kill()
    child.communicate()
    assert not RunFolder(place / "killed").finished
    learnt(place, "killed", "--resume")
    the_same(whole, RunFolder(place / "killed"))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_at_ten_moments_it_loses_nothing(place):
    fine = ("--checkpoint-every", "50", *WORDS[2:])
    ended(start(place, "alone-10", *fine))
    moments = random.Random(1)
    for step in sorted(moments.sample(range(1, 23), 10)):
        begun = RunFolder(place / "killed-10").started
        child = start(place, "killed-10", *(("--resume",) if begun else fine))
        wait_for_step(place / "killed-10", 50 * step, child)
        time.sleep(moments.uniform(0, 0.05))
        child.kill()
        child.communicate()
    ended(start(place, "killed-10", "--resume"))
    the_same(RunFolder(place / "alone-10"), RunFolder(place / "killed-10"))


def test_a_followed_file_ends_by_a_signal_and_is_a_finished_run(place):
    stream = place / "followed.jsonl"
    shutil.copy(place / "stream.jsonl", stream)
    folder = place / "followed" / "checkpoints"

    def reached(step):
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline:
            if any(int(path.name.split("-")[1]) >= step for path in checkpoints.listed(folder)):
                return True
            time.sleep(0.01)
        return False

    def grow():
        if reached(1000):
            with stream.open("ab") as file:
                file.write(line(*(part[0] for part in pictures(1, seed=9))) * 248)
        if reached(1400):
            os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=grow)
    thread.start()
    found = learnt(place, "followed", "--follow", "--idle", "250", stream="followed.jsonl").read_metrics()
    thread.join()
    assert 1400 <= found["prequential"]["examples"] <= 1448


@pytest.mark.slow
def test_a_tfds_split_is_a_stream(place, data_dir, tmp_path):
    words = f"--model simplenet --dataset mnist --data-dir {data_dir} --epochs 1 --batch-size 2000 --set units=4"
    assert train.main([*words.split(), "--output", str(tmp_path / "run")]) == 0
    given = f"{tmp_path}/run --stream tfds:mnist/test --output {tmp_path}/out --batch-size 500 --checkpoint-every 5000"
    assert online.main(given.split()) == 0
    found = RunFolder(tmp_path / "out").read_metrics()
    assert found["prequential"]["examples"] == found["prequential"]["lines"] == 10_000
    assert found["prequential"]["windowed"] > found["prequential"]["test_accuracy_before"]


MISTAKES = {
    "{place}/run": "--stream: expected a file, - or tfds:NAME/SPLIT, received none",
    "{place}/run --stream absent": "--stream absent: expected a file, found none",
    "{place}/run --stream {place}": "--stream .*: expected a file, found a folder",
    "{place}/run --stream tfds:mnist": "--stream tfds:mnist: expected tfds:NAME/train",
    "{place}/run --stream tfds:minst/train": "unknown dataset 'minst': .* did you mean 'mnist'",
    "{place}/run --stream - --follow": "--follow: expected with a file, received --stream -",
    "{place}/run --stream {place}/stream.jsonl --idle 3s": "--idle: expected with --follow or --stream -",
    "{place}/run --stream - --idle soon": "--idle: expected a time such as 90s, 30m or 2h, received 'soon'",
    "{place}/run --stream - --hold-out 0.9": "--hold-out: expected a value from 0 to 0.5, received 0.9",
    "{place}/run --stream - --batch-size 0": "--batch-size: expected a value from 1",
    "{place}/run --stream - --on-drift forget": "--on-drift: expected one of keep, drop, received 'forget'",
    "{place} --stream -": "expected the folder of a run, found no config.json in it",
    "{place}/translates --stream -": "expected a classification run, this one is for translation",
    "{place}/steps --stream -": "expected a run with one label per example, this one has one per time step",
    "{place}/run --stream - --output {place}/run": "--output .*: expected a new or empty folder, this one holds a run",
    "{place}/run --stream - --output {place}/run --resume":
        "expected a run of zoo.online, found one of another command",
    "{place}/run --stream - --output {place}/none --resume": "expected the folder of a run, found no such folder",
    "{place}/run --stream - --output {place}/whole --resume --seed 3":
        "was started with a different configuration: --seed was 0, now 3",
    "{place}/whole --stream - --output {place}/whole --resume": "was started from .*, not from the model of",
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_answered_in_one_sentence_before_keras(mistake, place, whole, capsys, monkeypatch):
    import re

    def imported():
        raise AssertionError("the backend was started")

    monkeypatch.setattr("strategies.backend.start", imported)
    assert online.main(mistake.format(place=place).split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and len(err.splitlines()) == 1
    assert re.search(MISTAKES[mistake], err), err


def test_a_training_does_not_go_on_with_it(whole, capsys):
    assert train.main(["--resume", "--output", str(whole.path)]) == 2
    assert "is a run of zoo.online; continue it with zoo.online --resume" in capsys.readouterr().err


def test_without_an_example_there_is_nothing_to_learn(place, capsys):
    (place / "bad.jsonl").write_text("{oops\n" * 8)
    learnt(place, "bad", stream="bad.jsonl", status=2)
    err = capsys.readouterr().err
    assert err.count("is rejected") == 5 and "further rejected lines are only counted" in err
    assert "expected an example, found none; 8 lines were rejected" in err


def test_an_interruption_says_how_to_go_on(place, monkeypatch, capsys):
    def interrupted(*args, **more):
        raise Interrupted("interrupted after line 3, 3 examples")

    monkeypatch.setattr(online_run.Session, "learn", interrupted)
    learnt(place, "left", status=130)
    assert "continue with: python -m zoo.online" in capsys.readouterr().err
