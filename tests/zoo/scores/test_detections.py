"""Average precision against pycocotools, and suppression against TensorFlow."""

import contextlib
import io

import numpy as np
import pytest
import tensorflow as tf

from zoo.models import Detector
from zoo.scores import detections
from zoo.scores.detections import Found

NAMES = ("a", "b", "c")


def made(pictures=20, seed=0):
    """Return detections that are objects moved at random, with some missing and some invented, and the objects."""
    rng = np.random.default_rng(seed)
    truth, found = np.full((pictures, 8, 5), -1, np.float32), []
    for picture in truth:
        count = rng.integers(0, 8)
        corner, side = rng.uniform(0, 150, (count, 2)), rng.uniform(8, 140, (count, 2))
        picture[:count, :4] = np.concatenate([corner, corner + side], -1)
        picture[:count, 4] = rng.integers(0, 3, count)
        kept = rng.random(count) < 0.8
        boxes = picture[:count, :4][kept] + rng.normal(0, 4, (kept.sum(), 4))
        classes = picture[:count, 4][kept]
        more = rng.uniform(0, 150, (rng.integers(0, 4), 2))
        boxes = np.concatenate([boxes, np.concatenate([more, more + 30], -1)])
        boxes[:, 2:] = np.maximum(boxes[:, 2:], boxes[:, :2] + 1)
        classes = np.concatenate([classes, rng.integers(0, 3, len(more))]).astype(np.int32)
        scores = np.sort(rng.random(len(boxes)))[::-1]
        found.append(Found(boxes.astype(np.float32), classes, scores.astype(np.float32)))
    return found, truth


def test_scores_are_those_of_pycocotools():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    found, truth = made()
    scores, judged = detections.evaluated(found, truth, NAMES)
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO()
        known.dataset = detections._ground_truth(truth, NAMES)
        known.createIndex()
        rows = [
            {"image_id": i, "category_id": int(c), "bbox": detections._by_size(b), "score": float(s)}
            for i, each in enumerate(found)
            for b, c, s in zip(each.boxes, each.classes, each.scores, strict=True)
        ]
        theirs = COCOeval(known, known.loadRes(rows), "bbox")
        theirs.evaluate()
        theirs.accumulate()
        theirs.summarize()
    expected = dict(
        zip(("map", "map_50", "map_75", "map_small", "map_medium", "map_large"), theirs.stats, strict=False)
    )
    expected["detection_recall"] = theirs.stats[8]
    assert 0.2 < expected["map"] < 0.9 and set(scores) == set(expected)
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-6), name
    for index, row in enumerate(detections.per_class(judged, NAMES)):
        assert row["map_50"] == pytest.approx(theirs.eval["precision"][0, :, index, 0, -1].mean(), abs=1e-6)
        assert row["examples"] == (truth[..., 4] == index).sum()


def test_nothing_found_and_nothing_to_find_have_scores():
    found, truth = made()
    nothing = [Found(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))] * len(truth)
    assert detections.evaluated(nothing, truth, NAMES)[0]["map"] == 0
    scores, judged = detections.evaluated(found, np.full_like(truth, -1), NAMES)
    assert scores["map"] == 0 and [row["map"] for row in detections.per_class(judged, NAMES)] == [0, 0, 0]


def test_suppression_within_each_class_is_that_of_tensorflow():
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 60, (200, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(5, 40, (200, 2))], -1).astype(np.float32)
    classes, scores = rng.integers(0, 3, 200), np.sort(rng.random(200).astype(np.float32))[::-1]
    kept = detections.suppressed(boxes, classes, 0.5)
    expected = [
        np.flatnonzero(own)[tf.image.non_max_suppression(boxes[own], scores[own], 200, 0.5)]
        for own in (classes == kind for kind in range(3))
    ]
    assert 10 < len(kept) < 190 and sorted(np.concatenate(expected)) == kept.tolist()


def test_detections_are_cut_at_the_edges_and_ordered_by_score():
    priors = Detector.priors((32, 32), (8, 16))
    rng = np.random.default_rng(0)
    raw = rng.uniform(0, 6, (2, len(priors.boxes), 4)).astype(np.float32)
    logits = rng.normal(-2, 2, (2, len(priors.boxes), 3)).astype(np.float32)
    for each in detections.detected(raw, logits, priors, (32, 32), least=0.2, most=7):
        assert len(each.boxes) <= 7 and (np.diff(each.scores) <= 0).all() and (each.scores >= 0.2).all()
        assert (each.boxes >= 0).all() and (each.boxes <= 32).all()
