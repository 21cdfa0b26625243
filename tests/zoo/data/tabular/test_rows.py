"""Rows of a table as examples: groups, splits, and tables that are read like the training table."""

import numpy as np
import pytest

from zoo.config import catalogue
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.load import load

ROWS = 120


@pytest.fixture
def save(tmp_path):
    """A function that writes a table from its columns and returns its path."""

    def save(columns, name="t.csv", delimiter=","):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join(delimiter.join(map(str, row)) for row in [columns, *rows]) + "\n")
        return path

    return save


def columns(count=ROWS):
    """Return a table of numbers a and y."""
    a = np.random.default_rng(0).random(count).round(3)
    return {"a": a, "y": (3 * a).round(3)}


def asked(path, **options):
    given = {"model": "tabular", "data": path, "target_column": ("y",)} | options
    return TrainConfig(**given).resolved()


def refusal(path, **options):
    with pytest.raises(UsageError) as error:
        load(asked(path, **options))
    return str(error.value)


def notes(data):
    return "; ".join(data.reading.notes)


@pytest.mark.parametrize("options", [{}, {"memory": 1000}, {"task": "classification", "target_column": ("kind",)}])
def test_groups_of_rows_stay_in_one_split_and_are_no_input(options, save):
    path = save(columns() | {"who": [f"p{i // 6}" for i in range(ROWS)], "kind": [i % 3 for i in range(ROWS)]})
    data = load(asked(path, group_column="who", columns=None, **options))
    assert data.spec.task == options.get("task", "regression")
    assert "who" not in {each["name"] for each in data.spec.inputs}
    people = {split: set(getattr(data, split).groups.tolist()) for split in ("train", "validation", "test")}
    assert sum(map(len, people.values())) == 20 and all(people.values())  # nobody is in two splits


def test_groups_of_numbers_of_texts_stay_in_one_split(save):
    path = save({"text": [f"good film {i}" for i in range(60)], "y": range(60), "who": [i // 6 for i in range(60)]})
    data = load(asked(path, model="lstm", task="regression", group_column="who"))
    assert not set(data.train.groups) & set(data.test.groups)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"time_column": "a"}, "--time-column a: expected with a model of sequences, such as conv1d or lstm"),
        ({"window": 4}, "--window 4: expected with a model of sequences"),
        ({"model": "lstm", "target_column": None, "label_column": "y", "time_column": "a", "task": "classification"},
         "--time-column a: expected with --window, or with --task forecasting"),
        ({"group_column": "b"}, "--group-column b: expected a column of t.csv, received 'b'"),
        ({"group_column": "a", "columns": ("a",)}, "received 'a', which is to be predicted or tells groups apart"),
    ],
)  # fmt: skip
def test_options_that_rows_do_not_follow_are_refused(options, sentence, save):
    with pytest.raises(UsageError, match=sentence):
        config = asked(save(columns()), **options)
        catalogue.check_source(config)
        load(config)


def test_groups_of_arrays_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.random.rand(40, 3), y=np.arange(40))
    with pytest.raises(UsageError, match="--group-column who: expected with a table, received a.npz"):
        catalogue.check_source(
            TrainConfig(model="simplenet", task="regression", data=tmp_path / "a.npz", group_column="who")
        )


def test_targets_that_float32_does_not_tell_apart_are_refused(save):
    path = save(columns() | {"y": 1_700_000_000 + np.arange(ROWS)})
    assert (
        "column 'y': expected numbers that float32 tells apart, received 120 different ones from 1700000000 to 1700000119"
        in refusal(path)
    )
    load(asked(save(columns() | {"y": 1_700_000_000 + 1000 * np.arange(ROWS)})))  # 64 of 35,000 are lost


def test_inputs_that_float32_does_not_tell_apart_are_told(save):
    stamps = [f"2024-01-01 10:00:{i // 2:02d}" for i in range(ROWS)]
    data = load(asked(save(columns() | {"b": 1_700_000_000 + np.arange(ROWS) // 4, "when": stamps})))
    for name in ("b", "when"):
        assert f"column {name!r} has values that differ by too little for float32" in notes(data)
    assert "columns b, when have one value as float32" in notes(data)


@pytest.mark.parametrize("name", ["a", "y"])
def test_numbers_beyond_float32_are_refused(name, save):
    path = save(columns() | {name: [f"{i % 7}.5e39" for i in range(ROWS)]})
    assert f"{path}" in (said := refusal(path)) and "within float32" in said and repr(name) in said
