"""How a picture is brought to the size of a model's input when its aspect ratio is another one.

The page of the demo follows the same rules, in zoo/demo/page/pictures/image.js.
"""

import numpy as np
from PIL import Image

from zoo.config.task_facts import Fit


def inner_size(shown: tuple[int, int], size: tuple[int, int], fit: Fit) -> tuple[int, int]:
    """Return the (height, width) to which a whole picture is scaled, before it is cropped or padded to `size`.

    Args:
        shown: (height, width) of the picture.
        size: (height, width) of the result.
        fit: crop, pad or stretch.
    """
    if fit == "stretch":
        return size
    scale = (max if fit == "crop" else min)(size[0] / shown[0], size[1] / shown[1])
    return tuple(max(1, round(side * scale)) for side in shown)


def resize(image: np.ndarray, size: tuple[int, int] | None, fit: Fit) -> np.ndarray:
    """Bring one image (height, width, channels) to a size, bilinear with antialiasing, each channel by itself.

    Args:
        image: Image to resize, uint8 or float32.
        size: (height, width) of the result; None returns the image unchanged.
        fit: "crop" keeps the aspect ratio and cuts what is too much off both ends of the longer side, "pad" keeps it
            and adds black on both ends of the shorter side, "stretch" does not keep it.
    """
    height, width, channels = image.shape
    if size is None or (height, width) == tuple(size):
        return image
    alike = height * size[1] == width * size[0]
    if fit == "pad" and not alike:
        framed, inside = np.zeros((*size, channels), image.dtype), padded_box((height, width), size)
        framed[inside] = _resized(image, inner_size((height, width), size, fit), None)
        return framed
    return _resized(image, size, None if fit == "stretch" or alike else _middle((height, width), size))


def resize_mask(mask: np.ndarray, size: tuple[int, int], fit: Fit, outside: int) -> np.ndarray:
    """Bring a mask (height, width) uint8 to a size as `resize` does with its picture, to the nearest pixel.

    Args:
        mask: Class of each pixel.
        size: (height, width) of the result.
        fit: crop, pad or stretch.
        outside: Class of the pixels that padding adds.
    """
    height, width = mask.shape
    if (height, width) == tuple(size):
        return mask
    alike = height * size[1] == width * size[0]
    if fit == "pad" and not alike:
        framed, inside = np.full(size, outside, np.uint8), padded_box((height, width), size)
        framed[inside] = _nearest(mask, inner_size((height, width), size, fit), None)
        return framed
    return _nearest(mask, size, None if fit == "stretch" or alike else _middle((height, width), size))


def placed_back(mask: np.ndarray, shown: tuple[int, int], fit: Fit, outside: int) -> np.ndarray:
    """Return a mask of a resized picture as a mask of the whole picture, to the nearest pixel.

    Args:
        mask: Class of each pixel of the resized picture, (height, width) uint8.
        shown: (height, width) of the whole picture.
        fit: How the picture was resized.
        outside: Class of pixels that were cut off.
    """
    size = mask.shape
    alike = shown[0] * size[1] == shown[1] * size[0]
    if fit == "stretch" or alike or shown == size:
        return _nearest(mask, shown, None)
    if fit == "pad":
        return _nearest(mask[padded_box(shown, size)], shown, None)
    left, top, right, bottom = (round(end) for end in _middle(shown, size))
    whole = np.full(shown, outside, np.uint8)
    whole[top:bottom, left:right] = _nearest(mask, (bottom - top, right - left), None)
    return whole


def padded_box(shown: tuple[int, int], size: tuple[int, int]) -> tuple[slice, slice]:
    """Return where a picture lies that was padded to a size: rows and columns.

    Args:
        shown: (height, width) of the picture before it was scaled.
        size: (height, width) of the result.
    """
    inner = inner_size(shown, size, "pad")
    top, left = ((outer - inside) // 2 for outer, inside in zip(size, inner, strict=True))
    return slice(top, top + inner[0]), slice(left, left + inner[1])


def _nearest(mask: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> np.ndarray:
    found = Image.fromarray(mask).resize((size[1], size[0]), Image.Resampling.NEAREST, box=box)
    return np.asarray(found)


def _middle(shown: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Return the largest box in the middle of a picture that has the aspect ratio of `size`: left, top, right, bottom.

    Args:
        shown: (height, width) of the picture.
        size: (height, width) of the result.
    """
    height, width = shown
    tall, wide = min(height, width * size[0] / size[1]), min(width, height * size[1] / size[0])
    return (width - wide) / 2, (height - tall) / 2, (width + wide) / 2, (height + tall) / 2


def _resized(image: np.ndarray, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> np.ndarray:
    # Pillow takes a last channel of two or four for transparency, and floats of one channel alone.
    together = image.shape[-1] == 3 and image.dtype == np.uint8
    parts = [image] if together else np.moveaxis(image, -1, 0)
    found = [
        np.asarray(Image.fromarray(part).resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box))
        for part in parts
    ]
    return found[0] if together else np.stack(found, axis=-1)
