"""A contact sheet: rows of images with their labels, in one PNG file."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from zoo.reports import page
from zoo.reports.mosaic import drawable
from zoo.system.files import replacing

CELL = 1.5  # width of an image in inches
CAPTION = 0.55  # height of the text below an image in inches
LETTERS = 20  # most letters in a line below an image
NAMED = 0.005  # least share of a class that is named


def write(
    path: Path, title: str, columns: Sequence[tuple[str, np.ndarray, np.ndarray]], class_names: Sequence[str]
) -> Path:
    """Write a contact sheet with a column for each version of some images.

    Args:
        path: PNG file to write.
        title: Title of the sheet.
        columns: Heading, images (count, height, width, channels) and labels of each column: class indices (count,), or
            probabilities of the classes (count, classes).
        class_names: Names of the classes.
    """
    rows = len(columns[0][1])
    figure = page.figure(CELL * len(columns), (CELL + CAPTION) * rows + CAPTION)
    axes = figure.subplots(rows, len(columns), squeeze=False)
    for column, (heading, images, labels) in enumerate(columns):
        pixels = drawable(images)
        for row in range(rows):
            cell, image = axes[row, column], pixels[row]
            cell.imshow(image[..., 0] if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            cell.set_xticks([])
            cell.set_yticks([])
            cell.set_xlabel(_label(labels[row], class_names), fontsize=8)
            if not row:
                cell.set_title(heading, fontsize=9)
    figure.suptitle(title, fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)
    return path


def _label(label: np.ndarray, class_names: Sequence[str]) -> str:
    """Return the class of an image, or the shares of the classes that it is mixed from."""
    if not label.ndim:
        return "\n".join(textwrap.wrap(class_names[int(label)], LETTERS))
    shares = [(share, name) for share, name in zip(label, class_names, strict=True) if share > NAMED]
    if len(shares) == 1:
        return shares[0][1]
    return "\n".join(
        f"{textwrap.shorten(name, LETTERS)} {share:.0%}" for share, name in sorted(shares, reverse=True)[:2]
    )
