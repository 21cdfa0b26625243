"""Scores of masks against scikit-learn, Keras and closed forms."""

import keras
import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, jaccard_score

from zoo.scores import masks as scoring

IGNORED, CLASSES = 255, 4


@pytest.fixture(scope="module")
def examples():
    """True masks, of which some pixels do not count and class 3 does not occur, and answers; logarithms of p."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (5, 9, 12)).astype("uint8")
    truth[rng.random(truth.shape) < 0.1] = IGNORED
    p = rng.dirichlet(np.ones(3), truth.shape)
    return truth, np.log(np.concatenate([p * (1 - 1e-9), np.full((*truth.shape, 1), 1e-9)], axis=-1))


def counted(log_p, truth):
    losses = scoring.losses_of(log_p, truth, IGNORED)
    return scoring.counted(log_p.argmax(-1), truth, CLASSES, IGNORED, losses)


def test_scores_are_those_of_scikit_learn_and_keras(examples):
    truth, log_p = examples
    counts, valid = counted(log_p, truth), truth != IGNORED
    y, found = truth[valid], log_p.argmax(-1)[valid]
    scores, rows = scoring.scores(counts), scoring.per_class(counts, "abcd")
    np.testing.assert_array_equal(counts.confusion, confusion_matrix(y, found, labels=range(CLASSES)))
    iou, f1 = (score(y, found, labels=range(3), average=None) for score in (jaccard_score, f1_score))
    assert scores["miou"] == pytest.approx(iou.mean()) and scores["pixel_accuracy"] == accuracy_score(y, found)
    np.testing.assert_allclose([row["iou"] for row in rows[:3]], iou)
    np.testing.assert_allclose([row["f1"] for row in rows[:3]], f1)
    assert rows[3]["iou"] is None and rows[3]["examples"] == 0
    metric = keras.metrics.MeanIoU(CLASSES, ignore_class=IGNORED)
    metric.update_state(truth, log_p.argmax(-1))
    assert scores["miou"] == pytest.approx(float(metric.result()), abs=1e-6)


def test_the_loss_is_the_mean_over_pictures_of_the_means_over_their_pixels(examples):
    truth, log_p = examples
    each = [
        -np.mean([log_p[i][at][truth[i][at]] for at in zip(*np.nonzero(truth[i] != IGNORED), strict=True)])
        for i in range(len(truth))
    ]
    assert scoring.scores(counted(log_p, truth))["loss"] == pytest.approx(np.mean(each))


def test_parts_give_the_scores_of_the_whole(examples):
    truth, log_p = examples
    parts = scoring.joined(counted(log_p[i : i + 2], truth[i : i + 2]) for i in range(0, 5, 2))
    assert scoring.scores(parts) == pytest.approx(scoring.scores(counted(log_p, truth)))
    ends = scoring.intervals_of(parts)
    assert all(ends[name][0] <= scoring.scores(parts)[name] <= ends[name][1] for name in ends)


def square(top, left, side=10, size=40):
    mask = np.zeros((size, size), "uint8")
    mask[top : top + side, left : left + side] = 1
    return mask


@pytest.mark.parametrize(
    ("moved", "expected"),
    [
        (0, 1.0),
        (1, 1.0),  # within the tolerance of one pixel, the least
        (20, 0.0),  # borders are nowhere near each other
    ],
)
def test_borders_agree_within_the_tolerance(moved, expected):
    total, count = scoring.border_scores(square(5, 5), square(5, 5 + moved), IGNORED)
    assert count == 2 and total / count == pytest.approx(expected)


def test_half_a_border_gives_the_f1_of_precision_and_recall():
    truth, found = np.zeros((40, 40), "uint8"), np.zeros((40, 40), "uint8")
    truth[:, 20:] = 1  # a straight border over all rows
    found[:, 20:] = 1
    found[20:, :] = 0  # the lower half is background: precision and recall of class 1 follow from counts
    total, count = scoring.border_scores(found, truth, IGNORED)
    # Class 1: 40 rows of the true border, of which 20 and one within reach are found; all but the new lower border.
    mine = 20 + 19  # pixels of the predicted border of class 1: one column, and one row without the corner
    near_mine, near_theirs = 20 + 1, 20 + 1
    precision, recall = near_mine / mine, near_theirs / 40
    one = 2 * precision * recall / (precision + recall)
    assert count == 2 and 0 < total / count < 1
    assert total - one == pytest.approx(total / count, abs=0.15)  # class 0 has about the same


def test_ignored_pixels_make_no_border():
    truth = square(5, 5)
    truth[:, 5:6] = IGNORED
    found = np.where(truth == IGNORED, IGNORED, square(5, 5))
    total, count = scoring.border_scores(found, truth, IGNORED)
    assert (total, count) == (2.0, 2)
    nothing = np.zeros((8, 8), "uint8")
    assert scoring.border_scores(nothing, nothing, IGNORED) == (0.0, 0)


def test_classes_alone_have_no_loss(examples):
    truth, log_p = examples
    counts = scoring.counted(log_p.argmax(-1), truth, CLASSES, IGNORED, np.full(len(truth), np.nan))
    assert "loss" not in scoring.scores(counts) and "loss" not in scoring.intervals_of(counts)


def test_the_worst_picture_comes_first():
    truth = np.stack([square(5, 5), square(5, 5)])
    counts = scoring.counted(np.stack([square(5, 5), square(5, 12)]), truth, 2, IGNORED, np.zeros(2))
    (first, low), (second, high) = scoring.worst(counts, 2)
    assert (first, second) == (1, 0) and low < high == 1.0
