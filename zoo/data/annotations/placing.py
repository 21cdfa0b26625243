"""Boxes from pixels of a picture to pixels of a model's input, and back, as `zoo.data.fitting` brings pictures there.

Boxes are (x1, y1, x2, y2), (boxes, 4).
"""

from dataclasses import dataclass

import numpy as np

from zoo.config.task_facts import Fit
from zoo.data.fitting import inner_size

# Share of a box that the middle of a picture keeps at least (--fit crop); what shows less is left out.
LEAST_VISIBLE = 0.25


@dataclass(frozen=True)
class Placing:
    """How the pixels of a picture are brought to those of the input: new = old * scale + offset, along x and y.

    Args:
        scale: Factors along x and y.
        offset: Offsets along x and y, in pixels of the input.
    """

    scale: tuple[float, float]
    offset: tuple[float, float]

    @classmethod
    def of(cls, shown: tuple[int, int], size: tuple[int, int], fit: Fit) -> "Placing":
        """Return the placing of a picture.

        Args:
            shown: (height, width) of the upright picture.
            size: (height, width) of the input.
            fit: crop, pad or stretch.
        """
        if fit == "stretch" or shown[0] * size[1] == shown[1] * size[0]:
            return cls((size[1] / shown[1], size[0] / shown[0]), (0.0, 0.0))
        if fit == "pad":
            inner = inner_size(shown, size, fit)
            top, left = ((outer - inside) // 2 for outer, inside in zip(size, inner, strict=True))
            return cls((inner[1] / shown[1], inner[0] / shown[0]), (left, top))
        scale = max(size[0] / shown[0], size[1] / shown[1])
        return cls((scale, scale), ((size[1] - shown[1] * scale) / 2, (size[0] - shown[0] * scale) / 2))

    def to_input(self, boxes: np.ndarray) -> np.ndarray:
        """Return boxes in pixels of the input, which may lie outside of it."""
        return boxes * (self.scale * 2) + (self.offset * 2)

    def to_picture(self, boxes: np.ndarray, shown: tuple[int, int]) -> np.ndarray:
        """Return boxes in pixels of the picture, cut at its edges.

        Args:
            boxes: Boxes in pixels of the input.
            shown: (height, width) of the picture.
        """
        found = (boxes - np.array(self.offset * 2)) / np.array(self.scale * 2)
        return np.clip(found, 0, np.array([shown[1], shown[0]] * 2))


def visible(boxes: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes cut at the edges of an input, and the share of each that is left.

    Args:
        boxes: Boxes in pixels of the input.
        size: (height, width) of the input.
    """
    cut = np.clip(boxes, 0, np.array([size[1], size[0]] * 2))
    areas = [np.prod(np.maximum(each[:, 2:] - each[:, :2], 0), axis=1) for each in (cut, boxes)]
    return cut, areas[0] / np.maximum(areas[1], 1e-9)
