"""Pictures with boxes and labels drawn in them."""

import colorsys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zoo.data import images
from zoo.system.files import replacing

# Height of letters, and width of lines, as shares of the shorter side of a picture; smallest ones in pixels.
LETTERS, LINES, SMALLEST_LETTERS = 0.03, 0.004, 10


def colour(index: int) -> tuple[int, int, int]:
    """Return the colour of a class; neighbours differ in hue by the golden ratio of the circle."""
    red, green, blue = colorsys.hsv_to_rgb((index * 0.618034 + 0.02) % 1, 0.85, 0.95)
    return round(255 * red), round(255 * green), round(255 * blue)


def drawn(picture: np.ndarray, objects: Sequence[Mapping[str, Any]], class_names: Sequence[str]) -> np.ndarray:
    """Return a picture with the boxes, labels and scores of objects.

    Args:
        picture: Picture (height, width, channels) uint8.
        objects: Objects with `label`, `box` (x1, y1, x2, y2 in pixels) and, if they are found, `probability`.
        class_names: Names of the classes, which decide the colours.
    """
    shown = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture).convert("RGB")
    canvas, side = ImageDraw.Draw(shown), min(picture.shape[:2])
    font = ImageFont.load_default(max(SMALLEST_LETTERS, round(LETTERS * side)))
    line = max(1, round(LINES * side))
    for one in reversed(objects):  # the best last, so that it is on top
        x1, y1, x2, y2 = one["box"]
        paint = colour(list(class_names).index(one["label"]))
        canvas.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=paint, width=line)
        text = f"{one['label']} {one['probability']:.2f}" if "probability" in one else one["label"]
        left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
        above = y1 - (bottom - top) - 2 * line
        at = (x1, above if above >= 0 else y1)
        canvas.rectangle((*at, at[0] + right - left + 2 * line, at[1] + bottom - top + 2 * line), fill=paint)
        canvas.text((at[0] + line - left, at[1] + line - top), text, fill=_ink(paint), font=font)
    return np.asarray(shown)


def _ink(paint: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return black or white, whichever is read better on a colour."""
    bright = 0.299 * paint[0] + 0.587 * paint[1] + 0.114 * paint[2]
    return (0, 0, 0) if bright > 140 else (255, 255, 255)


def draw_files(inputs: Sequence[str], rows: Sequence[Mapping[str, Any]], path: Path, names: Sequence[str]) -> None:
    """Write pictures with the objects found in them: one to a path, several to paths with -2, -3 and so on.

    Args:
        inputs: Picture files.
        rows: Answers of `zoo.predict`, with `objects`.
        path: Path of the PNG file.
        names: Names of the classes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    for number, (text, row) in enumerate(zip(inputs, rows, strict=True), 1):
        whole = images.decode(Path(text), None, 3)
        target = path if number == 1 else path.with_stem(f"{path.stem}-{number}")
        with replacing(target) as temporary:
            Image.fromarray(drawn(whole, row["objects"], names)).save(temporary, "png")
