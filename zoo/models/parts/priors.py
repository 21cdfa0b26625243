"""Boxes at the places of feature maps, which detectors predict boxes relative to, and the two ways in which they do.

Boxes are (x1, y1, x2, y2) in pixels of the model's input. Raw outputs lie in [0, `LARGEST`] whatever the weights, so
that the file has a fine grid for them: with 8 bits a step changes a side by 2.4 % (distances) at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from keras import ops

# Raw outputs are those of a relu6; their middle stands for 0.
LARGEST = 6.0
MIDDLE = LARGEST / 2
# Scales of the encoding of centres and of sizes (Liu et al., 2016).
CENTRE, SIZE = 0.1, 0.2

Coding = Literal["distances", "offsets"]


@dataclass(frozen=True)
class Priors:
    """The boxes that a detector predicts relative to.

    Args:
        boxes: Centre x, centre y, width and height of each, (places, 4) float32, in pixels.
        coding: "distances": raw outputs are logarithms of the distances from the centre to the left, upper, right and
            lower side, in sides of the prior (Tian et al., 2019). "offsets": the shift of the centre and the logarithm
            of the size, in sides of the prior (Liu et al., 2016).
        strides: Strides of the feature maps, in the order of the places.
    """

    boxes: np.ndarray
    coding: Coding
    strides: tuple[int, ...]

    def decoded(self, raw: Any) -> Any:
        """Return boxes in pixels, not cut at the edges.

        Args:
            raw: Raw outputs, (..., places, 4) in [0, 6].
        """
        x, y, width, height = (self.boxes[:, i] for i in range(4))
        first, second, third, fourth = (raw[..., i] - MIDDLE for i in range(4))
        if self.coding == "distances":
            sides = (
                *(x - width * ops.exp(first), y - height * ops.exp(second)),
                *(x + width * ops.exp(third), y + height * ops.exp(fourth)),
            )
        else:
            x, y = x + width * CENTRE * first, y + height * CENTRE * second
            half_width, half_height = width / 2 * ops.exp(SIZE * third), height / 2 * ops.exp(SIZE * fourth)
            sides = x - half_width, y - half_height, x + half_width, y + half_height
        return ops.stack(sides, axis=-1)


def points(input_shape: Sequence[int], strides: Sequence[int]) -> np.ndarray:
    """Return the place of every cell of feature maps as a prior whose sides are the stride, (places, 4).

    Args:
        input_shape: (height, width, ...) of the input.
        strides: Strides of the feature maps.
    """
    return np.concatenate([_cells(input_shape, stride, [(stride, stride)]) for stride in strides])


def boxes(
    input_shape: Sequence[int], strides: Sequence[int], sizes: Sequence[Sequence[tuple[float, float]]]
) -> np.ndarray:
    """Return several priors at each cell of feature maps, (places, 4).

    Args:
        input_shape: (height, width, ...) of the input.
        strides: Strides of the feature maps.
        sizes: (width, height) of the priors of each map, in pixels.
    """
    return np.concatenate([_cells(input_shape, s, each) for s, each in zip(strides, sizes, strict=True)])


def _cells(input_shape: Sequence[int], stride: int, sizes: Sequence[tuple[float, float]]) -> np.ndarray:
    height, width = (-(-side // stride) for side in input_shape[:2])
    y, x = np.meshgrid((np.arange(height) + 0.5) * stride, (np.arange(width) + 0.5) * stride, indexing="ij")
    centres = np.stack([x, y], axis=-1).reshape(-1, 1, 2)
    shapes = np.broadcast_to(np.asarray(sizes, np.float64), (len(centres), len(sizes), 2))
    return np.concatenate([np.broadcast_to(centres, shapes.shape), shapes], axis=-1).reshape(-1, 4).astype(np.float32)
