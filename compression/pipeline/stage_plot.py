"""Plot of a recipe: score against file size after each of its stages."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.system.files import replacing


def draw(
    path: Path,
    rows: Sequence[Mapping[str, Any]],
    precision: str,
    plotted: Callable[[Mapping[str, Any]], tuple[float, str]],
) -> None:
    """Write a PNG with a point for each stage, for the file as it is and gzipped.

    Args:
        path: Path of the picture.
        rows: Rows of stage, bytes, gzip_bytes and the scores of the task, in the order of the stages.
        precision: Precision of the files.
        plotted: Function that returns the score of a row and the label of its axis.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for key, label, colour in (("bytes", "file", "#1f5fa8"), ("gzip_bytes", "gzipped", "#c2571a")):
        x, y = [row[key] / 1000 for row in rows], [plotted(row)[0] for row in rows]
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
    axes.set_xlabel(f"file size in {precision}, kB (logarithmic)")
    axes.set_ylabel(plotted(rows[0])[1])
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
