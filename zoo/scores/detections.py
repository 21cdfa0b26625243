"""Detections: from the raw outputs of a detector to boxes, and their average precision (COCO)."""

import contextlib
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.objectives.priors import Priors

# What is left out before the suppression, and after it: scores below the first, all but so many best, overlaps with a
# better box of the class above this, all but so many.
LEAST_SCORE, CANDIDATES, OVERLAP, MOST = 0.001, 1000, 0.5, 100
# Areas of small and medium objects end here, in pixels (Lin et al., 2014).
SMALL, MEDIUM = 32**2, 96**2
SIZES = ("small", "medium", "large")


@dataclass(frozen=True)
class Found:
    """The detections of a picture, best first.

    Args:
        boxes: x1, y1, x2, y2 in pixels of the model's input, (detections, 4) float32.
        classes: Class indices, (detections,) int32.
        scores: Probabilities, (detections,) float32.
    """

    boxes: np.ndarray
    classes: np.ndarray
    scores: np.ndarray


def detected(
    raw_boxes: np.ndarray,
    logits: np.ndarray,
    priors: Priors,
    size: tuple[int, int],
    *,
    least: float = LEAST_SCORE,
    overlap: float = OVERLAP,
    most: int = MOST,
) -> list[Found]:
    """Return the detections of pictures, after non-maximum suppression within each class.

    Args:
        raw_boxes: Raw boxes (pictures, places, 4).
        logits: Logits of the scores, (pictures, places, classes).
        priors: What raw boxes are relative to.
        size: (height, width) of the model's input, at whose edges boxes are cut.
        least: Lowest score.
        overlap: Largest overlap of two boxes of a class.
        most: Largest number of detections of a picture.
    """
    return [_of_one(*one, priors, size, least, overlap, most) for one in zip(raw_boxes, logits, strict=True)]


def _of_one(
    raw: np.ndarray,
    logits: np.ndarray,
    priors: Priors,
    size: tuple[int, int],
    least: float,
    overlap: float,
    most: int,
) -> Found:
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float32), -60, 60)))
    place, kind = np.nonzero(scores >= least)
    values = scores[place, kind]
    order = np.argsort(-values, kind="stable")[:CANDIDATES]
    place, kind, values = place[order], kind[order], values[order]
    chosen = dataclasses.replace(priors, boxes=priors.boxes[place])
    boxes = np.asarray(chosen.decoded(raw[place].astype(np.float32)), np.float32).reshape(-1, 4)
    boxes = np.clip(boxes, 0, np.array([size[1], size[0], size[1], size[0]], np.float32))
    kept = suppressed(boxes, kind, overlap)[:most]
    return Found(boxes[kept], kind[kept].astype(np.int32), values[kept])


def suppressed(boxes: np.ndarray, classes: np.ndarray, overlap: float) -> np.ndarray:
    """Return the indices of the boxes that overlap no better one of their class by more than a share.

    Args:
        boxes: Boxes (count, 4), best first.
        classes: Class of each, (count,).
        overlap: Largest intersection over union.
    """
    if not len(boxes):
        return np.zeros(0, np.int64)
    areas = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    low, high = (edge(boxes[:, None], boxes[None]) for edge in (np.maximum, np.minimum))
    shared = np.prod(np.maximum(high[..., 2:] - low[..., :2], 0), axis=-1)
    union = np.maximum(areas[:, None] + areas[None] - shared, 1e-9)
    beaten = (shared / union > overlap) & (classes[:, None] == classes[None])
    kept = np.ones(len(boxes), bool)
    for i in range(len(boxes)):
        if kept[i]:
            kept[i + 1 :] &= ~beaten[i, i + 1 :]
    return np.flatnonzero(kept)


def evaluated(found: Sequence[Found], objects: np.ndarray, class_names: Sequence[str]) -> tuple[dict[str, Any], Any]:
    """Return the scores of detections as COCO defines them, and the evaluation with its precisions.

    Args:
        found: Detections of each picture.
        objects: Objects (pictures, most, 5): x1, y1, x2, y2 and the class, -1 where there is none.
        class_names: Names of the classes.

    Returns:
        `map` (mean over IoU from 0.5 to 0.95), `map_50`, `map_75`, mean `detection_recall` of 100 detections, and
        `map_small`, `map_medium` and `map_large` where there are such objects; and the evaluation of faster_coco_eval,
        None without an object.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    truth = _ground_truth(objects, class_names)
    if not truth["annotations"]:
        return {"map": 0.0, "map_50": 0.0, "map_75": 0.0, "detection_recall": 0.0}, None
    rows = [
        {"image_id": i, "category_id": int(c), "bbox": _by_size(b), "score": float(s)}
        for i, each in enumerate(found)
        for b, c, s in zip(each.boxes, each.classes, each.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        known = COCO(truth)
        answers = known.loadRes(rows) if rows else COCO({**truth, "annotations": []})
        judged = COCOeval_faster(known, answers, "bbox", print_function=lambda *text: None)
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    stats = [float(x) for x in judged.stats[:12]]
    scores = {"map": stats[0], "map_50": stats[1], "map_75": stats[2], "detection_recall": stats[8]}
    sizes = {f"map_{name}": value for name, value in zip(SIZES, stats[3:6], strict=True) if value >= 0}
    return scores | sizes, judged


def per_class(judged: Any, class_names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the average precisions and the number of objects of each class."""
    rows = []
    for index, name in enumerate(class_names):
        count = sum(one["category_id"] == index for one in judged.cocoGt.dataset["annotations"]) if judged else 0
        precision = judged.eval["precision"][:, :, index, 0, -1] if count else np.zeros((1, 1))
        rows.append(
            {"class": name, "map": float(precision.mean()), "map_50": float(precision[0].mean()), "examples": count}
        )
    return rows


def _ground_truth(objects: np.ndarray, class_names: Sequence[str]) -> dict[str, Any]:
    rows = []
    for i, picture in enumerate(objects):
        for box in picture[picture[:, 4] >= 0]:
            x, y, width, height = _by_size(box[:4])
            rows.append(
                {"id": len(rows) + 1, "image_id": i, "category_id": int(box[4]), "bbox": [x, y, width, height],
                 "area": width * height, "iscrowd": 0}
            )  # fmt: skip
    categories = [{"id": i, "name": name} for i, name in enumerate(class_names)]
    return {"images": [{"id": i} for i in range(len(objects))], "annotations": rows, "categories": categories}


def _by_size(box: np.ndarray) -> list[float]:
    """Return x, y, width and height of x1, y1, x2 and y2."""
    x1, y1, x2, y2 = map(float, box)
    return [x1, y1, x2 - x1, y2 - y1]
