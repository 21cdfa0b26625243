"""RandAugment (Cubuk et al., 2020): a few of 14 changes, chosen for each image, all at one magnitude.

The ranges are those of the paper's code at magnitude 10. What lies outside an image is reflected instead of grey.
"""

from collections.abc import Callable
from typing import Any

from keras import ops

from zoo.data.augmentation import colours, geometry
from zoo.data.augmentation.draws import Draws
from zoo.data.augmentation.geometry import Affine

# Function that moves images, and labels that follow them, by an affine map.
Move = Callable[[Affine, Any, Any], tuple[Any, Any]]

GEOMETRIC = ("rotate", "shear_x", "shear_y", "translate_x", "translate_y")
# Blends of an image with a plain one: black, its mean, its brightness, and its blur.
BLENDS = ("brightness", "contrast", "colour", "sharpness")
CHANGES = (*GEOMETRIC, *BLENDS, "posterize", "solarize", "autocontrast", "equalize", "identity")
# Values at the largest magnitude.
DEGREES, SHEAR, SHIFT, BLEND, BITS = 30.0, 0.3, 0.3, 0.9, 4


def changed(images: Any, labels: Any, level: float, draws: Draws, move: Move) -> tuple[Any, Any]:
    """Return images to which one change each was applied, and their labels.

    Args:
        images: Images (batch, height, width, channels), pixels in [0, 1].
        labels: Labels of the images.
        level: Magnitude as a share of the largest.
        draws: Random numbers.
        move: How images and labels are moved.
    """
    choice = draws.integer(0, len(CHANGES) - 1)
    sign = draws.sign() * level

    def chose(name: str) -> Any:
        return choice == CHANGES.index(name)

    height, width = images.shape[1:3]
    maps = (
        geometry.rotation(sign * DEGREES),
        geometry.shear(sign * SHEAR, 0.0),
        geometry.shear(0.0, sign * SHEAR),
        geometry.shift(sign * SHIFT * width, 0.0),
        geometry.shift(0.0, sign * SHIFT * height),
    )
    whole = maps[0].chosen(chose("rotate"))
    for name, one in zip(GEOMETRIC[1:], maps[1:], strict=True):
        whole = one.chosen(chose(name)).after(whole)
    images, labels = move(whole, images, labels)

    plain = ops.zeros_like(images)
    for name, make in zip(BLENDS[1:], (colours.mean_grey, colours.grey, colours.smoothed), strict=True):
        plain = ops.where(colours.each(chose(name)), make(images), plain)
    blended = ops.logical_and(choice >= CHANGES.index(BLENDS[0]), choice <= CHANGES.index(BLENDS[-1]))
    images = colours.clipped(plain + colours.each(ops.where(blended, 1 + BLEND * sign, 1.0)) * (images - plain))

    for name, made in (
        ("posterize", colours.posterized(images, ops.zeros_like(choice) + round(8 - BITS * level))),
        ("solarize", colours.solarized(images, ops.zeros_like(choice) + 1 - level)),
        ("autocontrast", colours.stretched(images)),
        ("equalize", colours.equalized(images)),
    ):
        images = ops.where(colours.each(chose(name)), made, images)
    return images, labels
