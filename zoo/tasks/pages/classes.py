"""Report of classes: confusion matrix, scores of each class, the pairs most often confused, the surest mistakes."""

import csv
import heapq
import io
import itertools
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from zoo.console.figures import below, tiles
from zoo.data import Dataset
from zoo.reports import page as report
from zoo.reports.mosaic import drawable, inline, remark
from zoo.reports.page import text as escaped
from zoo.scores.classes import answers_of
from zoo.system.files import write_text

MISTAKES = 24
PAIRS = 10  # most often confused
# Larger matrices are drawn without numbers and names, which would be unreadable.
NAMED_CLASSES = 20
DRAWN = 500  # most rows of the picture of a sparse matrix
MOST_CELLS = 2000  # with values on hovering
LONGEST_NAME = 16  # beside a matrix, in characters of Latin letters


def write_confusion(path: Path, confusion: Any, class_names: Sequence[str]) -> None:
    """Write a confusion matrix as csv, with a row for each true class and a column for each predicted class.

    A sparse one, which has very many classes, is written as a row for each cell that is not zero.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    if isinstance(confusion, np.ndarray):
        writer.writerow(["true \\ predicted", *class_names])
        writer.writerows([name, *row.tolist()] for name, row in zip(class_names, confusion, strict=True))
    else:
        writer.writerow(["true", "predicted", "examples"])
        writer.writerows((class_names[i], class_names[j], n) for i, j, n in _cells(confusion))
    write_text(path, text.getvalue())


def _cells(confusion: Any) -> Iterator[tuple[int, int, int]]:
    """Yield the true class, the predicted class and the examples of each cell that is not zero, in order of rows."""
    from scipy import sparse

    cells = sparse.csr_array(confusion).sorted_indices().tocoo()
    yield from zip(*(values.tolist() for values in (*cells.coords, cells.data)), strict=True)


def _in_groups(confusion: Any) -> tuple[np.ndarray, int]:
    """Return a sparse matrix with neighbouring classes added up, and the number of classes in a group."""
    size = -(-confusion.shape[0] // DRAWN)
    count = -(-confusion.shape[0] // size)
    cells = confusion.tocoo()
    places = [coordinates // size for coordinates in cells.coords]
    return np.bincount(count * places[0] + places[1], cells.data, count**2).reshape(count, count), size


def page(data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a classifier.

    Args:
        data: Data with the examples that mistakes show.
        scores: Scores of the test split.
        shown: Results that `Classification.measure` returned.
    """
    names, confusion, within = data.spec.class_names, shown["confusion"], shown["intervals"]
    wrong = round((1 - scores["accuracy"]) * scores["examples"])
    top = [
        (
            f"{scores['accuracy']:.2%}",
            f"test accuracy ({wrong:,} of {scores['examples']:,} wrong){below('accuracy', within)}",
        ),
        *tiles(scores, ("f1", "precision", "recall", "top_5_accuracy"), within),
        (f"{scores['loss']:.4f}", f"test loss{below('loss', within)}"),
    ]
    sections = [
        f"<div class=two><section><h2>Confusion matrix, test split</h2>{matrix(confusion, names)}</section>"
        f"{_each_class(shown['per_class'])}</div>",
        _pairs(confusion, names),
        _mistakes(data, shown["logits"], scores["accuracy"]),
    ]
    return report.Page(f"{data.spec.num_classes:,} classes", top, sections)


def matrix(confusion: Any, class_names: Sequence[str], counts: bool = True) -> str:
    """Return a confusion matrix as an SVG element.

    Args:
        confusion: Counts, (classes, classes), with a row for each true class; a sparse one is drawn in groups.
        class_names: Names of the classes.
        counts: Whether cells show counts; otherwise shares of their row.
    """
    from matplotlib.patches import Rectangle

    count, group = len(class_names), 1
    named = count <= NAMED_CLASSES
    if not isinstance(confusion, np.ndarray):
        confusion, group = _in_groups(confusion)
    figure = report.figure(5.2, 4.6)
    axes = figure.subplots()
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    # On a linear scale, rare mistakes would be white.
    axes.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=1, aspect="equal")
    if named:
        shown = [shortened(name) for name in class_names]
        long = max(map(len, shown)) > 3
        axes.set_xticks(
            range(count),
            shown,
            rotation=45 if long else 0,
            ha="right" if long else "center",
            fontsize=9,
        )
        axes.set_yticks(range(count), shown, fontsize=9)
        for (i, j), n in np.ndenumerate(confusion):
            if n:
                axes.text(
                    j,
                    i,
                    f"{n:,}" if counts else f"{share[i, j]:.0%}",
                    ha="center",
                    va="center",
                    fontsize=8 if count <= 12 else 6,
                    color="white" if share[i, j] > 0.4 else "#1c2530",
                )
    of = f", groups of {group} classes" if group > 1 else ""
    axes.set_xlabel(f"predicted{of}")
    axes.set_ylabel(f"true{of}")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    for i, j, n in _cells(confusion) if np.count_nonzero(share) <= MOST_CELLS else ():
        cell = f"true {_group(class_names, i, group)}, predicted {_group(class_names, j, group)}: {n:,}"
        told = cell if counts else f"{cell} ({share[i, j]:.1%})"
        colour = axes.images[0].cmap(np.sqrt(share[i, j]))
        axes.add_patch(Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=colour, linewidth=0, label=told))
    return report.svg(figure, f"confusion matrix of {count:,} classes; confusion_matrix.csv has its numbers")


def _group(class_names: Sequence[str], index: int, size: int) -> str:
    """Return the names of the classes that a row of a matrix stands for."""
    first, last = class_names[index * size], class_names[min((index + 1) * size, len(class_names)) - 1]
    return first if size == 1 else f"{first} to {last}"


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """Return a name, cut to a width in Latin letters; Chinese, Japanese and Korean characters are twice as wide."""
    wide = [2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name]
    if sum(wide) <= most:
        return name
    ends = itertools.accumulate(wide)
    return name[: sum(end < most for end in ends)] + "…"


def _each_class(per_class: Sequence[dict[str, Any]]) -> str:
    """Return the table of the classes; that of many classes scrolls, and begins with the worst."""
    if len(per_class) <= NAMED_CLASSES:
        return f"<section><h2>Each class, test split</h2>{_class_table(per_class)}</section>"
    rows = sorted(per_class, key=lambda row: row["f1"])
    return (
        "<section><h2>Each class, test split <small>worst F1 first</small></h2>"
        f"<div class=long tabindex=0 role=region aria-label='scores of each class'>{_class_table(rows)}</div></section>"
    )


def _class_table(per_class: Sequence[dict[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{escaped(row['class'])}</td><td class=n>{row['precision']:.2%}</td>"
        f"<td class=n>{row['recall']:.2%}</td><td class=n>{row['f1']:.2%}</td><td class=n>{row['examples']:,}</td></tr>"
        for row in per_class
    )
    return (
        "<table><tr><th>class<th class=n>precision<th class=n>recall<th class=n>F1<th class=n>examples</tr>"
        f"{rows}</table>"
    )


def _pairs(confusion: np.ndarray, class_names: Sequence[str]) -> str:
    found = confused_pairs(confusion, PAIRS)
    if not found:
        return ""
    rows = "".join(
        f"<tr><td>{escaped(class_names[p['true']])}</td><td>{escaped(class_names[p['predicted']])}</td>"
        f"<td class=n>{p['examples']:,}</td><td class=n>{p['share']:.2%}</td></tr>"
        for p in found
    )
    return (
        "<section><h2>Most confused classes <small>test split</small></h2><table><tr><th>true<th>predicted"
        f"<th class=n>examples<th class=n>of the true class</tr>{rows}</table></section>"
    )


def confused_pairs(confusion: Any, count: int) -> list[dict[str, Any]]:
    """Return the pairs of a true class and a wrong answer that are most frequent, the most frequent first.

    Args:
        confusion: Counts, (classes, classes), with a row for each true class.
        count: Maximum number of pairs.

    Returns:
        True class, predicted class, number of examples and their share of the true class for each pair.
    """
    true = confusion.sum(1)
    wrong = ((i, j, n) for i, j, n in _cells(confusion) if i != j)
    return [
        {"true": i, "predicted": j, "examples": n, "share": float(n / true[i])}
        for i, j, n in heapq.nsmallest(count, wrong, key=lambda cell: -cell[2])
    ]


def _mistakes(data: Dataset, logits: np.ndarray, accuracy: float) -> str:
    spec = data.spec
    if spec.per_step:
        return ""
    found = worst_mistakes(logits, data.test.y, MISTAKES)
    if not found:
        return "<section><h2>Mistakes</h2>None: every test example is classified correctly.</section>"
    wrong = round((1 - accuracy) * len(data.test))
    shown = remark(spec.input_shape[-1]) if spec.kind == "image" else ""
    heading = f"<section><h2>Worst mistakes <small>surest first, of {wrong:,}, test split{shown}</small></h2>"
    names = spec.class_names
    if spec.kind == "image":
        figures = "".join(
            f"<figure><img alt='test example {m['index']}' src='{png(data.test.x[m['index']])}'>"
            f"<figcaption>{escaped(names[m['true']])}, predicted <i>{escaped(names[m['predicted']])}</i><br>"
            f"<small>{m['probability']:.1%}, test {m['index']}</small></figcaption></figure>"
            for m in found
        )
        return f"{heading}<div class=mistakes>{figures}</div></section>"
    show_text = data.vocabulary is not None
    rows = "".join(
        f"<tr><td class=n>{m['index']}</td><td>{escaped(names[m['true']])}</td>"
        f"<td>{escaped(names[m['predicted']])}</td><td class=n>{m['probability']:.1%}</td>"
        + (f"<td class=text>{escaped(data.vocabulary.decode(data.test.x[m['index']]))}</td>" if show_text else "")
        + "</tr>"
        for m in found
    )
    text = "<th>text as tokens" if show_text else ""
    columns = f"<th class=n>test<th>true<th>predicted<th class=n>probability{text}"
    return f"{heading}<table><tr>{columns}</tr>{rows}</table></section>"


def worst_mistakes(logits: np.ndarray, y: np.ndarray, count: int) -> list[dict[str, Any]]:
    """Return the wrong predictions with the highest probabilities, the surest first.

    Args:
        logits: Logits, (examples, classes).
        y: Labels, (examples,).
        count: Maximum number of mistakes.

    Returns:
        Index, true class, predicted class and its probability for each.
    """
    answers, sure = answers_of(logits)
    wrong = np.flatnonzero(answers != y)
    order = wrong[np.argsort(-sure[wrong], kind="stable")][:count]
    return [
        {"index": int(i), "true": int(y[i]), "predicted": int(answers[i]), "probability": float(sure[i])} for i in order
    ]


def png(image: np.ndarray) -> str:
    """Return an image, bytes or pixels in [0, 1], as the source of an <img>."""
    image = drawable(image)
    return inline(image[..., 0] if image.shape[-1] == 1 else image)
