"""Columns of texts in Arrow have the values that Python gives each text."""

import numpy as np
import pyarrow
import pytest

from zoo.data.reading import Tally
from zoo.data.tabular import arrow, kinds, pieces, table

ODD = (
    *("", "NA", "n/A", "?", "-", "nan", "-nan", "inf", "Infinity", "1e400", "1e-400", "5e-324", "1_000", "0x10", "1d5"),
    *("+4", ".5", "7.", "-.5", "1e", "e5", "--1", "1.2.3", "1 2", "007", "-01", "00", "0", "-0", "0.10", "00.5", "٣"),
    *(str(2**53), str(2**53 - 1), str(-(2**60)), "9007199254740993.0", "12345678901234567890.5", "true", "2024-01-05"),
)


@pytest.mark.parametrize("text", ODD)
def test_numbers_are_what_python_says(text):
    texts = ["1.5", text, "-2e3"]
    given = [each for each in texts if each.lower() not in kinds.MISSING]
    slow, found = kinds._numbers(given), arrow.numbers(arrow.texts(texts))
    if found is not None:
        assert slow.tobytes() == found[[each in given for each in texts]].tobytes()
    for form in ("numbers", "mostly", "texts"):
        if form == "numbers" and slow is None:
            continue
        values, bad = arrow.values_of_texts(arrow.texts(texts), form)
        expected = kinds.values_of(texts, form)
        np.testing.assert_array_equal(values, expected[0])
        np.testing.assert_array_equal(bad, expected[1])


def test_plain_numbers_are_read_at_once():
    found = arrow.numbers(arrow.texts(["1", "-2.25", "NA", "3e-5", ""]))
    np.testing.assert_array_equal(found, [1, -2.25, np.nan, 3e-5, np.nan])


def test_texts_of_numbers_are_those_of_python():
    rng = np.random.default_rng(0)
    values = np.concatenate(
        [
            rng.normal(size=500),
            10 ** rng.uniform(-8, 20, 2000),
            np.round(10 ** rng.uniform(-8, 20, 2000), 2),
            [0.0, -0.0, np.nan, 1e-4, 9.9999e-5, 1e15, 1e16, 2.0**53, 1e22, 5e-324, -7.0],
        ]
    )
    assert arrow.texts_of(values).to_pylist() == list(kinds.as_texts(values))
    assert list(kinds.as_texts(np.array([2.0, 0.1, np.nan, 1e22]))) == ["2", "0.1", "", "1" + "0" * 22]


def test_spaces_are_those_of_python():
    texts = [" a", "b\x1c", "\u3000c", "d\xa0", "é", "", "e f"]
    found, spaces = arrow.stripped(arrow.texts(texts))
    assert found.to_pylist() == [text.strip() for text in texts] and spaces == 4
    assert arrow.texts(("\ud800",)) == ["\ud800"] and isinstance(arrow.texts(["a"]), pyarrow.Array)


QUOTED = b'x,y\n1,"a\nb\r\nc"\n2,d\n' + b"3,e\n" * 30 + b'4,"f\n' + b"g\n" * 30 + b'h"\n5,i'
CONTENTS = {
    "quoted values that span blocks": QUOTED,
    "empty lines": b"x,y\n\n1,a\n\n\n2,b\n" + b"3,c\n" * 20 + b"\n4,d\n\n",
    "carriage returns": b"x,y\r" + b"1,a\r" * 40,
    "both line ends": b"\r\nx,y\r\n" + b"1,a\r\n" * 40 + b"2,b\n3,\xc3\xbc\r\n4,d",
    "surplus delimiters": b"x,y\n" + b"1,a\n" * 20 + b"2,b,,\n" + b"3,c\n" * 20,
    "one column": b"x\n" + b"1\n" * 20 + b"\n2\n3",
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("block", [1, 7, 50, 1000])
def test_blocks_of_lines_are_rows_with_their_numbers(name, block, tmp_path, monkeypatch):
    monkeypatch.setattr(pieces, "BLOCK", block)
    monkeypatch.setattr(pieces, "CHUNK", 1)
    path = tmp_path / "t.csv"
    path.write_bytes(CONTENTS[name])
    columns = ["x"] if name == "one column" else ["x", "y"]
    whole = table.read(path)
    names, tables = pieces.read(path, columns, False, Tally())
    parts = list(tables)
    assert names == columns
    for column in columns:
        np.testing.assert_array_equal(np.concatenate([p.columns[column] for p in parts]), whole.columns[column])
    np.testing.assert_array_equal(np.concatenate([p.lines for p in parts]), whole.lines)
