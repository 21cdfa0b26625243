"""Objects follow the maps of their images: each gets the smallest box around its moved corners."""

from typing import Any

from keras import ops

from zoo.data.augmentation.geometry import Affine

# Share of an object's box that stays within the image at least; of others too little is seen to be learnt.
LEAST_VISIBLE = 0.25


def moved(affine: Affine, objects: Any, size: tuple[int, int]) -> Any:
    """Return the objects of moved images; those of which too little is left have the class -1.

    Args:
        affine: Map of each image, from positions in the new image to positions in the old one.
        objects: Objects (batch, most, 5): x1, y1, x2, y2 in pixels and the class, -1 where there is none.
        size: (height, width) of the images.
    """
    height, width = size
    a, b, c, d, e, f = (ops.reshape(v + ops.zeros_like(objects[:, 0, 0]), (-1, 1, 1)) for v in affine.rows)
    x = ops.take(objects, [0, 2, 0, 2], axis=-1) - width / 2 - c  # corners, from the centre
    y = ops.take(objects, [1, 1, 3, 3], axis=-1) - height / 2 - f
    scale = a * e - b * d
    across, down = (e * x - b * y) / scale + width / 2, (a * y - d * x) / scale + height / 2
    sides = [ops.min(across, -1), ops.min(down, -1), ops.max(across, -1), ops.max(down, -1)]
    seen = [ops.clip(side, 0, end) for side, end in zip(sides, (width, height, width, height), strict=True)]
    whole = (sides[2] - sides[0]) * (sides[3] - sides[1])
    visible = (seen[2] - seen[0]) * (seen[3] - seen[1]) >= LEAST_VISIBLE * ops.maximum(whole, 1e-6)
    kept = ops.where(visible, objects[..., 4], -1.0)
    return ops.stack([*seen, kept], axis=-1)
