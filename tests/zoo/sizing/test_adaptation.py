import json
import sys

import numpy as np
import pytest

from tests.conftest import blobs
from zoo import train
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Failed, UsageError
from zoo.runs.folder import RunFolder
from zoo.sizing import adaptation, step_times


def timed(**rates):
    return [
        {"batch_size": int(size[1:]), "examples_per_second": rate, "milliseconds": 1.0} for size, rate in rates.items()
    ]


@pytest.mark.parametrize(("rates", "best", "fastest"), [
    ({"_16": 100.0, "_32": 200.0, "_64": 300.0}, 64, 64),
    ({"_16": 100.0, "_32": 200.0, "_64": 190.0, "_128": 189.9}, 64, 32),  # 95 % of 200 is enough, less is not
    ({"_16": 200.0, "_32": 100.0}, 16, 16),
])  # fmt: skip
def test_the_largest_batch_nearly_as_fast_as_the_fastest_is_chosen(rates, best, fastest):
    assert [one["batch_size"] for one in adaptation.chosen(timed(**rates))] == [best, fastest]


@pytest.mark.parametrize(("examples", "replicas", "expected"), [
    (1293, 1, [16, 32, 64, 128]), (1280, 2, [16, 32, 64, 128]), (1000, 3, [18, 36, 72]), (12, 1, [12]), (13, 2, [12]),
    (1000, 24, [24, 48, 96]),
])  # fmt: skip
def test_sizes_double_while_an_epoch_has_ten_steps(examples, replicas, expected):
    assert step_times.sizes(examples, replicas) == expected


def measured(monkeypatch, times, examples=16_384):
    """Return the messages of `measure` for invented step times in seconds, or errors, by batch size."""

    class Data:
        train = range(examples)

    def fake(config, data):
        if isinstance(found := times[config.batch_size], Exception):
            raise found
        return found, config.batch_size

    monkeypatch.setattr(step_times, "_timed", fake)
    said = []
    step_times.measure(TrainConfig().resolved(), Data, 1, lambda kind, **values: said.append((kind, *values.values())))
    return [(kind, values[0]) for kind, *values in said if kind != "trying"], said[-1]


def test_no_larger_batch_is_tried_once_two_in_a_row_are_slower_a_step_is_slow_or_one_does_not_fit(monkeypatch):
    slower = {16: 0.1, 32: 0.1, 64: 0.3, 128: 0.9, 256: 0.1}  # 320, 213 and 142 examples/s
    assert measured(monkeypatch, slower)[0] == [("timed", 16), ("timed", 32), ("timed", 64), ("timed", 128)]
    one_dip = {16: 0.1, 32: 0.3, 64: 0.1, 128: 0.1, 256: 0.1, 512: 6.0}
    said, last = measured(monkeypatch, one_dip)
    assert said[-1] == last[:2] == ("timed", 512)  # a step of six seconds
    said, last = measured(monkeypatch, {16: 0.1, 32: MemoryError()})
    assert last == ("ended", 32, "does not fit in memory")
    said, last = measured(monkeypatch, {16: 0.1, 32: UsageError("--batch-size 32: too much")})
    assert last == ("ended", 32, "--batch-size 32: too much")
    with pytest.raises(UsageError, match="no data"):
        measured(monkeypatch, {16: UsageError("no data")})


def answered(monkeypatch, *lines, end="pass", **changes):
    """Return the result of `adapted` for the given answers of a child process."""
    body = (
        f"import json, os, sys\njson.load(sys.stdin)\nfor line in {lines!r}: print(json.dumps(line), flush=True)\n{end}"
    )
    monkeypatch.setattr(adaptation.processes, "command", lambda module: [sys.executable, "-c", body])
    plain, wanted = adaptation.separate({"model": "cnn", "auto_batch": True} | changes)
    return adaptation.adapted(adaptation.resolved(plain, wanted), wanted)


def trying(size, rate=None):
    kinds = [{"kind": "trying", "batch_size": size}]
    more = {"kind": "timed", "batch_size": size, "examples_per_second": rate, "milliseconds": 1.0}
    return [*kinds, more] if rate else kinds


KILLED = "os.kill(os.getpid(), 9)"


def test_a_child_that_is_killed_says_that_the_size_does_not_fit(monkeypatch, capsys):
    config, record = answered(monkeypatch, *trying(16, 10.0), *trying(32, 20.0), *trying(64), end=KILLED)
    assert config.batch_size == 32
    found = record["batch_size"]
    assert (found["option"], found["recipe"], found["ended"]["batch_size"]) == ("--auto-batch", 32, 64)
    assert [one["batch_size"] for one in found["tried"]] == [16, 32]
    err = capsys.readouterr().err
    assert "batch 64: does not fit: the process ended by SIGKILL" in err
    assert "--auto-batch: 32, the largest of 16 to 32 within 5 % of the fastest (32: 20 examples/s)" in err
    assert "The learning rate stays 0.002, tuned for the default batch of 32" in err
    with pytest.raises(
        Failed, match="--auto-batch: batch 16, the smallest: does not fit: the process ended by SIGKILL"
    ):
        answered(monkeypatch, *trying(16), end=KILLED)


def test_a_child_that_fails_otherwise_or_refuses_raises_an_error(monkeypatch):
    with pytest.raises(Failed, match="the process that builds the model ended with status 3: so it is"):
        answered(monkeypatch, end="print('so it is', file=sys.stderr); sys.exit(3)")
    with pytest.raises(UsageError, match="^no such data$"):
        answered(monkeypatch, {"kind": "refused", "text": "no such data"})


def test_a_default_batch_that_the_replicas_do_not_divide_is_replaced():
    plain, wanted = adaptation.separate({"strategy": "mirrored", "virtual_devices": 3, "auto_batch": True})
    assert adaptation.resolved(plain, wanted).batch_size == 18


@pytest.mark.slow
def test_a_run_keeps_the_sizes_chosen_at_its_start(image_npz, tmp_path, capsys):
    """Train with both options, repeat the run with the chosen sizes, and resume with matching and other options."""
    usual = ["--model", "simplenet", "--data", str(image_npz), "--epochs", "2"]
    folder, again = tmp_path / "run", tmp_path / "again"
    assert train.main([*usual, "--auto-batch", "--target-params", "5k", "--output", str(folder)]) == 0
    err = capsys.readouterr().err
    units = (5_000 - 3) // (400 + 1 + 3)  # 20x20 pixels, 3 classes
    reached = units * 404 + 3
    assert f"--target-params 5,000: {reached:,} with units {units} (" in err
    assert "batch 16: " in err and "--auto-batch: 16" in err
    stored = json.loads((folder / "config.json").read_text())
    assert stored["config"]["batch_size"] == 16 and stored["config"]["settings"] == {"units": [units]}
    found = stored["adapted"]["settings"]
    assert (found["option"], found["budget"], found["reached"]) == ("--target-params", 5_000, reached)
    assert found["widths"] == {"units": [units]} and found["scaled_from"] == {"units": [128]}
    assert stored["adapted"]["batch_size"]["tried"][0]["examples_per_second"] > 0
    metrics = RunFolder(folder).read_metrics()
    assert metrics["parameters"] == reached

    assert train.main([*usual, "--batch-size", "16", "--set", f"units={units}", "--output", str(again)]) == 0
    assert RunFolder(again).read_metrics()["test"] == metrics["test"]
    assert json.loads((again / "config.json").read_text())["adapted"] is None

    capsys.readouterr()
    resume = ["--resume", "--output", str(folder)]
    assert train.main([*resume, "--auto-batch", "--target-params", "5k"]) == 0
    assert "this run has finished" in capsys.readouterr().err
    for words, message in (
        ([*resume, "--target-params", "6k"], "--target-params was 5,000, now --target-params is 6,000"),
        ([*resume, "--target-flops", "5k"], "--target-params was 5,000, now --target-flops is 5,000"),
        (["--resume", "--output", str(again), "--auto-batch"], "--auto-batch was not given, now it is"),
        ([*resume, "--batch-size", "32"], "--batch-size was 16, now 32"),
    ):
        assert train.main(words) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_size_without_memory_ends_the_child_alone(tmp_path, monkeypatch):
    x, y = blobs(400, (20, 20))
    np.savez(tmp_path / "blobs.npz", x=(x * 255).astype("uint8"), y=y)
    monkeypatch.setattr(adaptation, "available_memory", lambda: 2**24)
    plain, wanted = adaptation.separate({"data": tmp_path / "blobs.npz", "auto_batch": True})
    with pytest.raises(Failed, match="--auto-batch: batch 16, the smallest: does not fit"):
        adaptation.adapted(adaptation.resolved(plain, wanted), wanted)
