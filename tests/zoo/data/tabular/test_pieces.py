"""A table that is read in pieces has the same rows, splits, statistics and digests as one that is read whole."""

import csv
import dataclasses
import gzip
import io
import json

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from tests.conftest import stop_after
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Interrupted, UsageError
from zoo.data import cache, digests, load
from zoo.data.batches import pipeline
from zoo.data.tabular import pieces
from zoo.runs import checkpoints
from zoo.runs.folder import RunFolder
from zoo.training.loop import train

ROWS = 600
NAMES = ("size", "code", "place", "remark", "built", "seen", "flag", "price", "kind")


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch):
    """Pieces of about thirty rows, so that a table of a few hundred has many."""
    monkeypatch.setattr(pieces, "CELLS", 256)
    monkeypatch.setattr(pieces, "CHUNK", 500)
    monkeypatch.setattr(pieces, "BLOCK", 2000)


def records(count=ROWS):
    """Rows with numbers, names that look like numbers, categories, words, dates of two forms and missing values."""
    rng = np.random.default_rng(3)
    said = ["north side", 'old,  near the "river"', "two\nlines", "quiet", ""]
    found = []
    for i in range(count):
        size = rng.normal(100, 30)
        found.append(
            (
                f"{size:.2f}" if i % 7 else "NA",
                f"{rng.integers(40):03}",
                rng.choice(["a", " b", "c ü", ""]),
                f"{rng.choice(said)} {i} {rng.choice(said)}",
                f"19{rng.integers(50, 99)}-0{rng.integers(1, 9)}-{rng.integers(10, 28)}" if i % 11 else "",
                f"{rng.integers(1, 28):02}/{rng.integers(1, 12):02}/2024",
                rng.choice(["true", "false"]),
                f"{3 * size + rng.normal():.1f}",
                "large" if size > 100 else "small",
            )
        )
    return found


def as_csv(rows, delimiter=",", commas=False):
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter)
    writer.writerow(NAMES)
    writer.writerows([[v.replace(".", ",") if commas and j in (0, 7) else v for j, v in enumerate(r)] for r in rows])
    return text.getvalue().encode()


def content(name, tmp_path):
    rows = records()
    if name.startswith("bom"):
        return b"\xef\xbb\xbf" + as_csv(rows)
    if name.startswith("semicolons"):
        return as_csv(rows, ";", commas=True)
    if "tsv" in name:
        plain = [[value.replace("\n", " ") for value in row] for row in (NAMES, *rows)]
        return "\r\n".join("\t".join(row) for row in plain).encode()
    if "jsonl" in name:
        return "\n".join(json.dumps(dict(zip(NAMES, row, strict=True))) for row in rows).encode()
    if "parquet" in name:
        columns = dict(zip(NAMES, map(list, zip(*rows, strict=True)), strict=True))
        columns["size"] = [None if text == "NA" else float(text) for text in columns["size"]]
        columns["size"][5] = float("inf")
        columns["price"] = list(map(float, columns["price"]))
        columns["code"] = [2**53 + 1 if i == 300 else int(text) for i, text in enumerate(columns["code"])]
        parquet.write_table(pyarrow.table(columns), tmp_path / "t.parquet", row_group_size=100)
        return (tmp_path / "t.parquet").read_bytes()
    return as_csv(rows)


def config(path, **options):
    given = {"data": path, "model": "tabular", "target_column": ("price",), "task": "regression"} | options
    return TrainConfig(**given)


def both(asked):
    """Return a data set read whole, and read in pieces."""
    return load(asked), load(dataclasses.replace(asked, memory=1000))


def check_equal(whole, parts):
    assert whole.spec == parts.spec and whole.train.in_memory
    for split in digests.SPLITS:
        ours, theirs = getattr(whole, split), getattr(parts, split)
        assert not theirs.in_memory and theirs.x.shape == ours.x.shape and theirs.x.dtype == ours.x.dtype
        np.testing.assert_array_equal(theirs.x[:], ours.x)
        np.testing.assert_array_equal(theirs.y, ours.y)
        np.testing.assert_array_equal(theirs.marks, ours.marks)
    assert digests.of_data(whole) == digests.of_data(parts)
    assert "read for each batch (a whole table takes more than 1.0 kB of memory)" in parts.reading.line()
    assert dataclasses.replace(parts.reading, kept="") == whole.reading


@pytest.mark.parametrize(
    "name", ["t.csv", "bom.csv", "semicolons.csv", "t.csv.gz", "t.tsv", "t.jsonl", "t.parquet", "t.parquet.gz"]
)
def test_every_form_gives_the_same_rows_splits_and_statistics(name, tmp_path):
    path, found = tmp_path / name, content(name, tmp_path)
    path.write_bytes(gzip.compress(found) if name.endswith(".gz") else found)
    whole, parts = both(config(path))
    check_equal(whole, parts)
    forms = {(each["name"], each["form"]) for each in whole.spec.inputs}
    assert {("size", "number"), ("code", "category"), ("place", "category"), ("remark", "word")} <= forms
    assert {("built", "date"), ("seen", "date")} <= forms or "parquet" in name
    check_equal(*both(config(path, task="classification", target_column=("kind",), columns=("!price",))))


def test_labels_and_tables_of_splits(tmp_path):
    rows = records()
    for split, part in (("train", rows[:400]), ("test", [("", "077", "new", *row[3:]) for row in rows[400:]])):
        (tmp_path / f"{split}.csv").write_bytes(as_csv(part))
    whole, parts = both(config(tmp_path, columns=("size", "code", "place"), validation_split=0.2))
    check_equal(whole, parts)
    assert parts.reading.changed["values of 'code' that training rows seldom or never had (077)"] == 200


def test_rows_in_the_form_of_a_run(tmp_path):
    (tmp_path / "t.csv").write_bytes(as_csv(records()))
    asked = config(tmp_path / "t.csv")
    like = load(asked).spec
    asked.data.write_bytes(as_csv([(*row[:1], "new", *row[2:]) for row in records()]))
    check_equal(*(load(dataclasses.replace(asked, memory=memory), like) for memory in (None, 1000)))
    with pytest.raises(UsageError, match="gone.csv: expected a file or a folder, found none"):
        load(config(tmp_path / "gone.csv"), like)
    with pytest.raises(UsageError, match="gone.csv: expected a file, found none"):
        pieces.fits([tmp_path / "gone.csv"], 2, 1000)


def test_batches_are_the_same(tmp_path):
    (tmp_path / "t.csv").write_bytes(as_csv(records()))
    found = []
    for data in both(config(tmp_path / "t.csv")):
        trained = pipeline.training_batches(data.train, batch_size=32, seed=4, start=3, stop=30)
        found.append([*trained, *pipeline.evaluation_batches(data.test, batch_size=50)])
    assert len(found[0]) == len(found[1]) > 27
    for ours, theirs in zip(*found, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("line", "skipped", "said"),
    [
        ("1,2,3", "with fewer values than there are columns", "line 402: expected 9 values"),
        (",".join("123456789") + ",0", "with more values than there are columns", "line 402: expected 9 values"),
        ("many,1,a,b,1990-01-01,01/01/2024,true,1,large", "with another value in a column of numbers",
         "line 402: expected a number in column 'size'"),
        ('1,"open', None, "line 402: expected a table: ',' expected after"),
        (b"\xff,1,a,b,1990-01-01,01/01/2024,true,1,large", None, "expected UTF-8 text, received byte 0xff at offset"),
    ],
)  # fmt: skip
def test_malformed_row_in_the_middle_is_refused_before_training(line, skipped, said, tmp_path):
    rows = [row for row in records() if "\n" not in row[3]]
    lines = as_csv((rows * 3)[:600]).splitlines()
    line = line if isinstance(line, bytes) else line.encode()
    (tmp_path / "t.csv").write_bytes(b"\n".join([*lines[:401], line, *lines[401:]]))
    refused = []
    for memory in (None, 1000):
        with pytest.raises(UsageError) as error:
            load(config(tmp_path / "t.csv", memory=memory))
        refused.append(str(error.value))
    assert said in refused[0] and refused[0] == refused[1]
    if skipped:
        whole, parts = both(config(tmp_path / "t.csv", skip_bad=True))
        check_equal(whole, parts)
        assert whole.reading.left_out == {skipped: 1}


def test_rows_without_a_target_and_a_table_without_rows(tmp_path):
    rows = records()
    rows[333] = (*rows[333][:7], "", rows[333][8])
    (tmp_path / "t.csv").write_bytes(as_csv(rows))
    (tmp_path / "none.csv").write_bytes(as_csv([]))
    for name in ("t.csv", "none.csv"):
        said = set()
        for memory in (None, 10):
            with pytest.raises(UsageError) as error:
                load(config(tmp_path / name, memory=memory))
            said.add(str(error.value))
        assert len(said) == 1, said
    check_equal(*both(config(tmp_path / "t.csv", skip_bad=True)))


def test_table_is_parsed_once_and_again_when_it_changes(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    path.write_bytes(as_csv(records()))
    asked = config(path, memory=1000)
    first = load(asked)
    monkeypatch.setattr(pieces, "read", None)
    assert digests.of_data(load(asked)) == digests.of_data(first)
    monkeypatch.undo()
    path.write_bytes(as_csv(records(2 * ROWS)))
    assert len(load(asked).train) == 2 * len(first.train)


def test_cache_that_cannot_be_written_is_told(tmp_path, monkeypatch):
    (tmp_path / "t.csv").write_bytes(as_csv(records()))
    (tmp_path / "file").touch()
    monkeypatch.setattr(cache, "folder", lambda: tmp_path / "file")
    with pytest.raises(UsageError, match="expected a cache with room for examples that are larger than --memory"):
        load(config(tmp_path / "t.csv", memory=1000))


def trained(path, output, callbacks=(), **options):
    asked = {"epochs": 2, "batch_size": 32, "settings": {"units": (8,)}, "deterministic": True, "checkpoint_every": 3}
    train(config(path, output=output, **asked, **options), callbacks=list(callbacks), verbose=False)
    return checkpoints.newest(output / "checkpoints")[0].arrays, RunFolder(output).read_metrics()["test"]


@pytest.mark.slow
def test_training_gives_the_same_weights_and_resumes(tmp_path):
    (tmp_path / "t.csv").write_bytes(as_csv(records()))
    whole = trained(tmp_path / "t.csv", tmp_path / "whole")
    np.testing.assert_equal(trained(tmp_path / "t.csv", tmp_path / "parts", memory=1000), whole)
    with pytest.raises(Interrupted):
        trained(tmp_path / "t.csv", tmp_path / "again", [stop_after(16)], memory=1000)
    np.testing.assert_equal(trained(tmp_path / "t.csv", tmp_path / "again", memory=1000, resume=True), whole)
