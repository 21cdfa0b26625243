"""Comparison of a sweep: a table and a plot of its configurations, ranked by validation accuracy.

The test accuracy is reported but not used for ranking, because the best of many test results is an optimistic estimate.
"""

import csv
import io
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.runs.folder import RunFolder
from zoo.system.files import write_json, write_text

PICTURE, TABLE = "comparison.png", "comparison.csv"


def write(
    folder: Path, trainings: Iterable[tuple[dict[str, str], int, Path, str, str]]
) -> dict[str, list[dict[str, Any]]]:
    """Write comparison.csv, .json and .png into a sweep's folder, and return their numbers.

    Args:
        folder: Folder of the sweep.
        trainings: One tuple for each training: varied options, seed, run folder, state, last message.

    Returns:
        The `configurations`, best first, and the `failed` trainings with their reasons.
    """
    rows: dict[tuple, dict[str, Any]] = {}
    failed = []
    for varied, seed, path, state, said in trainings:
        row = rows.setdefault(tuple(varied.items()), {"varied": varied, "seeds": [], "validation": [], "test": []})
        if state == "finished":
            metrics = RunFolder(path).read_metrics()
            row["seeds"].append(seed)
            row["validation"].append(metrics["validation"].get("accuracy"))
            row["test"].append(accuracy_of(metrics["test"]))
            row["parameters"] = metrics["parameters"]
        elif state == "failed":
            failed.append({"run": str(path), "reason": said})
    configurations = sorted((_summed(row) for row in rows.values()), key=_rank, reverse=True)
    result = {"configurations": configurations, "failed": failed}
    write_json(folder / "comparison.json", result)
    columns, lines = table(configurations)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([columns, *lines])
    write_text(folder / TABLE, text.getvalue())
    _draw(configurations, folder / PICTURE)
    return result


def accuracy_of(scores: Mapping[str, Any]) -> float:
    """Return the accuracy among the scores; of contrastive models the zero-shot accuracy or image-to-caption recall."""
    names = ("accuracy", "zero_shot_accuracy", "image_to_caption_recall_at_1")
    return next(scores[name] for name in names if name in scores)


def _summed(row: dict[str, Any]) -> dict[str, Any]:
    found = dict(row)
    for split in ("validation", "test"):
        values = [v for v in row[split] if v is not None]
        found[f"{split}_mean"] = statistics.mean(values) if values else None
        found[f"{split}_spread"] = statistics.stdev(values) if len(values) > 1 else None
    return found


def _rank(row: dict[str, Any]) -> tuple[bool, float]:
    value = row["validation_mean"] if row["validation_mean"] is not None else row["test_mean"]
    return value is not None, value or 0.0


def table(configurations: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return the column names and one row of texts for each configuration."""
    varied = list(dict.fromkeys(name for row in configurations for name in row["varied"]))
    columns = [*varied, "seeds", "validation accuracy", "+-", "test accuracy", "+-", "parameters"]
    rows = []
    for row in configurations:
        numbers = [
            "" if row[f"{split}_{what}"] is None else f"{row[f'{split}_{what}']:.4f}"
            for split in ("validation", "test")
            for what in ("mean", "spread")
        ]
        settings = [row["varied"].get(name, "") for name in varied]
        rows.append([*settings, str(len(row["seeds"])), *numbers, str(row.get("parameters", ""))])
    return columns, rows


def _draw(configurations: Sequence[dict[str, Any]], path: Path) -> None:
    """Write a PNG with the accuracies and their mean for each configuration, best at the top."""
    from matplotlib.figure import Figure

    shown = [row for row in configurations if row["seeds"]]
    figure = Figure(figsize=(8, 1.5 + 0.35 * max(len(shown), 1)), layout="constrained")
    axes = figure.subplots()
    for split, colour, offset in (("validation", "#1f5fa8", -0.12), ("test", "#c2571a", 0.12)):
        points = [(v, i + offset) for i, row in enumerate(shown) for v in row[split] if v is not None]
        means = [(row[f"{split}_mean"], i + offset) for i, row in enumerate(shown) if row[f"{split}_mean"] is not None]
        if points:
            axes.plot(*zip(*points, strict=True), "o", color=colour, alpha=0.45, markersize=5)
            axes.plot(*zip(*means, strict=True), "|", color=colour, markersize=14, markeredgewidth=2.5, label=split)
    labels = [
        ", ".join(f"{k.removeprefix('--set ').removeprefix('--')} {v}" for k, v in r["varied"].items()) for r in shown
    ]
    axes.set_yticks(range(len(shown)), [label or "default" for label in labels])
    axes.invert_yaxis()
    axes.set_xlabel("accuracy of each seed, and their mean")
    axes.grid(alpha=0.3, axis="x")
    if shown:
        figure.legend(fontsize=9, loc="outside upper right", ncols=2)
    figure.savefig(path, dpi=120)
