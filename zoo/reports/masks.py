"""Masks as pictures: a colour for each class, and masks over the pictures that they belong to."""

from collections.abc import Sequence

import numpy as np

# Share of the mask's colour over the picture.
OPACITY = 0.55
_IGNORED = (200, 200, 200)
# Names of a first class that is drawn as the picture itself.
_BEHIND = ("background", "0", "void", "none")


def palette(count: int) -> np.ndarray:
    """Return a colour for each class, (count, 3) uint8: those of PASCAL VOC, but dark blue for black, the first."""
    numbers = np.arange(count)
    colours = np.zeros((count, 3), np.int64)
    for bit in range(8):  # the bits of a number are dealt to red, green and blue, the lowest to the highest
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel)) & 1) << (7 - bit)
    colours[0] = (40, 48, 96)
    return colours.astype(np.uint8)


def coloured(mask: np.ndarray, count: int) -> np.ndarray:
    """Return a mask as a picture, (height, width, 3) uint8; what is no class is grey."""
    table = np.full((256, 3), _IGNORED, np.uint8)
    table[:count] = palette(count)
    return table[mask]


def over(picture: np.ndarray, mask: np.ndarray, class_names: Sequence[str]) -> np.ndarray:
    """Return a mask drawn over its picture, (height, width, 3) uint8.

    Pixels of the background, and of no class, show the picture alone.

    Args:
        picture: Picture (height, width, 1 or 3) uint8.
        mask: Class of each pixel, (height, width) uint8.
        class_names: Names of the classes.
    """
    whole = np.broadcast_to(picture, (*picture.shape[:2], 3)).astype(np.float32)
    drawn = (mask < len(class_names)) & ~((mask == 0) & (class_names[0].lower() in _BEHIND))
    mixed = (1 - OPACITY) * whole + OPACITY * coloured(mask, len(class_names))
    return np.rint(np.where(drawn[..., None], mixed, whole)).astype(np.uint8)


def marked(picture: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return a picture in grey with some pixels in red, (height, width, 3) uint8.

    Args:
        picture: Picture (height, width, 1 or 3) uint8.
        where: Pixels to mark, (height, width) bool.
    """
    grey = np.repeat(picture.mean(-1, keepdims=True), 3, axis=-1).astype(np.uint8)
    return np.where(where[..., None], np.array([217, 30, 24], np.uint8), grey)
