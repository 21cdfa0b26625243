"""Synthetic capital letters in the fonts of matplotlib: 28x28 greyscale images like those of MNIST."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# The typefaces are disjoint: DejaVu sans, mono and serif for training, STIX and Computer Modern for testing.
TRAINED = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic")
TESTED = ("STIXGeneral", "STIXGeneralItalic", "STIXGeneralBol", "cmr10", "cmti10", "cmtt10", "cmss10", "cmb10")
SIZE, FINE = 28, 112  # side in pixels of an image, and of the canvas it is drawn on


def drawn(fonts: Sequence[str], each: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return uint8 images, (26 * each, 28, 28), bright on dark, and their labels, in random order.

    Each letter is rotated by up to 20 degrees, sheared, scaled, shifted, drawn with a random stroke width, and overlaid
    with noise.

    Args:
        fonts: Names of font files, one of which is chosen at random for each image.
        each: Number of images of each letter.
        seed: Random seed.
    """
    rng = np.random.default_rng(seed)
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    loaded = [ImageFont.truetype(str(folder / f"{name}.ttf"), 76) for name in fonts]
    labels = rng.permutation(np.repeat(np.arange(len(LETTERS)), each)).astype("int32")
    return np.stack([_image(LETTERS[label], loaded[rng.integers(len(loaded))], rng) for label in labels]), labels


def _image(letter: str, font: ImageFont.FreeTypeFont, rng: np.random.Generator) -> np.ndarray:
    canvas = Image.new("L", (FINE, FINE))
    middle = FINE / 2
    ImageDraw.Draw(canvas).text(
        (middle, middle), letter, fill=255, font=font, anchor="mm", stroke_width=int(rng.integers(0, 4))
    )
    turn, shear = np.deg2rad(rng.uniform(-20, 20)), rng.uniform(-0.3, 0.3)
    scale = rng.uniform(0.8, 1.15, 2)
    # Maps positions in the result to positions on the canvas.
    back = np.array([[np.cos(turn), np.sin(turn) + shear], [-np.sin(turn), np.cos(turn)]]) / scale
    offset = middle - back @ (middle + rng.uniform(-8, 8, 2))
    moved = canvas.transform(
        canvas.size, Image.Transform.AFFINE, (*back[0], offset[0], *back[1], offset[1]), Image.Resampling.BILINEAR
    )
    small = np.asarray(moved.resize((SIZE, SIZE), Image.Resampling.BOX), float)
    return np.clip(small * rng.uniform(0.7, 1) + rng.normal(0, 20, small.shape), 0, 255).astype("uint8")
