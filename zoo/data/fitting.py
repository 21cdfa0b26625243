"""How a picture is brought to the size of a model's input when its aspect ratio is another one.

The page of the demo follows the same rules, in zoo/demo/page/image.js.
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
    """Bring one image (height, width, channels) uint8 to a size, bilinear with antialiasing.

    Args:
        image: Image to resize.
        size: (height, width) of the result; None returns the image unchanged.
        fit: "crop" keeps the aspect ratio and cuts what is too much off both ends of the longer side, "pad" keeps it
            and adds black on both ends of the shorter side, "stretch" does not keep it.
    """
    height, width, channels = image.shape
    if size is None or (height, width) == tuple(size):
        return image
    alike = height * size[1] == width * size[0]
    if fit == "pad" and not alike:
        inner = inner_size((height, width), size, fit)
        framed = np.zeros((*size, channels), np.uint8)
        top, left = ((outer - inside) // 2 for outer, inside in zip(size, inner, strict=True))
        framed[top : top + inner[0], left : left + inner[1]] = _resized(image, inner, None)
        return framed
    return _resized(image, size, None if fit == "stretch" or alike else _middle((height, width), size))


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
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    picture = picture.resize((size[1], size[0]), Image.Resampling.BILINEAR, box=box)
    return np.asarray(picture).reshape(*size, image.shape[-1])
