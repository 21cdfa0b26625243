"""The benchmark harness: alternating sides, comparison of reports, and refused arguments."""

import json
import subprocess
import sys
import types

import pytest

from benchmarks import __main__ as benchmarks
from benchmarks import ceiling, comparison, cost, rounds, time_to_accuracy
from zoo.console.errors import UsageError
from zoo.models import CNN


def test_sides_take_turns_and_what_was_slow_once_is_not_counted():
    found = rounds.in_turn("tests.benchmarks.child", {"a": ("a", "10"), "b": ("b", "20")}, rounds=3)
    assert found == {"a": {"parameters": 7, "rounds": [11, 12, 13]}, "b": {"parameters": 7, "rounds": [21, 22, 23]}}


def test_a_side_that_fails_ends_the_benchmark():
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        rounds.in_turn("tests.benchmarks.child", {"a": ("a", "0"), "mute": ("mute", "0")}, rounds=1)


def test_ratios_are_of_each_round():
    assert rounds.ratio([2, 6, 20], [1, 2, 5]) == (3, 2, 4)
    assert rounds.spread([8, 10, 11]) == pytest.approx(0.1)
    assert rounds.spread([5, 5, 5]) == 0


def test_what_grows_with_a_power_has_its_exponent():
    assert cost.exponent((1, 2, 4), [3, 12, 48]) == pytest.approx(2)
    assert cost.exponent((32, 128), [5.0, 5.0]) == pytest.approx(0)


def test_operations_of_a_convolution_are_those_of_its_loops():
    model = CNN(filters=ceiling.FILTERS)
    model.build((None, ceiling.SIDE, ceiling.SIDE, 1))
    positions, taps, channels = 24 * 24, 3 * 3, 32  # of 26 x 26 pixels
    assert ceiling.convolution_flops(model) == {
        "conv_1": 2 * 128 * positions * taps * channels,
        "conv_2": 2 * 128 * 10 * 10 * 9 * 32 * 64,
        "conv_3": 2 * 128 * 3 * 3 * 9 * 64 * 64,
    }


def test_a_stopwatch_stands_still_while_it_evaluates(monkeypatch):
    now, found = iter(range(100)), iter([0.98, 0.986, 0.991])
    monkeypatch.setattr(time_to_accuracy.time, "perf_counter", lambda: next(now))
    watch = time_to_accuracy.Stopwatch(lambda: next(found), time_to_accuracy.EVALUATE_EVERY_IMAGES, 0.99)
    assert [watch.step(steps) for steps in (1, 2, 3)] == [False, False, True]
    # Each reading of the clock advances it by a second. Seconds before an evaluation count, those during it do not.
    assert watch.reached["0.985"]["seconds"] == 2 and watch.reached["0.99"]["seconds"] == 3
    assert watch.reached["0.99"]["images"] == 3 * time_to_accuracy.EVALUATE_EVERY_IMAGES


def measured(**values):
    """Return a result with rounds around the given values; lower is better for names that end in ms."""
    return {
        "measured": [
            {
                "name": name,
                "better": "lower" if name.endswith("ms") else "higher",
                "rounds": [0.99 * value, value, 1.01 * value],
            }
            for name, value in values.items()
        ]
    }


def test_what_is_beyond_the_noise_is_slower_or_faster():
    found = comparison.compared(
        measured(kept=104.0, fell=90.0, fell_ms=110.0, rose_ms=80.0, new=1.0),
        measured(kept=100.0, fell=100.0, fell_ms=100.0, rose_ms=100.0, gone=1.0),
    )
    verdicts = {row["name"]: row["verdict"] for row in found}
    assert verdicts == {"kept": "the same", "fell": "slower", "fell_ms": "slower", "rose_ms": "faster"}
    # Four median deviations of 1 % each, for both sides.
    assert all(row["noise"] == pytest.approx(0.04 * 2**0.5) for row in found)
    times = {row["name"]: row["times"] for row in found}
    assert times == pytest.approx({"kept": 1.04, "fell": 0.9, "fell_ms": 1 / 1.1, "rose_ms": 1.25})
    lines = comparison.table(found, measured(kept=1.0))
    assert lines[2].startswith("| fell | 0.90 | 6% | slower |") and "commit unknown" in lines[-1]


@pytest.fixture
def toy(monkeypatch):
    """Return an instant benchmark registered under the name of another."""
    module = types.ModuleType("toy", doc="What it does.")
    module.ROUNDS = 3
    module.measure = lambda data_dir, quick=False: measured(speed=50.0 if quick else 100.0)
    module.render = lambda result: f"{len(result['measured'])} rows"
    monkeypatch.setitem(sys.modules, "benchmarks.startup", module)
    return module


def test_a_report_says_where_it_was_measured_and_is_compared_with_an_earlier_one(toy, tmp_path, capsys):
    assert benchmarks.main(["startup", "--results", str(tmp_path)]) == 0
    (path,) = tmp_path.glob("*-startup.json")
    result = json.loads(path.read_text())
    at = result["circumstances"]
    assert at["command"] == "python -m benchmarks startup" and at["machine"]["cores"] >= 1
    assert f"at commit {at['commit']} with `{at['command']}`" in path.with_suffix(".md").read_text()
    assert not {"torch"} & at["versions"].keys()

    capsys.readouterr()
    assert benchmarks.main(["startup", "--quick", "--against", str(path)]) == 0
    out = capsys.readouterr().out
    assert "| speed | 0.50 | 6% | slower |" in out and f"commit {at['commit']}" in out
    assert {p.name for p in tmp_path.iterdir()} == {path.name, path.with_suffix(".md").name}  # --quick writes no report


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("trougput", "unknown benchmark 'trougput'"),
        ("tutorial --quick", "--quick: tutorial has no quick form"),
        ("--against x.json", "--against: expected the name of one benchmark, received"),
        ("startup --against absent.json", "--against absent.json: expected the JSON of a report"),
        ("startup --against {other}", "expected the report of a benchmark with rounds, this one has none"),
        ("tutorial --against {good}", "--against: tutorial has no rounds to compare"),
    ],
)
def test_mistakes_are_one_sentence(words, message, toy, tmp_path, capsys):
    (tmp_path / "other.json").write_text("{}")
    (tmp_path / "good.json").write_text(json.dumps(measured(a=1.0)))
    words = words.format(**{name: tmp_path / f"{name}.json" for name in ("other", "good")})
    with pytest.raises(SystemExit) as ended:
        benchmarks.main(words.split())
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_report_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(UsageError, match="expected the JSON of a report"):
        comparison.read(tmp_path / "broken.json")
