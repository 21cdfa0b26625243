"""Report of several labels: the scores of each label, and how many labels examples have."""

from typing import Any

import numpy as np

from zoo.console.figures import below, tiles
from zoo.data import Dataset
from zoo.reports import page as report
from zoo.reports.page import text as escaped


def page(data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a run that gives several labels.

    Args:
        data: Data with the test examples.
        scores: Scores of the test split.
        shown: Results that `Multilabel.measure` returned.
    """
    within, rows = shown["intervals"], shown["per_class"]
    top = [
        (f"{scores['micro_f1']:.2%}", f"test micro F1{below('micro_f1', within)}"),
        *tiles(scores, ("macro_f1", "mean_ap", "exact_match", "loss"), within),
    ]
    sections = [_table(rows), _counts(data, shown)]
    return report.Page(f"{data.spec.num_classes} labels", top, sections, (("Loss", "loss"),))


def _table(rows: list[dict[str, Any]]) -> str:
    cells = "".join(
        f"<tr><td>{escaped(row['class'])}</td><td class=n>{row['precision']:.2%}</td><td class=n>{row['recall']:.2%}"
        f"</td><td class=n>{row['f1']:.2%}</td><td class=n>{row['threshold']:.3f}</td>"
        f"<td class=n>{row['examples']:,}</td></tr>"
        for row in rows
    )
    return (
        "<section><h2>Each label, test split <small>thresholds chosen on the validation split</small></h2><table><tr>"
        "<th>label<th class=n>precision<th class=n>recall<th class=n>F1<th class=n>threshold<th class=n>examples</tr>"
        f"{cells}</table></section>"
    )


def _counts(data: Dataset, shown: dict[str, Any]) -> str:
    """Return a plot of how many labels examples have, true and predicted."""
    y, p = data.test.y, shown["probabilities"]
    if len(p) != len(y):  # another split was measured
        return ""
    cuts = np.array([row["threshold"] for row in shown["per_class"]])
    true, predicted = y.sum(1).astype(int), (p > cuts).sum(1)
    most = int(max(true.max(), predicted.max())) + 1
    figure = report.figure(6.4, 2.8)
    axes = figure.subplots()
    places = np.arange(most)
    axes.bar(places - 0.2, np.bincount(true, minlength=most), 0.4, label="true", color="#1c2530")
    axes.bar(places + 0.2, np.bincount(predicted, minlength=most), 0.4, label="predicted", color="#2463c5")
    axes.set_xlabel("labels of an example")
    axes.set_ylabel("examples")
    axes.legend(frameon=False)
    drawn = report.svg(figure, "number of labels of an example, true and predicted")
    return f"<section><h2>Labels an example <small>test split</small></h2>{drawn}</section>"
