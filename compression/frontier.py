"""The picture of a recipe: accuracy against bytes after each of its stages."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from zoo.comparison import accuracy_of
from zoo.files import replacing


def draw(rows: Sequence[Mapping[str, Any]], precision: str, path: Path) -> None:
    """Write a PNG with a point for each stage, joined in their order, for the file as it is and gzipped.

    Args:
        rows: stage, accuracy (of images psnr), bytes and gzip_bytes of each.
        precision: of the files.
        path: of the picture.
    """
    from matplotlib.figure import Figure

    drawn = "psnr" in rows[0]
    named = "next tokens of the test texts that are right, %" if "tokens" in rows[0] else "test accuracy, %"
    named = "dB to the run's own images" if drawn else named
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for key, label, colour in (("bytes", "file", "#1f5fa8"), ("gzip_bytes", "gzipped", "#c2571a")):
        x, y = [row[key] / 1000 for row in rows], [row["psnr"] if drawn else 100 * accuracy_of(row) for row in rows]
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
    axes.set_ylabel(named)
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
