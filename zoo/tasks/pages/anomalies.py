"""Report of the detection of anomalies: distributions of scores, ROC curve, each class, and the worst examples."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.console.figures import below, tiles
from zoo.data import Dataset, DataSpec
from zoo.reports import page as report
from zoo.reports.mosaic import drawable, inline, remark
from zoo.reports.page import text as escaped
from zoo.scores import roc

CURVES = (("Mean squared error of normal examples", "loss"),)
BINS = 60
# Features of a series that are drawn; more would not be told apart.
DRAWN = 4
# Columns of the grid of examples.
COLUMNS = "grid-template-columns:repeat(auto-fill,minmax(230px,1fr))"
BLUE, RED, GREY = "#2463c5", "#b3261e", "#64707d"


def page(data: Dataset, scores: dict[str, Any], shown: dict[str, Any]) -> report.Page:
    """Return the report.

    Args:
        data: Data with the names of the classes.
        scores: Scores of the test split.
        shown: Results that `Anomaly.measure` returned.
    """
    within, anomalous = shown["intervals"], shown["anomalous"]
    count = int(anomalous.sum())
    top = tiles(scores, ("auc", "partial_auc"), within)
    for name, number, what in (
        ("detected", count, "test anomalies detected"),
        ("false_alarms", len(anomalous) - count, "normal test examples are false alarms"),
    ):
        if name in scores:
            top.append((f"{scores[name]:.2%}", f"of {number:,} {what}{below(name, within)}"))
    share = f"{data.spec.false_alarm_rate:.3g} of the normal validation examples"
    top.append((f"{scores['threshold']:.4g}", f"threshold, for {share}"))
    both = 0 < count < len(anomalous)
    drawn = [_distribution(shown, scores["threshold"]), *([_roc(shown, scores)] if both else [])]
    sections = [f"<div class=two>{''.join(drawn)}</div>", _classes(shown["detected_by_class"]), _worst(data, shown)]
    return report.Page(f"anomalies; normal: {', '.join(data.spec.normal)}", top, sections, CURVES)


def _distribution(shown: Mapping[str, Any], limit: float) -> str:
    errors, anomalous = shown["errors"], shown["anomalous"]
    positive = errors[errors > 0]
    low, high = (float(end) for end in (positive.min(), positive.max())) if len(positive) else (1e-3, 1.0)
    low, high = min(low, limit or low), max(high, limit, low * 1.01)
    figure = report.figure(5.2, 3.6)
    axes = figure.subplots()
    edges = np.geomspace(low, high, BINS)
    for kind, name, colour in ((False, "normal", BLUE), (True, "anomalous", RED)):
        own = np.clip(errors[anomalous == kind], low, high)
        if len(own):
            weights = np.full(len(own), 1 / len(own))
            axes.hist(own, edges, weights=weights, color=colour, alpha=0.55, label=f"{name} ({len(own):,})")
    axes.axvline(limit, color=GREY, linestyle="--", linewidth=1, label="threshold")
    axes.set_xscale("log")
    axes.set_xlabel("score: mean squared error of the reconstruction")
    axes.set_ylabel("share of examples")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    return f"<section><h2>Scores, test split</h2>{report.svg(figure, 'distribution of the scores')}</section>"


def _roc(shown: Mapping[str, Any], scores: Mapping[str, Any]) -> str:
    curve = roc.curve(shown["errors"], shown["anomalous"])
    figure = report.figure(5.2, 3.6)
    axes = figure.subplots()
    axes.plot(curve.false_alarms, curve.detected, color=BLUE, label=f"AUC {scores['auc']:.4f}")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8, linestyle=":", label="chance")
    axes.axvspan(0, roc.PARTIAL, color=BLUE, alpha=0.08, label=f"partial AUC {scores['partial_auc']:.4f}")
    axes.plot([scores["false_alarms"]], [scores["detected"]], "o", color=RED, label="threshold")
    axes.set_xlabel("false alarms")
    axes.set_ylabel("anomalies detected")
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    drawn = report.svg(figure, "true against false positive rate")
    return f"<section><h2>Receiver operating characteristic, test split</h2>{drawn}</section>"


def _classes(rows: list[dict[str, Any]]) -> str:
    cells = "".join(
        f"<tr><td>{escaped(row['class'])}<td>{'normal' if row['normal'] else 'anomalous'}"
        f"<td class=n>{row['median_score']:.4g}<td class=n>{row['above']:.2%}<td class=n>{row['examples']:,}</tr>"
        for row in rows
        if row["examples"]
    )
    return (
        "<section><h2>Each class, test split</h2><table><tr><th>class<th>kind<th class=n>median score"
        f"<th class=n>above the threshold<th class=n>examples</tr>{cells}</table></section>"
    )


def _worst(data: Dataset, shown: Mapping[str, Any]) -> str:
    drawn = "frames, and the error at each time" if data.spec.kind == "sound" else "input, and its reconstruction"
    if data.spec.kind == "image":
        drawn += remark(data.spec.input_shape[-1])
    parts = []
    for kind, heading, order in (
        (True, "Anomalies that look most normal", "lowest scores first"),
        (False, "Normal examples that look most anomalous", "highest scores first"),
    ):
        rows = [row for row in shown["worst"] if row["anomalous"] == kind]
        if rows:
            figures = "".join(_example(data, row) for row in rows)
            parts.append(
                f"<section><h2>{heading} <small>{order}; {drawn}</small></h2>"
                f"<div class=mistakes style='{COLUMNS}'>{figures}</div></section>"
            )
    return "".join(parts)


def _example(data: Dataset, row: Mapping[str, Any]) -> str:
    name = data.spec.class_names[data.test.y[row["index"]]] if row["index"] < len(data.test) else ""
    caption = (
        f"<figcaption>{escaped(name)}, <i>{row['score']:.4g}</i><br><small>test {row['index']}</small></figcaption>"
    )
    drawn = {"image": _pictures, "sound": _sound}.get(data.spec.kind, _lines)
    return f"<figure>{drawn(data.spec, row)}{caption}</figure>"


def _pictures(spec: DataSpec, row: Mapping[str, Any]) -> str:
    """Return an input and its reconstruction side by side."""
    both = np.concatenate([row[name] for name in ("target", "output")], axis=1)
    pixels = drawable(both)
    return f"<img alt='test example' src='{inline(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)}'>"


def _sound(spec: DataSpec, row: Mapping[str, Any]) -> str:
    """Return the frames of a clip as a picture, low columns at the bottom, and below it the error at each time."""
    figure = report.figure(2.6, 1.9)
    above, below = figure.subplots(2, height_ratios=(2, 1), sharex=True)
    seconds = spec.input_shape[0] / spec.rate
    above.imshow(row["target"].T, origin="lower", aspect="auto", extent=(0, seconds, 0, row["target"].shape[1]))
    above.set_yticks([])
    below.plot(np.linspace(0, seconds, len(row["output"])), row["output"], color=RED, linewidth=0.9)
    below.set_xlabel("seconds", fontsize=5)
    for axes in (above, below):
        axes.tick_params(labelsize=5, length=2)
    below.spines[["top", "right"]].set_visible(False)
    return report.svg(figure, "frames of the clip, and its error at each time")


def _lines(spec: DataSpec, row: Mapping[str, Any]) -> str:
    """Return the features of an input as lines, and their reconstructions as dashed ones."""
    target, output = (np.asarray(row[name]) for name in ("target", "output"))
    if spec.kind == "vector":
        target, output = target[:, None], output[:, None]
    errors = np.square(target - output).mean(0)
    chosen = np.sort(np.argsort(-errors)[:DRAWN])
    figure = report.figure(2.6, 1.7)
    axes = figure.subplots()
    for place, feature in enumerate(chosen):
        name = spec.columns[feature] if feature < len(spec.columns) else None
        axes.plot(target[:, feature], color=f"C{place}", linewidth=0.9, label=name)
        axes.plot(output[:, feature], color=f"C{place}", linewidth=0.9, linestyle="--")
    if spec.columns:
        axes.legend(frameon=False, fontsize=5)
    axes.tick_params(labelsize=5, length=2)
    axes.spines[["top", "right"]].set_visible(False)
    return report.svg(figure, "features with the largest errors, and their reconstructions")
