"""Report of images and captions: recall, similarity of classes, worst mistakes."""

from typing import Any

import numpy as np

from zoo.console.figures import below
from zoo.data import Dataset
from zoo.data.sources.captions import NONE
from zoo.reports import page as report
from zoo.reports.page import text as escaped
from zoo.tasks.pages.classes import MISTAKES, NAMED_CLASSES, png, worst_mistakes
from zoo.tasks.parts.embeddings import BATCH, RANKS, Embedded


def page(data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report of a model of images and captions.

    Args:
        data: Data with the images, the names of classes and the captions.
        scores: Scores of the test split.
        shown: Results that `Contrastive.measure` returned.
    """
    found, within, by = shown["embedded"], shown["intervals"], f"by {scores['answers_by']}"
    tiles = [
        (f"{scores[key]:.2%}", f"{title} recall@{k}, {by}{below(key, within)}")
        for name, title in (("caption_to_image", "caption to image"), ("image_to_caption", "image to caption"))
        for k, key in ((k, f"{name}_recall_at_{k}") for k in RANKS)
    ]
    tiles.append((f"{scores['loss']:.4f}", "test loss"))
    if "temperature" in scores:
        tiles.append((f"{scores['temperature']:.4f}", "temperature"))
    known = data.captions
    if not known.of_class:
        return report.Page(f"{len(known.texts):,} captions", tiles, [_worst_captions(data, found)])
    logits = found.class_scores(known.of_class)
    wrong = round((1 - scores["zero_shot_accuracy"]) * scores["examples"])
    accuracy = f"zero-shot accuracy ({wrong:,} of {scores['examples']:,} wrong)"
    accuracy += below("zero_shot_accuracy", within)
    tiles = [(f"{scores['zero_shot_accuracy']:.2%}", accuracy), *tiles]
    subject = f"{data.spec.num_classes:,} classes, {len(known.texts):,} captions"
    cosine = found.head == "cosine"
    title = "cosine of images and captions" if cosine else "score of images with captions"
    heading = f"<h2>Mean {title} <small>rows: images of a class, columns: captions of a class, test split</small></h2>"
    matrix = _matrix(logits / found.weights[0] if cosine else logits, data)
    return report.Page(subject, tiles, [f"<section>{heading}{matrix}</section>", _mistakes(data, logits, wrong)])


def _matrix(similarity: np.ndarray, data: Dataset) -> str:
    """Return a picture of the mean over the images of each class, from (images, classes) to (classes, classes)."""
    names, y = data.spec.class_names, data.test.y[:, 0]
    means = np.stack(
        [similarity[y == i].mean(0) if (y == i).any() else np.full(len(names), np.nan) for i in range(len(names))]
    )
    drawn = report.figure(7.2, 5.2)
    axes = drawn.subplots()
    shown = axes.imshow(means, cmap="Blues", aspect="auto")
    if len(names) <= NAMED_CLASSES:
        long = max(map(len, names)) > 3
        side = {"rotation": 45, "ha": "right"} if long else {}
        axes.set_xticks(range(len(names)), names, fontsize=9, **side)
        axes.set_yticks(range(len(names)), names, fontsize=9)
        middle = (np.nanmin(means) + np.nanmax(means)) / 2
        for (i, j), value in np.ndenumerate(means):
            colour = "white" if value > middle else "#1c2530"
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=7, color=colour)
    else:
        drawn.colorbar(shown)
    axes.set_xlabel("captions")
    axes.set_ylabel("images")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return report.svg(drawn, "mean similarity of the images of a class to the caption of another")


def _mistakes(data: Dataset, logits: np.ndarray, wrong: int) -> str:
    found = worst_mistakes(logits, data.test.y[:, 0], MISTAKES)
    if not found:
        return "<section><h2>Mistakes</h2>None: every test image is closest to the captions of its class.</section>"
    names = data.spec.class_names
    figures = "".join(
        _figure(
            data.test.x[m["index"]],
            f"{escaped(names[m['true']])}, matched with <i>{escaped(names[m['predicted']])}</i><br>"
            f"<small>{m['probability']:.1%}, test {m['index']}</small>",
        )
        for m in found
    )
    heading = f"<h2>Worst mistakes <small>surest first, of {wrong:,}, zero-shot, test split</small></h2>"
    return f"<section>{heading}<div class=mistakes>{figures}</div></section>"


def _worst_captions(data: Dataset, found: Embedded) -> str:
    """Return the images whose own captions rank lowest among the captions of the split."""
    known, y = data.captions, data.test.y
    offered = np.unique(y[:, 1:][y[:, 1:] != NONE])
    worst: list[
        tuple[int, int, int, int]
    ] = []  # captions ranked above its own, image, its own caption, the best caption
    for start in range(0, len(y), BATCH):
        table = found.scores(found.images[start : start + BATCH], found.texts[offered])
        for i, values in enumerate(table, start):
            own = np.isin(offered, y[i, 1:])
            place = int((~own & (values >= values[own].max())).sum())
            mine = offered[own][values[own].argmax()]
            worst.append((place, i, int(mine), int(offered[values.argmax()])))
    chosen = sorted((row for row in worst if row[0]), reverse=True)[:MISTAKES]
    if not chosen:
        return "<section><h2>Mistakes</h2>None: every test image is closest to a caption of its own.</section>"
    figures = "".join(
        _figure(
            data.test.x[i],
            f"{escaped(known.texts[mine])}, matched with <i>{escaped(known.texts[best])}</i><br>"
            f"<small>{place:,} captions rank above its own, test {i}</small>",
        )
        for place, i, mine, best in chosen
    )
    count = sum(bool(row[0]) for row in worst)
    heading = f"<h2>Worst mistakes <small>of {count:,}, among {len(offered):,} captions, test split</small></h2>"
    return f"<section>{heading}<div class=mistakes>{figures}</div></section>"


def _figure(image: np.ndarray, caption: str) -> str:
    return f"<figure><img alt='test picture' src='{png(image)}'><figcaption>{caption}</figcaption></figure>"
