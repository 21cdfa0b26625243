"""What the inputs of a table are, and the numbers of its rows."""

import numpy as np
import pytest

from zoo.console.errors import UsageError
from zoo.data.reading import Tally
from zoo.data.tabular import encoding, rows
from zoo.data.tabular.table import read
from zoo.models.parts import table_features


@pytest.fixture
def table(tmp_path):
    lines = ["size,place,built,title,same,n"]
    for i in range(40):
        lines.append(f"{i / 4},{'north' if i % 3 else 'south'},2024-01-{1 + i % 28:02},red house {i},7,{i}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n,,,,7,40\n")
    return read(tmp_path / "t.csv")


def test_inputs_are_found_by_what_columns_hold(table):
    tally = Tally()
    inputs = encoding.inputs_of(table, table.names, tally)
    assert [(each["name"], each["form"]) for each in inputs] == [
        *(("size", "number"), ("built", "date"), ("n", "number")),
        *(("title", "word"), ("title", "word"), ("place", "category")),
    ]
    assert [each["value"] for each in inputs[3:5]] == ["house", "red"]
    assert inputs[5]["values"] == ["north", "south"] and inputs[0]["missing"] and not inputs[2]["missing"]
    assert not inputs[1]["time"] and inputs[0]["edges"][0] == 0 and inputs[0]["edges"][-1] == 39 / 4
    notes = "; ".join(tally.notes)
    assert "columns same have one value" in notes and "column 'n' counts the rows" in notes
    assert "inputs: 2 numbers, 1 category, 1 date, 2 words of title" in tally.columns


def test_rows_become_numbers(table):
    inputs = encoding.inputs_of(table, table.names, Tally())
    x = encoding.encoded(table, inputs)
    assert x.dtype == np.float32 and x.shape == (41, 6)
    days = (np.datetime64("2024-01-01") - np.datetime64("2000-01-01")).astype(int)
    np.testing.assert_array_equal(x[1], [0.25, days + 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(x[0], [0, days, 0, 1, 1, 2])
    np.testing.assert_array_equal(x[40], [encoding.MISSING, encoding.MISSING, 40, 0, 0, 0])
    assert np.float32(table_features.MISSING) == encoding.MISSING
    assert encoding.for_model(inputs)[5] == {"form": "category", "size": 3}
    layer = table_features.TableFeatures(encoding.for_model(inputs))
    assert layer.columns[1].keys() == {"form", "edges", "missing", "time"}


def test_what_training_rows_never_had_is_told(table):
    inputs = encoding.inputs_of(table.take(np.arange(40)), ["size", "place"], Tally())
    tally = Tally()
    names, x = rows.given(["place=west"], inputs)
    encoding.tell_strange(table, inputs, tally)
    assert names == ["place=west"] and x.tolist() == [[inputs[0]["edges"][len(inputs[0]["edges"]) // 2], 0]]
    assert tally.changed == {"missing values of 'size', which training rows never had, taken for the median": 1}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["sise=1"], "INPUT sise=: expected one of the columns size, place; did you mean 'size'"),
        (["size=1", "size=2"], "INPUT size=: expected each column of the row once"),
        (["size=big"], "INPUT size=big: expected a number"),
        (["absent.csv"], "INPUT absent.csv: expected a table, found no such file"),
        (["absent"], "expected a table, or NAME=VALUE for each column of one row"),
    ],
)
def test_wrong_rows_are_refused(words, sentence, table):
    inputs = encoding.inputs_of(table, ["size", "place"], Tally())
    with pytest.raises(UsageError) as error:
        rows.given(words, inputs)
    assert sentence in str(error.value)


def test_columns_are_chosen_by_patterns(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,room_1,room_2,y\n1,2,3,4\n")
    assert rows.chosen(path, None, ["y"]) == ["id", "room_1", "room_2"]
    assert rows.chosen(path, ["room_*"], ["y"]) == ["room_1", "room_2"]
    assert rows.chosen(path, ["!id"], ["y"]) == ["room_1", "room_2"]
    with pytest.raises(UsageError, match="received 'y', which is to be predicted"):
        rows.chosen(path, ["y"], ["y"])
    with pytest.raises(UsageError, match="expected columns of t.csv to learn from, received none"):
        rows.chosen(path, ["!room_*", "!id"], ["y"])
