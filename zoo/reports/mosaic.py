"""Mosaics of many images in one picture, and animations of pictures."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from zoo.data.images import PIXEL_MAX, as_bytes
from zoo.system.files import replacing

GAP = 2  # pixels between images
SMALLEST = 480  # width in pixels to which a smaller picture is enlarged, by a whole factor
MILLISECONDS = 400  # duration of each picture of an animation


def drawable(images: np.ndarray) -> np.ndarray:
    """Return images as bytes of 1 or 3 channels; of any other number, their mean.

    Args:
        images: Images (..., height, width, channels), uint8 or pixels in [0, 1].
    """
    images = as_bytes(images)
    if images.shape[-1] in (1, 3):
        return images
    return np.rint(images.mean(-1, keepdims=True)).astype(np.uint8)


def remark(channels: int) -> str:
    """Return what `drawable` does to images with this number of channels, as the end of a caption."""
    return "" if channels in (1, 3) else f"; drawn is the mean of the {channels} channels"


def mosaic(images: np.ndarray, columns: int) -> np.ndarray:
    """Arrange images row by row in one picture, (height, width, 3) uint8.

    Args:
        images: Images (count, height, width, channels), uint8 or pixels in [0, 1]; see `drawable`.
        columns: Number of images in a row.
    """
    images = drawable(images)
    count, height, width, _ = images.shape
    rows = -(-count // columns)
    whole = np.full((rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), PIXEL_MAX, np.uint8)
    for index, image in enumerate(images):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        whole[top : top + height, left : left + width] = image
    scale = max(1, -(-SMALLEST // whole.shape[1]))
    return whole.repeat(scale, axis=0).repeat(scale, axis=1)


def save(picture: np.ndarray, path: Path) -> None:
    """Write a picture as a PNG file, which is replaced atomically.

    Args:
        picture: Picture (height, width, 3) uint8.
        path: Path of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, "png")


def animate(pictures: Sequence[Path], path: Path) -> None:
    """Write pictures of one size as an animated GIF.

    Args:
        pictures: Picture files, in order.
        path: Path of the GIF file.
    """
    frames = [Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE) for picture in pictures]
    with replacing(path) as temporary:
        frames[0].save(
            temporary, "gif", save_all=True, append_images=frames[1:], duration=MILLISECONDS, loop=0, optimize=True
        )


def inline(picture: np.ndarray) -> str:
    """Return a picture as a data URI for a web page."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
