"""The picture of a recipe: the score against bytes after each of its stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.sweep.comparison import accuracy_of
from zoo.system.files import replacing

# What is not a share of right answers, and its name on the axis.
_SCORES = {"psnr": "dB to the run's own images", "mrr": "filtered MRR of test questions, %"}


def draw(rows: Sequence[Mapping[str, Any]], precision: str, path: Path) -> None:
    """Write a PNG with a point for each stage, joined in their order, for the file as it is and gzipped.

    Args:
        rows: stage, bytes and gzip_bytes of each, and its accuracy, of images psnr, of triples mrr.
        precision: of the files.
        path: of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for key, label, colour in (("bytes", "file", "#1f5fa8"), ("gzip_bytes", "gzipped", "#c2571a")):
        x, y = [row[key] / 1000 for row in rows], [_height(row) for row in rows]
        axes.plot(x, y, "o-", color=colour, label=label)
        for i, row in enumerate(rows):
            if key == "gzip_bytes":
                above = 8 if i % 4 in (1, 2) else -16  # neighbours often lie close together
                name = row["stage"].partition("(")[0]
                axes.annotate(name, (x[i], y[i]), (6, above), textcoords="offset points", fontsize=9)
    axes.margins(0.08, 0.12)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.xaxis.set_minor_formatter(lambda value, _: f"{value:g}" if f"{value:.0e}"[0] in "25" else "")
    axes.set_xlabel(f"kilobytes, in {precision} (logarithmic)")
    of_classes = "next tokens of the test texts that are right, %" if "tokens" in rows[0] else "test accuracy, %"
    axes.set_ylabel(next((label for name, label in _SCORES.items() if name in rows[0]), of_classes))
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _height(row: Mapping[str, Any]) -> float:
    return row["psnr"] if "psnr" in row else 100 * (row["mrr"] if "mrr" in row else accuracy_of(row))
