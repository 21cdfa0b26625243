"""Overlaps of boxes (x1, y1, x2, y2), with their gradients."""

import math
from typing import Any

from keras import ops

EPSILON = 1e-7


def areas(boxes: Any) -> Any:
    """Return the areas of boxes (..., 4); 0 if the corners are swapped."""
    return ops.maximum(boxes[..., 2] - boxes[..., 0], 0) * ops.maximum(boxes[..., 3] - boxes[..., 1], 0)


def iou(one: Any, other: Any) -> Any:
    """Return the intersection over the union of boxes (..., 4) that broadcast to one shape."""
    shared = _intersection(one, other)
    return shared / (areas(one) + areas(other) - shared + EPSILON)


def giou(one: Any, other: Any) -> Any:
    """Return the generalised intersection over union, in (-1, 1] (Rezatofighi et al., 2019)."""
    shared = _intersection(one, other)
    union = areas(one) + areas(other) - shared + EPSILON
    width, height = _hull(one, other)
    hull = width * height + EPSILON
    return shared / union - (hull - union) / hull


def ciou(one: Any, other: Any) -> Any:
    """Return the complete intersection over union (Zheng et al., 2020).

    From the intersection over the union it subtracts the squared distance of the centres over that of the corners of
    the hull, and a term for unlike aspect ratios.
    """
    width, height = _hull(one, other)
    diagonal = ops.square(width) + ops.square(height) + EPSILON
    apart = ops.square(one[..., 0] + one[..., 2] - other[..., 0] - other[..., 2]) + ops.square(
        one[..., 1] + one[..., 3] - other[..., 1] - other[..., 3]
    )
    angles = [
        ops.arctan2(ops.maximum(b[..., 2] - b[..., 0], EPSILON), ops.maximum(b[..., 3] - b[..., 1], EPSILON))
        for b in (one, other)
    ]
    unlike = 4 / math.pi**2 * ops.square(angles[0] - angles[1])
    overlap = iou(one, other)
    weight = ops.stop_gradient(unlike / (1 - overlap + unlike + EPSILON))
    return overlap - apart / (4 * diagonal) - weight * unlike


def _intersection(one: Any, other: Any) -> Any:
    width = ops.minimum(one[..., 2], other[..., 2]) - ops.maximum(one[..., 0], other[..., 0])
    height = ops.minimum(one[..., 3], other[..., 3]) - ops.maximum(one[..., 1], other[..., 1])
    return ops.maximum(width, 0) * ops.maximum(height, 0)


def _hull(one: Any, other: Any) -> tuple[Any, Any]:
    """Return width and height of the smallest box around two."""
    width = ops.maximum(one[..., 2], other[..., 2]) - ops.minimum(one[..., 0], other[..., 0])
    height = ops.maximum(one[..., 3], other[..., 3]) - ops.minimum(one[..., 1], other[..., 1])
    return width, height
