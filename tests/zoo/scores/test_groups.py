"""Accuracy by group: reading and checking group labels, and comparing groups."""

import json

import numpy as np
import pytest

from tests.conftest import blobs
from zoo import evaluate, train
from zoo.console.errors import UsageError
from zoo.runs.folder import RunFolder
from zoo.runs.inference import load_like, logits_of
from zoo.scores import groups, intervals

MISTAKES = {
    "": "expected a header and a row for each example, received 0 rows",
    "sex\n": "expected a header and a row for each example, received 0 rows",
    "0,1\n1,0\n": "expected a header that names each column once, received '0', '1'",
    "sex,sex\nf,m\n": "expected a header that names each column once, received 'sex', 'sex'",
    "sex,\nf,m\n": "expected a header that names each column once, received 'sex', ''",
    "sex,age\nf,old\nm\n": "expected 2 values in row 2, received 1",
    "sex,id\nf,1\nm,2\nf,3\n": "column 'id': expected groups of several examples, .* in each of 3 rows, like an id",
}


SPEC = {"name": "digits", "kind": "image", "input_shape": [8, 8, 1], "class_names": ["a", "b"]}
METRICS = {"test": {"examples": 10}, "epoch": 1, "epochs": 1, "seconds": 1.0, "parameters": 5, "model_sha256": "0" * 64}


@pytest.mark.parametrize("content", MISTAKES)
def test_a_table_that_says_no_groups_is_refused(content, tmp_path):
    (tmp_path / "g.csv").write_text(content)
    with pytest.raises(UsageError, match=f"--groups .*g.csv: {MISTAKES[content]}"):
        groups.read(tmp_path / "g.csv")


def test_what_is_no_table_is_refused(tmp_path):
    with pytest.raises(UsageError, match="expected a .csv file, found none"):
        groups.read(tmp_path / "absent.csv")
    (tmp_path / "g.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="expected a .csv file in UTF-8"):
        groups.read(tmp_path / "g.csv")


def test_rows_are_counted_and_a_missing_header_is_guessed(tmp_path):
    with pytest.raises(
        UsageError, match="each of the 3 examples of the test split, in the same order, received 2; the first"
    ):
        groups.check_rows(tmp_path, {"sex": ["f", "m"]}, 3, "test")
    with pytest.raises(UsageError, match="received 5$"):
        groups.check_rows(tmp_path, {"sex": ["f"] * 5}, 3, "test")


def test_groups_are_measured_and_small_ones_are_not_compared(tmp_path):
    values = ["a"] * 20 + ["b"] * 10 + [""] * 9
    right = [True] * 15 + [False] * 5 + [True] * 9 + [False] + [False] * 9
    rows = groups.measured({"place": values}, right)
    found = {row["group"]: row for row in rows}
    assert [found[name]["accuracy"] for name in ("a", "b", "")] == [0.75, 0.9, 0.0]
    assert [found[name]["examples"] for name in ("a", "b", "")] == [20, 10, 9]
    assert [found["a"]["lowest"], found["a"]["highest"]] == intervals.of_share(15, 20)
    (gap,) = groups.gaps(rows)
    assert gap["worst"] == "a" and gap["gap"] == pytest.approx(0.15)  # the group of 9 examples is not compared
    assert groups.sentences([gap]) == ["place: worst a, 15.00 points below the best"]
    groups.write(tmp_path / "groups.csv", "blobs", "test", rows)
    assert groups.read_measured(tmp_path / "groups.csv") == [{"data": "blobs", "split": "test", **row} for row in rows]


def test_one_group_has_nothing_to_be_compared_with():
    (gap,) = groups.gaps(groups.measured({"x": ["a"] * 12 + ["b"] * 3}, [True] * 15))
    assert gap == {"attribute": "x", "worst": None, "gap": None}
    assert "nothing to compare" in groups.sentences([gap])[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return the folder of a barely trained run with 30 test examples."""
    place = tmp_path_factory.mktemp("groups")
    x, y = blobs(150, (8, 8))
    np.savez(place / "blobs.npz", x=(x * 255).astype("uint8"), y=np.where(np.arange(150) % 4 == 0, (y + 1) % 3, y))
    words = f"--model simplenet --data {place}/blobs.npz --epochs 2 --batch-size 16 --output {place}/run"
    assert train.main(words.split()) == 0
    return RunFolder(place / "run")


def test_evaluate_says_how_accurate_a_run_is_on_each_group(folder, tmp_path, capsys):
    data = load_like(folder, folder.read_config()["config"])
    right = logits_of(folder.load_model(), data.test).argmax(-1) == data.test.y
    half = np.arange(len(right)) % 2
    (tmp_path / "g.csv").write_text("half\n" + "".join(f"{'odd' if i else 'even'}\n" for i in half))
    capsys.readouterr()
    assert evaluate.main([str(folder.path), "--groups", str(tmp_path / "g.csv"), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert {row["group"]: row["accuracy"] for row in result["groups"]} == {
        "even": right[half == 0].mean(),
        "odd": right[half == 1].mean(),
    }
    assert result["gaps"][0]["gap"] == pytest.approx(abs(right[half == 0].mean() - right[half == 1].mean()))
    assert [row["group"] for row in groups.read_measured(folder.groups_file)] == ["even", "odd"]
    assert evaluate.main([str(folder.path), "--groups", str(tmp_path / "g.csv")]) == 0
    out = capsys.readouterr().out
    assert "half: worst" in out and "95 % intervals" in out
    (tmp_path / "g.csv").write_text("half\n" + "even\n" * (len(right) - 1))
    assert evaluate.main([str(folder.path), "--groups", str(tmp_path / "g.csv")]) == 2
    assert f"expected a row for each of the {len(right)} examples of the test split" in capsys.readouterr().err


def test_metrics_hold_intervals_and_classes_and_evaluate_finds_the_same(folder, capsys):
    metrics = folder.read_metrics()
    examples = metrics["test"]["examples"]
    assert metrics["intervals"]["accuracy"] == intervals.of_share(
        round(metrics["test"]["accuracy"] * examples), examples
    )
    assert sum(row["examples"] for row in metrics["per_class"]) == examples
    assert np.mean([row["f1"] for row in metrics["per_class"]]) == pytest.approx(metrics["test"]["f1"])
    assert metrics["split_examples"]["test"] == examples
    assert evaluate.main([str(folder.path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["intervals"] == metrics["intervals"] and result["per_class"] == metrics["per_class"]
    low, high = metrics["intervals"]["accuracy"]
    assert f"95 %: {100 * low:.2f} to {100 * high:.2f}" in folder.report_file.read_text()


def test_a_run_without_a_class_an_example_has_no_groups(tmp_path, capsys):
    from zoo.config.train_config import TrainConfig
    from zoo.system.files import write_json

    run = RunFolder(tmp_path / "run")
    for spec, what in (({"task": "translation", "per_step": False}, "translation"), ({"per_step": True}, "each step")):
        run.write_config(TrainConfig().resolved(), SPEC | spec, [])
        write_json(run.metrics_file, METRICS)
        assert evaluate.main([str(run.path), "--groups", "absent.csv"]) == 2
        assert what in capsys.readouterr().err
