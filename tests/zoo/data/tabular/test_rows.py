"""Rows of a table as examples: groups, splits, and tables that are read like the training table."""

import dataclasses
import datetime
import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from zoo.config import catalogue
from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data.load import load
from zoo.data.tabular import rows

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


def test_a_run_with_groups_is_measured_on_tables_without_them(save):
    config = asked(save(columns() | {"who": [f"p{i // 6}" for i in range(ROWS)]}), group_column="who")
    spec = load(config).spec
    other = load(dataclasses.replace(config, data=save(columns(), "other.csv")), like=spec)
    assert len(other.train) + len(other.validation) + len(other.test) == ROWS and other.train.groups is None


@pytest.mark.parametrize("memory", [None, 1000])
def test_a_run_recognises_its_rows_in_its_table(memory, save):
    """Whatever the order of its inputs, and with columns that gave no input."""
    kinds = {"kind": [f"k{i % 3}" for i in range(ROWS)], "same": [1] * ROWS, "said": [f"so {i}" for i in range(ROWS)]}
    config = asked(save(kinds | columns()), memory=memory)
    data = load(config)
    assert [each["name"] for each in data.spec.inputs][0] == "a"  # numbers come first, in the table they come last
    again = load(config, like=data.spec)
    for split in ("train", "validation", "test"):
        np.testing.assert_array_equal(again.split(split).marks, data.split(split).marks)
    other = load(dataclasses.replace(config, data=save(kinds | columns() | {"more": kinds["kind"]})), like=data.spec)
    assert len(other.train) + len(other.validation) + len(other.test) == ROWS
    without = {name: values for name, values in (kinds | columns()).items() if name != "same"}
    assert len(load(dataclasses.replace(config, data=save(without)), like=data.spec).train)


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
        "column 'y': expected numbers that float32 tells apart, received 120 different ones from 1700000000"
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


def dated(form, count=ROWS):
    """Return dates with all days of a month, written in a form such as %d/%m/%Y."""
    return [(datetime.date(2024, 1, 1) + datetime.timedelta(i)).strftime(form) for i in range(count)]


def of_run(save):
    """Return the data of a run whose columns are texts such as 1.0, and dates that begin with the day."""
    codes = [("1.0", "2.0", "B")[i % 3] for i in range(ROWS)]
    return load(asked(save(columns() | {"c": codes, "d": dated("%d/%m/%Y"), "zip": ["007", "90210"] * (ROWS // 2)})))


@pytest.mark.parametrize("memory", [None, 1000])
def test_tables_of_other_splits_are_read_like_that_of_the_training_rows(memory, save):
    given = columns() | {"c": [("1.0", "2.0", "B")[i % 3] for i in range(ROWS)], "d": dated("%d/%m/%Y")}
    save(given, "data/train.csv")
    test = {"a": ["0,5"] * 9, "y": ["0,125"] * 9, "c": ["1.0"] * 9, "d": ["03/04/2024"] * 9}
    path = save(test, "data/test.csv", ";").parent
    data = load(asked(path, memory=memory))
    day = (np.datetime64("2024-04-03") - np.datetime64("2000-01-01")).astype(int)
    assert data.test.x[:].tolist() == [[0.5, day, 1]] * 9 and data.test.y.tolist() == [[0.125]] * 9
    assert not data.reading.changed  # nothing is unknown


def test_another_order_of_day_and_month_is_told_with_the_file(save):
    save(columns() | {"d": dated("%d/%m/%Y")}, "data/train.csv")
    path = save(columns() | {"d": dated("%m/%d/%Y")}, "data/test.csv").parent
    told = notes(load(asked(path)))
    assert "column 'd' is read as day/month/year" in told
    assert "column 'd' of test.csv is read as month/day/year" in told


def test_rows_for_a_run_are_read_like_its_training_table(save, capsys):
    spec = of_run(save).spec
    row = {"a": 0.5, "c": "1.0", "d": "03/04/2024", "zip": "90210"}
    _, x = rows.given([str(save({name: [value] for name, value in row.items()}, "one.csv"))], spec.inputs)
    _, y = rows.given([f"{name}={value}" for name, value in row.items()], spec.inputs)
    np.testing.assert_array_equal(x, y)
    assert capsys.readouterr().err == ""  # 1.0 and 90210 are known
    path = save({name: ["" if name == "d" else value] * 2 for name, value in row.items()}, "empty.csv")
    rows.given([str(path)], spec.inputs)
    assert "2 missing values of 'd', which training rows never had" in capsys.readouterr().err


def test_classes_that_are_texts_stay_texts_in_other_tables(save):
    path = save(columns() | {"c": [("1.0", "2.0", "B")[i % 3] for i in range(ROWS)]}, "data/train.csv").parent
    save(columns(2) | {"c": ["1.0", "2.0"]}, "data/test.csv")
    config = asked(path, task="classification", target_column=("c",))
    data = load(config)
    assert data.test.y.tolist() == load(config, like=data.spec).test.y.tolist() == [0, 1]


@pytest.mark.parametrize("memory", [None, 1000])
def test_points_of_thousands_are_told_whether_a_table_fits_or_not(memory, save):
    given = {
        "a": [f"{value:.2f}".replace(".", ",") for value in columns()["a"]],
        "pop": ["12.500", "999"] * (ROWS // 2),
    }
    data = load(asked(save(given | {"y": range(ROWS)}, delimiter=";"), memory=memory))
    assert "column 'pop' has numbers such as '12.500', read with a decimal point" in notes(data)


@pytest.mark.parametrize("step", [1, -1])
def test_a_column_that_counts_the_rows_is_told_although_splits_are_drawn(step, save):
    data = load(asked(save({"id": range(500, 500 + step * ROWS, step)} | columns())))
    assert "column 'id' counts the rows; leave it out with --columns '!id'" in notes(data)


def test_columns_without_a_name_and_the_index_of_pandas_are_told_and_left_out(save, tmp_path):
    data = load(asked(save({"": range(ROWS)} | columns())))
    assert "column 1 of t.csv has no name and is not read" in notes(data)
    frame = pyarrow.table(columns() | {"__index_level_0__": np.random.default_rng(0).permutation(ROWS)})
    parquet.write_table(frame, tmp_path / "t.parquet")
    data = load(asked(tmp_path / "t.parquet"))
    assert [each["name"] for each in data.spec.inputs] == ["a"]
    assert "column '__index_level_0__' is the index of a pandas frame and is not read" in notes(data)
    assert len(load(asked(tmp_path / "t.parquet", columns=("a", "__index*"))).spec.inputs) == 2


@pytest.mark.parametrize("memory", [None, 1000])
def test_keys_that_begin_late_are_columns(memory, tmp_path):
    lines = [{"a": i % 7, "y": i} | ({"b": i % 5, "c": 2 * i} if i > ROWS else {}) for i in range(2 * ROWS)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    data = load(asked(tmp_path / "t.jsonl", memory=memory))
    assert [each["name"] for each in data.spec.inputs] == ["a", "b", "c"]


PARTS = ["train", "Train", "val", "test", "train", "training"]


def test_tables_of_a_folder_with_usual_names_are_splits_and_others_are_told(save):
    for name in ("train", "dev", "holdout", "TEST_2024"):
        path = save(columns(), f"data/{name}.csv").parent
    data = load(asked(path))
    assert len(data.validation) == ROWS and len(data.test) == ROWS // 5
    assert "TEST_2024.csv, holdout.csv of data are no splits and are not read" in notes(data)


@pytest.mark.parametrize("options", [{}, {"memory": 1000}, {"columns": ("a",)}])
def test_a_column_of_splits_is_taken_and_is_no_input(options, save):
    given = columns() | {"split": PARTS * (ROWS // 6)}
    data = load(asked(save(given), **options))
    assert [each["name"] for each in data.spec.inputs] == ["a"]
    assert data.validation.y[:, 0].tolist() == np.float32(given["y"][2::6]).tolist()
    assert data.test.y[:, 0].tolist() == np.float32(given["y"][3::6]).tolist()
    assert "the splits are those of column 'split'" in notes(data)
    assert load(asked(save(given), **options), like=data.spec).test.y.tolist() == data.test.y.tolist()


def test_other_columns_of_that_name_are_columns(save):
    odd = load(asked(save(columns() | {"split": ["left", "train"] * (ROWS // 2)})))
    assert {each["name"] for each in odd.spec.inputs} == {"a", "split"} and "splits are" not in notes(odd)
    named = load(asked(save(columns() | {"split": PARTS * (ROWS // 6)}), columns=("!split",)))
    assert len(named.test) == ROWS // 5


def test_two_validation_splits_are_refused(save):
    path = save(columns() | {"split": PARTS * (ROWS // 6)})
    refused = refusal(path, validation_data=save(columns(), "v.csv"))
    assert (
        "without a validation split, received t, which has one in column 'split'; leave one of the two out" in refused
    )


def test_splits_of_numbers_of_texts(save):
    given = {"text": [f"good film {i}" for i in range(60)], "y": range(60), "split": PARTS * 10}
    data = load(asked(save(given), model="lstm", task="regression"))
    assert data.test.y[:, 0].tolist() == list(range(3, 60, 6))


@pytest.mark.parametrize("memory", [None, 1000])
def test_numbers_and_dates_that_a_parquet_file_stores_as_texts_are_told(memory, save, tmp_path):
    given = columns() | {"b": list(map(str, columns()["a"])), "d": dated("%Y-%m-%d"), "c": ["x", "1"] * (ROWS // 2)}
    parquet.write_table(pyarrow.table(given), tmp_path / "t.parquet")
    told = notes(load(asked(tmp_path / "t.parquet", memory=memory)))
    assert "column 'b' has numbers such as '0.637' stored as texts, and is of texts" in told
    assert "column 'd' has dates such as '2024-01-01' stored as texts" in told and "column 'c' has" not in told


def test_columns_that_are_no_numbers_after_all_are_named_where_none_is_left(save):
    said = refusal(save({"a": [f"\u2212{i}" if i % 2 else i for i in range(ROWS)], "y": columns()["y"]}))
    assert "received none: column 'a' is of texts: it has values such as '\u22121' beside numbers" in said


def test_a_class_or_a_column_that_one_table_has_alone_is_named(save):
    save(columns() | {"c": ["u", "v"] * (ROWS // 2)}, "data/train.csv")
    path = save(columns() | {"c": ["u", "w"] * (ROWS // 2)}, "data/test.csv").parent
    of_classes = {"task": "classification", "target_column": ("c",)}
    assert "expected the classes of train in every split, received 'w' in test" in refusal(path, **of_classes)
    save(columns(), "data/test.csv")
    assert "test.csv: expected a column 'c', received a, y" in refusal(path)
