"""Flips, shifts, rotations and other affine maps of images, composed so that pixels are interpolated once."""

import math
from dataclasses import dataclass
from typing import Any

from keras import ops


@dataclass(frozen=True)
class Affine:
    """An affine map for each image, from positions in the new image to positions in the old one.

    Args:
        rows: Coefficients (a, b, c, d, e, f), each (batch,): the new pixel at (x, y) is the old one at
            (a x + b y + c, d x + e y + f), in pixels from the centre of the image.
        fill: What lies outside the image, "reflect" or "black"; None if nothing of it is seen.
    """

    rows: tuple[Any, Any, Any, Any, Any, Any]
    fill: str | None = "reflect"

    def after(self, first: "Affine") -> "Affine":
        """Return the map that applies another one first, then this one."""
        a, b, c, d, e, f = first.rows
        g, h, i, j, k, m = self.rows
        rows = (a * g + b * j, a * h + b * k, a * i + b * m + c, d * g + e * j, d * h + e * k, d * i + e * m + f)
        return Affine(rows, self.fill or first.fill)

    def chosen(self, where: Any) -> "Affine":
        """Return this map for some images, and the identity for the others.

        Args:
            where: Whether an image is mapped, (batch,) bool.
        """
        same = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
        return Affine(
            tuple(ops.where(where, ops.cast(v, "float32"), s) for v, s in zip(self.rows, same, strict=True)), self.fill
        )

    def __call__(self, images: Any) -> Any:
        """Return the new images.

        Args:
            images: Images (batch, height, width, channels) float32.
        """
        return self._applied(images, "bilinear", 0.0)

    def to_masks(self, masks: Any, ignored: int) -> Any:
        """Return the masks of the new images: the class of the nearest pixel of the old ones.

        Args:
            masks: Class of each pixel, (batch, height, width), integers that float32 holds exactly.
            ignored: Class of pixels outside the old image where it is continued in black.
        """
        found = self._applied(ops.cast(masks, "float32")[..., None], "nearest", float(ignored))
        return ops.cast(ops.round(found[..., 0]), masks.dtype)

    def _applied(self, images: Any, interpolation: str, outside: float) -> Any:
        height, width = images.shape[1:3]
        x, y = (width - 1) / 2, (height - 1) / 2
        zero = ops.zeros_like(images[:, 0, 0, 0])
        a, b, c, d, e, f = (zero + v for v in self.rows)
        # Around the corner instead of the centre, as Keras has it.
        moved = (a, b, c + x - a * x - b * y, d, e, f + y - d * x - e * y, zero, zero)
        mode = "constant" if self.fill == "black" else "reflect"
        return ops.image.affine_transform(
            images, ops.stack(moved, axis=1), interpolation, mode, outside, data_format="channels_last"
        )


def scale(x: Any, y: Any, fill: str | None = "reflect") -> Affine:
    """Return the map that enlarges images by factors along both axes; -1 mirrors them."""
    return Affine((1 / x, 0.0, 0.0, 0.0, 1 / y, 0.0), fill)


def shift(x: Any, y: Any, fill: str = "reflect") -> Affine:
    """Return the map that moves images by numbers of pixels, to the right and down."""
    return Affine((1.0, 0.0, -x, 0.0, 1.0, -y), fill)


def rotation(degrees: Any) -> Affine:
    """Return the map that rotates images counterclockwise."""
    angle = degrees * (math.pi / 180)
    return Affine((ops.cos(angle), -ops.sin(angle), 0.0, ops.sin(angle), ops.cos(angle), 0.0))


def shear(x: Any, y: Any) -> Affine:
    """Return the map that shears images along x by a factor of y, and along y by a factor of x; one of them is 0."""
    return Affine((1.0, x, 0.0, y, 1.0, 0.0))
