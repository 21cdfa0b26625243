"""Tables as they come: types, missing values, other delimiters and decimal commas, and every fault in one sentence."""

import gzip
import json
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import csv as arrow_csv
from pyarrow import parquet

from zoo.console.errors import UsageError
from zoo.data.reading import Tally
from zoo.data.tabular import header
from zoo.data.tabular.table import read

HOUSES = (
    "age,price,place,built\n"
    '41,452600.5,"near, bay",1990-01-02\n'
    ",3e5, inland ,1990-01-03\n"
    "NA,-1.5,,1990-02-01 12:30:00\n"
)


@pytest.fixture
def written(tmp_path):
    """A function that writes a file and returns its path."""

    def write(text, name="t.csv"):
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def refusal(path, **how):
    with pytest.raises(UsageError) as error:
        read(path, **how)
    assert "\n" not in str(error.value)
    return str(error.value)


def check_houses(table):
    assert table.names == ("age", "price", "place", "built") and len(table) == 3
    assert [table.kind(name) for name in table.names] == ["numbers", "numbers", "texts", "times"]
    np.testing.assert_array_equal(table.numbers("age"), [41, np.nan, np.nan])
    np.testing.assert_array_equal(table.numbers("price"), [452600.5, 3e5, -1.5])
    assert table.texts("place").tolist() == ["near, bay", "inland", ""]
    assert table.texts("age").tolist() == ["41", "", ""] and table.texts("price")[0] == "452600.5"
    expected = np.array(["1990-01-02", "1990-01-03", "1990-02-01T12:30:00"], "datetime64[us]")
    np.testing.assert_array_equal(table.times("built"), expected)


@pytest.mark.parametrize(
    "name", ["t.csv", "t.CSV", "t.csv.gz", "t.tsv", "t.jsonl", "t.jsonl.gz", "t.parquet", "t.parquet.gz"]
)
def test_one_table_is_the_same_from_every_form(name, written, tmp_path):
    rows = [(41, 452600.5, "near, bay", "1990-01-02"), (None, 3e5, "inland", "1990-01-03")]
    rows.append((None, -1.5, None, "1990-02-01 12:30:00"))
    names = ("age", "price", "place", "built")
    content = HOUSES
    if "tsv" in name:
        content = "\n".join("\t".join("" if v is None else str(v) for v in row) for row in (names, *rows))
    if "jsonl" in name:
        content = "\n".join(json.dumps(dict(zip(names, row, strict=True))) for row in rows)
    if "parquet" in name:
        table = pyarrow.table({n: [row[i] for row in rows] for i, n in enumerate(names)})
        times = [pyarrow.scalar(str(np.datetime64(row[3]))).as_py() for row in rows]
        column = pyarrow.array(np.array(times, "datetime64[us]"))
        parquet.write_table(table.set_column(3, "built", column), tmp_path / "plain.parquet")
        content = (tmp_path / "plain.parquet").read_bytes()
    content = content if isinstance(content, bytes) else content.encode()
    path = written(gzip.compress(content) if name.endswith(".gz") else content, name)
    assert header.columns_of(path) == list(names)
    tally = Tally()
    check_houses(read(path, tally=tally))
    assert tally.columns == (
        "4 columns: 2 of numbers (age, price), 1 of texts (place), 1 of dates (built); missing values: 2 in age,"
        " 1 in place"
    )


def test_numbers_are_those_of_another_reader(written):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(50, 3)) * 10.0 ** rng.integers(-8, 9, (50, 3))
    path = written("a,b,c\n" + "\n".join(",".join(map(repr, map(float, row))) for row in values))
    table, other = read(path), arrow_csv.read_csv(path)
    for name in "abc":
        np.testing.assert_array_equal(table.numbers(name), other.column(name).to_numpy())


def test_names_that_look_like_numbers_stay_texts(written):
    table = read(written("zip,id,n,flag\n00501,9007199254740993,0,true\n90210,12,0.5,false\n"))
    assert [table.kind(name) for name in table.names] == ["texts", "texts", "numbers", "texts"]
    assert table.texts("zip")[0] == "00501" and table.texts("id")[0] == "9007199254740993"
    assert table.numbers("flag").tolist() == [1, 0]


def test_what_was_assumed_is_told(written):
    tally = Tally()
    table = read(written("a;b;c;d\n1,5;x;1,234;31/12/2020\n2;y;2,345;01/02/2021\n"), tally=tally)
    assert table.numbers("a").tolist() == [1.5, 2] and table.kind("c") == "texts"
    assert table.times("d").astype("datetime64[D]").astype(str).tolist() == ["2020-12-31", "2021-02-01"]
    notes = "; ".join(tally.notes)
    assert "t.csv has semicolons between its values" in notes and "column 'a' has decimal commas" in notes
    assert "column 'c' is of texts: it has numbers with commas such as '1,234'" in notes
    assert "column 'd' is read as day/month/year" in notes


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n01/02/2020,1\n03/04/2020,2\n", "whose day and month cannot be told apart"),
        ("a,b\n$5,1\n$7,2\n", "has numbers with signs such as '\\$5'"),
        ('a,b\n"1,234",1\n"5,678",2\n', "has numbers with commas such as '1,234'"),
        ("a,b\n1_000,1\n2,2\n", "has values such as '1_000' beside numbers"),
        ("a,b\ninf,1\n2,2\n", "has values such as 'inf' beside numbers"),
        ("a,b\n1/01/24,1\n25/02/24,2\n", "is of texts: it has dates that are not read, such as '1/01/24'"),
        ("a,b\n01/13/2024 1:00 PM,1\n02/14/2024 2:00 AM,2\n", "dates that are not read, such as '01/13/2024 1:00 PM'"),
        ("a,b\n1e400,1\n2,2\n", "it has numbers that float64 does not hold"),
        ("a,b\n2020-01-01T10:00:00+02:00,1\n2020-01-01T10:00:00,2\n", "to UTC; values without one count as UTC"),
        (",a,b\n0,x,1\n1,y,2\n", "column 1 of t.csv has no name and is not read"),
        ("a,b\nx  ,1\ny,2\n", "column 'a' has spaces around values, which are left out"),
        ("a,b\n2020-01-01T10:00:00+02:00,1\n2020-01-01T10:00:00Z,2\n", "time zones, which were changed to UTC"),
    ],
)  # fmt: skip
def test_odd_columns_are_told(content, told, written):
    import re

    tally = Tally()
    read(written(content), tally=tally)
    assert re.search(told, "; ".join(tally.notes)), tally.notes


def test_points_of_thousands_beside_decimal_commas_are_told(written):
    tally = Tally()
    read(written("a;pop;b\n0,64;12.500;1.25\n1,5;999;12.500\n"), tally=tally)
    (note,) = [note for note in tally.notes if "thousands" in note]
    assert note.startswith("column 'pop' has numbers such as '12.500', read with a decimal point although column 'a'")
    tally = Tally()
    read(written("a;pop\n0.64;12.500\n1.5;999\n"), tally=tally)
    assert "thousands" not in "; ".join(tally.notes)


def test_numbers_with_both_marks_are_named(written):
    table = read(written("a;y\n1;55,59\n2;1.234,56\n"))
    with pytest.raises(UsageError, match="received '1.234,56'; write numbers without marks between thousands"):
        table.numbers("y")


def test_time_zones_are_changed_to_utc(written):
    table = read(written("t\n2020-01-01T10:00:00+02:00\n2020-01-01 10:00:00.5Z\n2020-01-01T10:00-0530\n"))
    expected = np.array(["2020-01-01T08:00:00", "2020-01-01T10:00:00.5", "2020-01-01T15:30:00"], "datetime64[us]")
    np.testing.assert_array_equal(table.times("t"), expected)


NUMBERS = "".join(f"{i},x\n" for i in range(20))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "expected a table, received an empty file"),
        ("sep=;\na;b\n1;2\n", "line 1: expected the names of the columns, received 'sep='; remove this line"),
        ("# made by x\na,b\n1,2\n", "line 1: expected the names of the columns, received '# made by x'"),
        ("\n \n", "expected a table, received an empty file"),
        ("a,b\n", "expected at least one row after the names of the columns, received none"),
        ("a,b,a\n1,2,3\n", "expected each column once, received 'a' 2 times"),
        ("1,2\n3,4\n", "line 1: expected the names of the columns, received numbers: 1, 2"),
        ("a,b\n1,2,3\n", "line 2: expected 2 values, one for each of the columns a, b, received 3"),
        ("a,b\n1\n", "line 2: expected 2 values, one for each of the columns a, b, received 1"),
        ('a,b\n"1,2\n', "line 2: expected a table"),
        (f"a,b\n{NUMBERS}abc,x\n", "line 22: expected a number in column 'a', as in 20 others, received 'abc'"),
        (b"a,b\n\xff,1\n", "expected UTF-8 text, received byte 0xff at offset 4; save it as UTF-8"),
    ],
)
def test_faults_are_refused_in_a_sentence(content, sentence, written):
    assert sentence in refusal(written(content))


def test_bad_lines_are_left_out_on_request(written):
    tally = Tally()
    path = written(f"a,b\n{NUMBERS}abc,x\n1\n1,2,3\n7,y\n")
    table = read(path, skip_bad=True, tally=tally)
    assert len(table) == 21 and table.lines[-1] == 25 and table.numbers("a")[-1] == 7
    assert sum(tally.left_out.values()) == 3


def test_other_files_are_refused(written, tmp_path):
    assert "expected a table that ends in .csv, .tsv, .jsonl or .parquet" in refusal(written("a", "t.xls"))
    assert "expected a file, found none" in refusal(tmp_path / "absent.csv")
    assert "expected a Parquet file" in refusal(written("abc", "t.parquet"))
    assert "cannot be read" in refusal(written("abc", "t.csv.gz"))
    assert "line 1: expected JSON" in refusal(written("abc", "t.jsonl"))
    assert "column 'a': expected a text or a number, received a list" in refusal(written('{"a": [1]}', "t.jsonl"))


def test_a_byte_order_mark_is_no_part_of_a_name(written):
    path = written(b"\xef\xbb\xbfa,b\n1,2\n")
    assert read(path).names == ("a", "b") and header.columns_of(path) == ["a", "b"]


def test_rows_and_columns_are_taken(written):
    table = read(written(HOUSES))
    part = table.take(np.array([2, 0]))
    assert part.lines.tolist() == [4, 2] and part.numbers("price").tolist() == [-1.5, 452600.5]
    assert read(written(HOUSES), columns=["price"]).names == ("price",) == table.only(["price"]).names
    with pytest.raises(UsageError, match="expected dates such as 2024-12-31 .* received '452600.5'"):
        table.times("price")
    with pytest.raises(UsageError, match="column 'place': expected numbers, received 'near, bay'"):
        table.numbers("place")


def test_columns_are_checked_without_reading_the_table(written):
    path = written(HOUSES)
    header.check_columns(path, ["age", "built"], "--target-column")
    with pytest.raises(UsageError, match="--target-column pric: expected a column of t.csv, .* did you mean 'price'"):
        header.check_columns(path, ["pric"], "--target-column")
    assert header.matching(path, ["p*", "age"], "--label-columns") == ["age", "price", "place"]
    with pytest.raises(UsageError, match=r"--label-columns z\*: expected a column"):
        header.matching(path, ["z*"], "--label-columns")
    code = "import sys, zoo.data.tabular.header; sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_parquet_columns_keep_their_types(tmp_path):
    columns = {
        "big": pyarrow.array([2**60, None]),
        "flag": pyarrow.array([True, False]),
        "kind": pyarrow.array(["a", "b"]).dictionary_encode(),
        "day": pyarrow.array([0, 1], pyarrow.date32()),
        "list": pyarrow.array([[1], [2]]),
        "far": pyarrow.array([1.5, float("inf")]),
    }
    parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet")
    tally = Tally()
    table = read(tmp_path / "t.parquet", tally=tally)
    assert [table.kind(name) for name in table.names] == ["texts", "texts", "texts", "times", "numbers"]
    assert table.texts("big").tolist() == [str(2**60), ""] and table.texts("kind").tolist() == ["a", "b"]
    assert table.texts("day").tolist() == ["1970-01-01T00:00:00", "1970-01-02T00:00:00"]
    notes = "; ".join(tally.notes)
    assert "list (list<" in notes and "1 infinite numbers" in notes
    assert "received list" in refusal(tmp_path / "t.parquet", columns=["list"])
