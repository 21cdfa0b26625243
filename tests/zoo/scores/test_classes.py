"""Scores of very many classes: the same as of few, without a matrix of all pairs."""

import csv

import numpy as np
import pytest
from scipy import sparse
from sklearn.metrics import confusion_matrix, log_loss, top_k_accuracy_score

from zoo.scores import classes
from zoo.tasks.pages.classes import DRAWN, _in_groups, confused_pairs, matrix, worst_mistakes, write_confusion

COUNT = 40


@pytest.fixture
def drawn():
    rng = np.random.default_rng(0)
    y = rng.integers(0, COUNT, 500)
    return rng.normal(size=(500, COUNT)).astype("float32") + 2 * np.eye(COUNT, dtype="float32")[y], y


def test_scores_do_not_depend_on_how_many_probabilities_fit_into_memory(drawn, monkeypatch):
    logits, y = drawn
    whole = classes.scores(logits, y), classes.intervals_of({"accuracy": 0.5}, logits, y), worst_mistakes(logits, y, 9)
    monkeypatch.setattr(classes, "AT_ONCE", 7 * COUNT)
    parts = classes.scores(logits, y), classes.intervals_of({"accuracy": 0.5}, logits, y), worst_mistakes(logits, y, 9)
    assert parts == whole
    p = np.exp(logits.astype("float64"))
    p /= p.sum(1, keepdims=True)
    assert whole[0]["loss"] == pytest.approx(log_loss(y, p, labels=np.arange(COUNT)), rel=1e-12)
    assert whole[0]["top_5_accuracy"] == top_k_accuracy_score(y, p, k=5, labels=np.arange(COUNT))


@pytest.mark.parametrize("absent", [0, 30])
def test_intervals_hold_the_scores_of_classes_with_few_examples(absent):
    """A class of three examples is missing from every twentieth resample."""
    rng = np.random.default_rng(2)
    y = np.repeat(np.arange(300), 3)
    answers = np.where(rng.random(len(y)) < 0.1, rng.integers(0, 300, len(y)), y)
    logits = 9 * np.eye(300 + absent, dtype="float32")[answers]
    found = classes.scores(logits, y)
    for name, (low, high) in classes.intervals_of(found, logits, y).items():
        assert low < found[name] < high, name


def test_equal_probabilities_are_ranked_as_by_scikit_learn():
    rng = np.random.default_rng(1)
    logits, y = rng.integers(0, 3, (300, COUNT)).astype("float32"), rng.integers(0, COUNT, 300)
    expected = top_k_accuracy_score(y, logits, k=5, labels=np.arange(COUNT))
    assert classes.scores(logits, y)["top_5_accuracy"] == expected


def test_a_sparse_confusion_matrix_has_the_same_counts_pages_and_pairs(drawn, tmp_path, monkeypatch):
    logits, y = drawn
    names = [f"class, {i}" for i in range(COUNT)]
    dense = classes.confusion_matrix(logits, y)
    monkeypatch.setattr(classes, "MOST_DENSE", COUNT - 1)
    few = classes.confusion_matrix(logits, y)
    assert isinstance(few, sparse.csr_array)
    np.testing.assert_array_equal(dense, confusion_matrix(y, logits.argmax(-1), labels=np.arange(COUNT)))
    np.testing.assert_array_equal(few.toarray(), dense)
    assert classes.per_class(few, names) == classes.per_class(dense, names)
    assert confused_pairs(few, 12) == confused_pairs(dense, 12)
    assert matrix(few, names).startswith("<svg")
    write_confusion(tmp_path / "cells.csv", few, names)
    with (tmp_path / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    read = np.zeros_like(dense)
    for row in rows:
        read[names.index(row["true"]), names.index(row["predicted"])] = int(row["examples"])
    np.testing.assert_array_equal(read, dense)


def test_ten_thousand_classes_are_drawn_in_groups():
    count = 20 * DRAWN
    places = np.array([0, 19, 20, count - 1])
    confusion = sparse.coo_array((np.array([1, 2, 3, 4]), (places, places[::-1])), shape=(count, count)).tocsr()
    found, size = _in_groups(confusion)
    assert size == 20 and found.shape == (DRAWN, DRAWN) and found.sum() == 10
    assert found[0, -1] == 1 and found[0, 1] == 2 and found[1, 0] == 3 and found[-1, 0] == 4
