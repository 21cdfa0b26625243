"""The page of a classifier: the surest mistakes and the classes that are confused most."""

import numpy as np

from zoo.tasks.pages.classes import confused_pairs, worst_mistakes


def test_mistakes_are_sorted_by_the_probability_of_the_wrong_answer():
    p = np.array([[0.6, 0.3, 0.1], [0.05, 0.9, 0.05], [0.34, 0.33, 0.33], [0.1, 0.2, 0.7], [0.02, 0.48, 0.5]])
    y = np.array([1, 1, 2, 1, 0])  # the third has the least sure answer, the last the least probable truth
    found = worst_mistakes(np.log(p), y, 3)
    assert [m["index"] for m in found] == [3, 0, 4]
    np.testing.assert_allclose([m["probability"] for m in found], [0.7, 0.6, 0.5])
    assert [(m["true"], m["predicted"]) for m in found] == [(1, 2), (1, 0), (0, 2)]


def test_confused_pairs_are_counted_beside_the_diagonal():
    confusion = np.array([[50, 3, 0], [7, 20, 3], [0, 0, 9]])
    assert confused_pairs(confusion, 5) == [
        {"true": 1, "predicted": 0, "examples": 7, "share": 7 / 30},
        {"true": 0, "predicted": 1, "examples": 3, "share": 3 / 53},
        {"true": 1, "predicted": 2, "examples": 3, "share": 3 / 30},
    ]
    assert len(confused_pairs(confusion, 1)) == 1 and confusion[0, 0] == 50
    assert confused_pairs(np.diag([4, 2]), 5) == []
