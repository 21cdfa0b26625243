"""Events of tables: their columns, leave-last-out, ratings, and the messages for tables that are none."""

import json

import numpy as np
import pytest

from zoo.config.train_config import TrainConfig
from zoo.console.errors import UsageError
from zoo.data import load
from zoo.data.dataset import DataSpec

ROWS = [("ann", "tea", 1), ("bob", "milk", 2), ("ann", "milk", 5), ("ann", "rum", 3), ("bob", "tea", 9)]
ROWS += [("bob", "rum", 4), ("ann", "gin", 8), ("bob", "gin", 1), ("cy", "tea", 1)]


def write(path, rows=ROWS, header="user,item,time"):
    path.write_text("".join(f"{','.join(map(str, row))}\n" for row in [header.split(","), *rows]))
    return path


def config(path, model="two_tower", **values):
    return TrainConfig(model=model, data=path, **values).resolved()


def pairs(data, split):
    form, part = data.spec.events, getattr(data, split)
    items = (part.y[:, 0] if part.y.ndim == 2 else part.y).astype(int)
    return {(form.users[u], form.items[i]) for u, i in zip(part.x[:, 0], items, strict=True)}


def test_the_last_item_of_each_user_is_held_out_by_time(tmp_path):
    data = load(config(write(tmp_path / "e.csv")))
    assert data.spec.events.users == ("ann", "bob", "cy") and data.spec.events.items == ("gin", "milk", "rum", "tea")
    assert pairs(data, "test") == {("ann", "gin"), ("bob", "tea")}
    assert pairs(data, "validation") == {("ann", "milk"), ("bob", "rum")}
    assert pairs(data, "train") == {("ann", "tea"), ("ann", "rum"), ("bob", "milk"), ("bob", "gin"), ("cy", "tea")}
    told = data.reading.warning()
    assert "in the order of column 'time'" in told and "1 of 3 users have fewer than 3 items" in told
    assert "users are in column 'user'" in told


def test_without_a_time_the_order_of_the_rows_counts_and_is_told(tmp_path):
    path = write(tmp_path / "e.csv", [row[:2] for row in ROWS], "who,what")
    data = load(config(path, user_column="who", item_column="what"))
    assert pairs(data, "test") == {("ann", "gin"), ("bob", "gin")}
    assert "in the order of the rows" in data.reading.warning()


def test_a_pair_counts_once(tmp_path):
    data = load(config(write(tmp_path / "e.csv", [*ROWS, ("ann", "tea", 99)])))
    assert data.reading.left_out == {"of a user and an item that are there again (the first counts)": 1}
    assert pairs(data, "test") == {("ann", "gin"), ("bob", "tea")}


def test_the_last_liked_items_are_held_out_of_ratings(tmp_path):
    rows = [("ann", item, rating) for item, rating in zip("abcdef", (5, 4, 5, 1, 5, 2), strict=True)]
    rows += [("bob", item, 3) for item in "abc"]
    path = write(tmp_path / "e.csv", rows, "user,item,stars")
    data = load(config(path, rating_column="stars", liked=4.0))
    assert pairs(data, "test") == {("ann", "e")} and pairs(data, "validation") == {("ann", "c")}
    # d and f were rated after c was held out
    assert pairs(data, "train") == {("ann", "a"), ("ann", "b"), ("bob", "a"), ("bob", "b"), ("bob", "c")}
    assert data.reading.left_out["that follow an item that is held out"] == 2
    np.testing.assert_array_equal(sorted(data.train.y[:, 1]), [3, 3, 3, 4, 5])
    assert data.spec.events.mean == pytest.approx(18 / 5)
    told = load(config(path, rating_column="stars"))
    assert (
        told.spec.events.liked == pytest.approx(31 / 9) and "3.44 or more, the mean, counts" in told.reading.warning()
    )
    liked = load(config(path, rating_column="stars", liked=4.0, settings={"loss": "bpr"}))
    assert pairs(liked, "train") == {("ann", "a"), ("ann", "b")}
    assert liked.reading.left_out["that were not liked"] == 3


def test_a_run_takes_over_its_users_and_items(tmp_path):
    spec = load(config(write(tmp_path / "e.csv"))).spec
    assert DataSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    data = load(config(write(tmp_path / "f.csv", [*ROWS, ("dan", "tea", 1), ("ann", "ale", 1)])), like=spec)
    assert data.spec.events == spec.events
    assert data.reading.left_out["with a user or an item that the run does not know"] == 2


@pytest.mark.parametrize(
    ("header", "options", "message"),
    [
        ("user,item,time", {"user_column": "usr"}, "--user-column usr: expected a column.*did you mean 'user'"),
        ("who,item,time", {}, "--user-column: expected the column of e.csv with the users, one of who, item, time"),
        ("user,item,time", {"rating_column": "x"}, "--rating-column x: expected a column"),
        ("user,item,time", {"settings": {"loss": "squared"}}, "--set loss=squared: expected --rating-column"),
    ],
)
def test_wrong_columns_are_refused(header, options, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        load(config(write(tmp_path / "e.csv", ROWS, header), **options))


def test_tables_that_cannot_be_learnt_from_are_refused(tmp_path):
    with pytest.raises(UsageError, match="expected users with 3 items or more.*received at most 1"):
        load(config(write(tmp_path / "e.csv", [("ann", "tea", 1), ("bob", "rum", 1)])))
    with pytest.raises(UsageError, match="e.csv, line 11: expected a value in 'user' and 'item'"):
        load(config(write(tmp_path / "e.csv", [*ROWS, ("", "tea", 1)])))
    assert load(config(tmp_path / "e.csv", skip_bad=True)).reading.left_out["with an empty field"] == 1
