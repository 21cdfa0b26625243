"""Overlaps of boxes against closed forms, and which places learn which object."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from zoo.models import Detector
from zoo.objectives import boxes
from zoo.objectives.detection_loss import BOX_WEIGHT, DetectionLoss, assigned
from zoo.objectives.priors import MIDDLE, Priors

UNIT = np.array([0.0, 0.0, 2.0, 2.0], np.float32)


@pytest.mark.parametrize(
    ("other", "iou", "giou"),
    [
        ((0, 0, 2, 2), 1, 1),
        ((1, 0, 3, 2), 1 / 3, 1 / 3),  # the hull of two rows is their union
        ((1, 1, 3, 3), 1 / 7, 1 / 7 - 2 / 9),
        ((4, 0, 6, 2), 0, -(12 - 8) / 12),
        ((0.5, 0.5, 1.5, 1.5), 1 / 4, 1 / 4),
    ],
)
def test_overlaps_have_their_closed_forms(other, iou, giou):
    other = np.array(other, np.float32)
    assert float(boxes.iou(UNIT, other)) == pytest.approx(iou, abs=1e-6)
    assert float(boxes.giou(UNIT, other)) == pytest.approx(giou, abs=1e-6)
    assert float(boxes.giou(other, UNIT)) == pytest.approx(giou, abs=1e-6)


def test_complete_overlap_has_its_closed_form():
    """Shifted by (1, 1): the centres are 2 of 18 apart. Twice as wide, half as high: the aspect ratios differ."""
    assert float(boxes.ciou(UNIT, np.array([1, 1, 3, 3], np.float32))) == pytest.approx(1 / 7 - 2 / 18, abs=1e-6)
    wide = np.array([-1, 0.5, 3, 1.5], np.float32)
    shared = 2 / (4 + 4 - 2)
    unlike = 4 / math.pi**2 * (math.atan(1) - math.atan(4)) ** 2
    expected = shared - unlike**2 / (1 - shared + unlike)
    assert float(boxes.ciou(UNIT, wide)) == pytest.approx(expected, abs=1e-5)


def test_raw_boxes_are_decoded_by_the_formulas_of_their_papers():
    one = np.array([[0.0, math.log(2), math.log(3), -math.log(2)]], np.float32) + MIDDLE
    priors = Priors.of((32, 32), (16,), [[(16, 16)]], "distances")
    assert priors.boxes.tolist() == [[8, 8, 16, 16], [24, 8, 16, 16], [8, 24, 16, 16], [24, 24, 16, 16]]
    np.testing.assert_allclose(priors.decoded(np.tile(one, (4, 1)))[1], [24 - 16, 8 - 32, 24 + 48, 8 + 8], rtol=1e-5)
    offsets = Priors.of((32, 32), (16,), [[(10, 20)]], "offsets")
    raw = np.tile(np.array([[1.0, -2.0, 0.0, 1.0]], np.float32) + MIDDLE, (4, 1))
    x, y, height = 8 + 10 * 0.1, 8 - 20 * 0.2, 20 * math.exp(0.2)
    np.testing.assert_allclose(offsets.decoded(raw)[0], [x - 5, y - height / 2, x + 5, y + height / 2], rtol=1e-5)


def perfect(priors, objects, logit=6.0):
    """Return outputs of which each place within an object has its box, and a high score for its class."""
    raw, logits = np.full((1, len(priors.boxes), 4), MIDDLE, np.float32), np.full((1, len(priors.boxes), 3), -6.0)
    for x1, y1, x2, y2, kind in objects:
        for place, (x, y, side, _) in enumerate(priors.boxes):
            if x1 < x < x2 and y1 < y < y2:
                raw[0, place] = np.log(np.array([x - x1, y - y1, x2 - x, y2 - y]) / side) + MIDDLE
                logits[0, place, int(kind)] = logit
    return np.concatenate([raw, logits], -1).astype(np.float32)


def test_places_learn_the_object_around_them_and_its_quality():
    priors = Detector.priors((64, 64), (8, 16))
    objects = [(4, 4, 28, 28, 1), (36, 32, 60, 60, 0)]
    truth = np.full((1, 4, 5), -1, np.float32)
    truth[0, :2] = objects
    found = perfect(priors, objects)
    matched, quality = assigned(tf.constant(truth), priors.decoded(found[..., :4]), found[..., 4:], priors)
    quality, matched = np.asarray(quality)[0], np.asarray(matched)[0]
    learnt = np.flatnonzero(quality.sum(-1) > 0.01)  # places of other priors are learnt a little
    for place in learnt:
        x, y = priors.boxes[place, :2]
        (own,) = [one for one in objects if one[0] <= x <= one[2] and one[1] <= y <= one[3]]
        np.testing.assert_allclose(matched[place], own[:4])
        assert quality[place].argmax() == own[4] and quality[place].max() == pytest.approx(1, abs=1e-4)
    assert {int(quality[place].argmax()) for place in learnt} == {0, 1}
    assert len(learnt) <= 2 * 10


def test_a_perfect_detection_has_nearly_no_loss_and_the_loss_is_by_image():
    priors = Detector.priors((64, 64), (8, 16))
    objects = [(4, 4, 28, 28, 1)]
    truth = np.full((2, 3, 5), -1, np.float32)
    truth[0, 0] = objects[0]
    outputs = np.concatenate([perfect(priors, objects, 20.0), perfect(priors, [], 20.0)])
    outputs[..., 4:] = np.where(outputs[..., 4:] < 0, -20, outputs[..., 4:])
    each = np.asarray(DetectionLoss(priors).call(truth, outputs))
    assert each.shape == (2,) and each[0] < 0.01 * BOX_WEIGHT and each[1] < 1e-3
    worse = outputs.copy()
    worse[0, :, :4] += 0.5
    assert np.asarray(DetectionLoss(priors).call(truth, worse))[0] > 10 * each[0]


def test_an_object_between_the_centres_of_all_cells_is_learnt():
    priors = Detector.priors((64, 64), (8, 16))
    truth = np.full((1, 2, 5), -1, np.float32)
    truth[0, 0] = [31, 31, 33, 33, 2]
    outputs = tf.zeros((1, len(priors.boxes), 7)) + MIDDLE
    _, quality = assigned(tf.constant(truth), priors.decoded(outputs[..., :4]), outputs[..., 4:], priors)
    assert np.asarray(quality)[0, :, 2].sum() > 0


def test_pictures_without_objects_give_finite_gradients():
    priors = Detector.priors((32, 32), (8, 16))
    outputs = tf.Variable(tf.random.stateless_uniform((2, len(priors.boxes), 7), [1, 2]))
    with tf.GradientTape() as tape:
        loss = DetectionLoss(priors, gamma=2.0)(np.full((2, 3, 5), -1, np.float32), outputs)
    gradient = tape.gradient(loss, outputs)
    assert np.isfinite(loss) and np.isfinite(gradient).all() and not np.any(gradient[..., :4])


def test_a_loss_is_saved_and_made_again():
    priors = Detector.priors((32, 64), (8, 16))
    loss = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(DetectionLoss(priors, gamma=1.5)))
    assert loss.gamma == 1.5 and loss.priors.levels == priors.levels and loss.priors.coding == "distances"
    np.testing.assert_array_equal(loss.priors.boxes, priors.boxes)
