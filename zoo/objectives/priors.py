"""Boxes at the places of feature maps, which detectors predict boxes relative to, and the two ways in which they do.

Boxes are (x1, y1, x2, y2) in pixels of the model's input. Raw outputs lie in [0, `LARGEST`] whatever the weights, so
that the file has a fine grid for them: with 8 bits a step changes a side by 2.4 % (distances) at most.
"""

from collections.abc import Mapping, Sequence
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
class Level:
    """The priors of a feature map: some at the centre of each cell, row by row.

    Args:
        stride: Pixels of the input from one cell to the next.
        rows: Rows of cells.
        columns: Columns of cells.
        sizes: (width, height) in pixels of the priors of a cell.
    """

    stride: int
    rows: int
    columns: int
    sizes: tuple[tuple[float, float], ...]

    def boxes(self) -> np.ndarray:
        """Return centre x, centre y, width and height of the priors, (rows * columns * sizes, 4) float32."""
        y, x = np.meshgrid(np.arange(self.rows), np.arange(self.columns), indexing="ij")
        centres = (np.stack([x, y], axis=-1).reshape(-1, 1, 2) + 0.5) * self.stride
        shapes = np.broadcast_to(np.asarray(self.sizes, np.float64), (len(centres), len(self.sizes), 2))
        both = np.concatenate([np.broadcast_to(centres, shapes.shape), shapes], axis=-1)
        return both.reshape(-1, 4).astype(np.float32)


@dataclass(frozen=True)
class Priors:
    """The boxes that a detector predicts relative to.

    Args:
        boxes: Centre x, centre y, width and height of each, (places, 4) float32, in pixels.
        coding: "distances": raw outputs are logarithms of the distances from the centre to the left, upper, right and
            lower side, in sides of the prior (Tian et al., 2019). "offsets": the shift of the centre and the logarithm
            of the size, in sides of the prior (Liu et al., 2016).
        levels: Feature maps, in the order of the places.
    """

    boxes: np.ndarray
    coding: Coding
    levels: tuple[Level, ...]

    @classmethod
    def of(
        cls,
        input_shape: Sequence[int],
        strides: Sequence[int],
        sizes: Sequence[Sequence[tuple[float, float]]],
        coding: Coding,
    ) -> "Priors":
        """Return the priors of feature maps.

        Args:
            input_shape: (height, width, ...) of the input.
            strides: Strides of the feature maps.
            sizes: (width, height) of the priors of a cell of each map, in pixels.
            coding: Meaning of raw outputs.
        """
        levels = tuple(
            Level(stride, *(-(-side // stride) for side in input_shape[:2]), tuple(map(tuple, each)))
            for stride, each in zip(strides, sizes, strict=True)
        )
        return cls(np.concatenate([level.boxes() for level in levels]), coding, levels)

    def to_json(self) -> dict[str, Any]:
        """Return values for JSON, which `from_json` reads back."""
        levels = [
            {
                "stride": one.stride,
                "rows": one.rows,
                "columns": one.columns,
                "sizes": [list(size) for size in one.sizes],
            }
            for one in self.levels
        ]
        return {"coding": self.coding, "levels": levels}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Priors":
        """Return the priors that `to_json` described."""
        levels = tuple(Level(**one | {"sizes": tuple(map(tuple, one["sizes"]))}) for one in values["levels"])
        return cls(np.concatenate([level.boxes() for level in levels]), values["coding"], levels)

    @property
    def strides(self) -> np.ndarray:
        """Stride of the feature map of each place, (places,) float32."""
        counts = [level.rows * level.columns * len(level.sizes) for level in self.levels]
        return np.repeat(np.array([level.stride for level in self.levels], np.float32), counts)

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
