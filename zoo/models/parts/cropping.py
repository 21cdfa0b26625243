"""Crop images to the pixels that reach the output of a stack of convolutions and pools.

An unpadded convolution or pool ignores the last rows and columns that do not fill one of its windows. Cropping the
input to the pixels that reach the output gives the same values for less work.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple


class SlidingWindow(NamedTuple):
    """The window of a convolution or pool along one axis."""

    size: int  # pixels that the window covers
    stride: int  # pixels between the starts of two neighbouring windows


def input_size(windows: Sequence[SlidingWindow], outputs: int) -> int:
    """Return the number of input pixels, along one axis, that the first `outputs` output pixels depend on.

    Args:
        windows: Windows of the stack, from the input to the output.
        outputs: Number of output pixels, 1 or more.
    """
    size = outputs
    for window in reversed(windows):
        size = (size - 1) * window.stride + window.size
    return size


def used_size(windows: Sequence[SlidingWindow], size: int) -> int:
    """Return how many of the first `size` input pixels, along one axis, reach the output.

    Args:
        windows: Windows of the stack, from the input to the output.
        size: Number of input pixels, at least `input_size(windows, 1)`.
    """
    outputs = size
    for window in windows:
        outputs = (outputs - window.size) // window.stride + 1
    return input_size(windows, outputs)


def crop(images: Any, size: tuple[int, int] | None) -> Any:
    """Return the first rows and columns of images `(batch, height, width, channels)`; with `size=None`, all of them."""
    return images if size is None else images[:, : size[0], : size[1]]
