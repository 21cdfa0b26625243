"""Picture of a recipe: score and file size after each of its stages, in their order."""

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
    """Write a PNG with the score after each stage, and below it the bytes of the file as it is and gzipped.

    Args:
        path: Path of the picture.
        rows: Rows of stage, bytes, gzip_bytes and the scores of the task, in the order of the stages.
        precision: Precision of the files.
        plotted: Function that returns the score of a row and the label of its axis.
    """
    from matplotlib.figure import Figure

    names, places = [row["stage"].partition("(")[0] for row in rows], range(len(rows))
    figure = Figure(figsize=(8, 5), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    scores = [plotted(row)[0] for row in rows]
    above.plot(places, scores, "o-", color="#1c2530")
    white = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    for place, score in zip(places, scores, strict=True):
        away = 10 if score >= sum(scores) / len(scores) else -18
        named = {"textcoords": "offset points", "ha": "center", "fontsize": 9, "bbox": white}
        above.annotate(f"{score:.4g}", (place, score), (0, away), **named)
    above.set_ylabel(plotted(rows[0])[1])
    above.margins(0.12, 0.25)
    for key, label, colour, shift in (("bytes", "file", "#1f5fa8", -0.2), ("gzip_bytes", "gzipped", "#c2571a", 0.2)):
        bars = below.bar([place + shift for place in places], [row[key] / 1000 for row in rows], 0.4)
        for bar in bars:
            bar.set_color(colour)
        bars.set_label(label)
        below.bar_label(bars, fmt="%.3g", fontsize=9, padding=2)
    below.set_xticks(places, ["start", *(f"after {name}" for name in names[1:])])
    below.set_ylabel(f"file in {precision}, kB")
    below.margins(y=0.2)
    below.legend(frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.3, axis="y")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
