"""Report of a detector: average precision of each class and size, precision-recall curves, and the worst misses."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.console.figures import tiles
from zoo.data import Dataset
from zoo.reports import boxes as drawing
from zoo.reports import page as report
from zoo.reports.mosaic import inline
from zoo.reports.page import text as escaped
from zoo.scores.detections import Found

WORST = 12
# Overlap from which an object counts as found in the pictures, and lowest score of a detection that is drawn.
OVERLAP, LEAST_SCORE = 0.5, 0.3
# Side in pixels to which smaller pictures are enlarged.
SIDE = 384
NAMED_CLASSES = 20


def page(data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a detector.

    Args:
        data: Data with the pictures that misses are shown in.
        scores: Scores of the test split.
        shown: Results that `Detection.measure` returned.
    """
    top = tiles(scores, ("map_50", "map", "map_75", "detection_recall", "map_small", "map_medium", "map_large"), {})
    sections = [
        f"<div class=two><section><h2>Precision and recall <small>IoU 0.5, test split</small></h2>"
        f"{_curves(shown, data.spec.class_names)}</section>"
        f"<section><h2>Each class, test split</h2>{_class_table(shown['per_class'])}"
        "<p><small>Sizes are areas in pixels of the model's input: small below 32², large from 96².</small></p>"
        "</section></div>",
        _misses(data, shown["found"]),
        f"<section><h2>Scores without an interval</h2>{escaped(shown['no_intervals'])}.</section>",
    ]
    curves = (("Mean average precision, validation", "map"), ("Loss", "loss"))
    return report.Page(f"objects of {data.spec.num_classes:,} classes", top, sections, curves)


def _curves(shown: dict[str, Any], class_names: Sequence[str]) -> str:
    figure = report.figure(5.2, 4.2)
    axes = figure.subplots()
    judged = shown["judged"]
    for index, row in enumerate(shown["per_class"][:NAMED_CLASSES]):
        if row["examples"]:
            red, green, blue = drawing.colour(index)
            precision = judged.eval["precision"][0, :, index, 0, -1]
            axes.plot(
                np.linspace(0, 1, len(precision)), precision, label=row["class"],
                color=(red / 255, green / 255, blue / 255),
            )  # fmt: skip
    axes.set_xlabel("recall")
    axes.set_ylabel("precision")
    axes.set_xlim(0, 1.02)
    axes.set_ylim(0, 1.02)
    if axes.lines:
        axes.legend(fontsize=8, frameon=False, loc="lower left")
    return report.svg(figure, "precision against recall of each class")


def _class_table(per_class: Sequence[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escaped(row['class'])}</td><td class=n>{row['map_50']:.2%}</td><td class=n>{row['map']:.2%}</td>"
        f"<td class=n>{row['examples']:,}</td></tr>"
        for row in per_class
    )
    return f"<table><tr><th>class<th class=n>AP at IoU 0.5<th class=n>AP<th class=n>objects</tr>{rows}</table>"


def _misses(data: Dataset, found: Sequence[Found]) -> str:
    names = data.spec.class_names
    order = worst(found, data.test.y)
    if not order:
        return "<section><h2>Misses</h2>None: every test object is found, and nothing else.</section>"
    figures = []
    for index, missed, wrong in order[:WORST]:
        picture = np.asarray(data.test.x[index])
        truth = data.test.y[index]
        true = [
            {"label": names[int(kind)], "box": box}
            for box, kind in zip(truth[:, :4].tolist(), truth[:, 4].tolist(), strict=True)
            if kind >= 0
        ]
        each = found[index]
        sure = each.scores >= LEAST_SCORE
        answers = [
            {"label": names[kind], "box": box, "probability": score}
            for box, kind, score in zip(
                each.boxes[sure].tolist(), each.classes[sure].tolist(), each.scores[sure].tolist(), strict=True
            )
        ]
        factor = max(1, -(-SIDE // min(picture.shape[:2])))
        shown = np.concatenate([_drawn(picture, objects, names, factor) for objects in (true, answers)], axis=1)
        figures.append(
            f"<figure><img alt='test picture {index} with boxes' src='{inline(shown)}'>"
            f"<figcaption>test {index}: {missed} missed, <i>{wrong} wrong</i></figcaption></figure>"
        )
    return (
        f"<section><h2>Worst misses <small>left the truth, right what is found with a score of {LEAST_SCORE} or more;"
        f" {len(order):,} pictures have one, test split</small></h2><div class=two>{''.join(figures)}</div></section>"
    )


def _drawn(picture: np.ndarray, objects: list[dict[str, Any]], names: Sequence[str], factor: int) -> np.ndarray:
    large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    moved = [{**one, "box": [side * factor for side in one["box"]]} for one in objects]
    return drawing.drawn(large, moved, names)


def worst(found: Sequence[Found], objects: np.ndarray) -> list[tuple[int, int, int]]:
    """Return (picture, missed objects, wrong detections) of the pictures that have some, most first.

    Args:
        found: Detections of each picture.
        objects: Objects (pictures, most, 5); see `zoo.scores.detections.evaluated`.
    """
    rows = []
    for index, (each, truth) in enumerate(zip(found, objects, strict=True)):
        true, sure = truth[truth[:, 4] >= 0], each.scores >= LEAST_SCORE
        left = list(range(len(true)))
        wrong = 0
        for box, kind in zip(each.boxes[sure], each.classes[sure], strict=True):
            overlaps = [_iou(box, true[i, :4]) if true[i, 4] == kind else 0.0 for i in left]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= OVERLAP:
                del left[best]
            else:
                wrong += 1
        if left or wrong:
            rows.append((index, len(left), wrong))
    return sorted(rows, key=lambda row: (-row[1] - row[2], row[0]))


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    union = float(np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2])) - shared
    return shared / union if union > 0 else 0.0
