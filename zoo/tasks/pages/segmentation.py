"""Report of masks: scores of each class, the classes that are mistaken for each other, the worst pictures."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.config.masks import IGNORED
from zoo.console.figures import tiles
from zoo.data import Dataset
from zoo.data.images import as_bytes
from zoo.reports import masks as drawing
from zoo.reports import page as report
from zoo.reports.mosaic import inline
from zoo.reports.page import text as escaped
from zoo.tasks.pages.classes import matrix, write_confusion

__all__ = ["page", "write_confusion"]

_FIGURES = ("miou", "pixel_accuracy", "boundary_f1", "loss")


def page(data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a model of masks.

    Args:
        data: Data with the pictures that are shown.
        scores: Scores of the test split.
        shown: Results that `Segmentation.measure` returned.
    """
    names = data.spec.class_names
    sections = [
        f"<div class=two><section><h2>Each class, test split</h2>{_class_table(shown['per_class'])}</section>"
        f"<section><h2>Pixels of each class, test split</h2>{matrix(shown['confusion'], names, counts=False)}"
        "</section></div>",
        _worst(data, shown["worst"], shown["masks"]),
    ]
    curves = (("Mean IoU", "miou"), ("Loss", "loss"))
    return report.Page(
        f"{data.spec.num_classes:,} classes", tiles(scores, _FIGURES, shown["intervals"]), sections, curves
    )


def _class_table(per_class: Sequence[dict[str, Any]]) -> str:
    colours = drawing.palette(len(per_class))
    rows = "".join(
        f"<tr><td><span style='color:rgb({r},{g},{b})'>&#9632;</span> {escaped(row['class'])}</td>"
        f"<td class=n>{'absent' if row['iou'] is None else format(row['iou'], '.2%')}</td>"
        f"<td class=n>{row['recall']:.2%}</td><td class=n>{row['precision']:.2%}</td>"
        f"<td class=n>{row['pixels']:.2%}</td><td class=n>{row['examples']:,}</td></tr>"
        for row, (r, g, b) in zip(per_class, colours.tolist(), strict=True)
    )
    return (
        "<table><tr><th>class<th class=n>IoU<th class=n>recall<th class=n>precision<th class=n>of all pixels"
        f"<th class=n>pictures</tr>{rows}</table>"
    )


def _worst(data: Dataset, chosen: Sequence[tuple[int, float]], masks: np.ndarray) -> str:
    names, test = data.spec.class_names, data.test
    rows = []
    for (index, iou), found in zip(chosen, masks, strict=True):
        picture, truth = as_bytes(np.asarray(test.x[index])), np.asarray(test.y[index])
        wrong = (found != truth) & (truth != IGNORED)
        shown = (
            ("picture", picture if picture.shape[-1] == 3 else picture[..., 0]),
            ("truth", drawing.over(picture, truth, names)),
            ("answer", drawing.over(picture, found, names)),
            ("wrong pixels", drawing.marked(picture, wrong)),
        )
        figures = "".join(
            f"<figure><img alt='{title}' src='{inline(np.ascontiguousarray(image))}'><figcaption>{title}"
            f"{f'<br><small>test {index}, mean IoU {iou:.1%}</small>' if title == 'picture' else ''}</figcaption>"
            "</figure>"
            for title, image in shown
        )
        rows.append(f"<div style='display:grid;grid-template-columns:repeat(4,1fr);gap:12px'>{figures}</div>")
    return f"<section><h2>Worst pictures <small>lowest IoU first, test split</small></h2>{''.join(rows)}</section>"
