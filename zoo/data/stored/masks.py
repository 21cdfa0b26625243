"""Masks: pictures whose pixels are classes. They are decoded as they are stored and never interpolated."""

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from zoo.config.masks import ABSENT, IGNORED, Coding
from zoo.config.task_facts import Fit
from zoo.data import pixels
from zoo.data.fitting import resize_mask
from zoo.data.images import opened

# Formats that keep every value. JPEG does not, and programs that write GIF number the values of each file anew.
FORMATS = ("PNG", "BMP", "TIFF")
GREY, PALETTE = ("1", "L"), "P"
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")
UNKNOWN = 254  # no class: there are at most 254 besides it and the ignored one
LISTED = 3


@dataclass(frozen=True)
class Masks:
    """Mask files as classes (height, width).

    Args:
        shape: (height, width) of the results.
        fit: How a mask of another aspect ratio is brought to that shape, as its picture is.
        coding: What pixels mean.
    """

    shape: tuple[int, int]
    fit: Fit
    coding: Coding
    dtype: ClassVar[np.dtype] = np.dtype(np.uint8)

    @property
    def identity(self) -> Any:
        coding = self.coding
        return ["mask", *self.shape, self.fit, list(coding.numbers), list(coding.ignored), coding.colours]

    def decode(self, content: bytes | memoryview) -> np.ndarray:
        values = values_of(bytes(content), self.coding.colours)
        return resize_mask(classes_of(values, self.coding), self.shape, self.fit, IGNORED)


def values_of(content: bytes, colours: bool | None = None) -> np.ndarray:
    """Return the pixels of a mask as they are stored: (height, width) values, uint8, or (height, width, 3) colours.

    Args:
        content: Bytes of the file.
        colours: Whether colours are wanted, also of a palette; None: values of a palette, and colours where a file has
            nothing else.

    Raises:
        ValueError: The file cannot be read, or does not hold what is wanted.
    """
    with opened(content) as image:
        if image.format not in FORMATS:
            raise ValueError(f"a mask is a PNG file, this one is {image.format}, which changes values")
        if pixels.FIRST in pixels.remarks(image):
            raise ValueError("it has several frames; expected one")
        if image.mode not in _DEEP and pixels.bits_of(image) > 8:
            raise ValueError("its colours have 16 bits; expected 8, or values of classes")
        if image.mode in _DEEP:
            deep = np.asarray(image)
            if deep.min() < 0 or deep.max() > 255:
                raise ValueError(f"its values reach {int(deep.max()):,}; expected classes from 0 to 255")
            return _plain(deep.astype(np.uint8), colours)
        if image.mode == "1":
            return _plain(np.asarray(image.convert("L")), colours)
        if image.mode in GREY or (image.mode == PALETTE and not colours):
            return _plain(np.asarray(image), colours)
        found = np.asarray(image.convert("RGB"))
    if colours is False or colours is None and (found == found[..., :1]).all():
        if (found != found[..., :1]).any():
            raise ValueError("it has colours; expected values of classes")
        return found[..., 0]
    return found


def _plain(values: np.ndarray, colours: bool | None) -> np.ndarray:
    return np.repeat(values[..., None], 3, axis=-1) if colours else values


def palette_of(content: bytes) -> list[int]:
    """Return the colours of a mask's palette as numbers; none without a palette."""
    with opened(content) as image:
        found = image.getpalette("RGB") if image.mode == PALETTE else None
    return _as_numbers(np.array(found or [], np.uint8).reshape(-1, 3)).tolist()


def numbers_in(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the different values, or colours as numbers, of a mask, sorted, and the number of pixels of each."""
    if values.ndim == 3:
        return np.unique(_as_numbers(values), return_counts=True)
    counts = np.bincount(values.reshape(-1), minlength=256)
    return np.flatnonzero(counts), counts[counts > 0]


def classes_of(values: np.ndarray, coding: Coding) -> np.ndarray:
    """Return the class of each pixel, (height, width) uint8.

    Raises:
        ValueError: A value or a colour that is no class.
    """
    if coding.colours:
        known, classes = _colour_table(coding)
        numbers = _as_numbers(values)
        place = np.minimum(np.searchsorted(known, numbers), len(known) - 1)
        found = np.where(known[place] == numbers, classes[place], UNKNOWN).astype(np.uint8)
        strange = np.unique(numbers[found == UNKNOWN]).tolist()
    else:
        found = _value_table(coding)[values]
        strange = np.unique(values[found == UNKNOWN]).tolist()
    if strange:
        raise ValueError(unknown_numbers(strange, coding))
    return found


def unknown_numbers(strange: Sequence[int], coding: Coding) -> str:
    """Return the sentence about values or colours that are no class."""
    shown = ", ".join(coding.name_of(number) for number in strange[:LISTED]) + (", ..." if strange[LISTED:] else "")
    what = ("colour" if coding.colours else "value") + "s" * (len(strange) > 1)
    return f"its {what} {shown} {'are' if len(strange) > 1 else 'is'} none of the {len(coding.names)} classes"


def known_numbers(coding: Coding) -> set[int]:
    """Return the values or colours that a mask may have."""
    return {*coding.numbers, *ignored_numbers(coding)} - {ABSENT}


def ignored_numbers(coding: Coding) -> set[int]:
    """Return the values or colours of pixels that are ignored."""
    return {*coding.ignored, *(() if coding.colours else (IGNORED,))} - {*coding.numbers}


@functools.lru_cache(maxsize=8)
def _value_table(coding: Coding) -> np.ndarray:
    table = np.full(256, UNKNOWN, np.uint8)
    table[[*coding.ignored, IGNORED]] = IGNORED
    for index, number in enumerate(coding.numbers):
        if number != ABSENT:
            table[number] = index
    return table


@functools.lru_cache(maxsize=8)
def _colour_table(coding: Coding) -> tuple[np.ndarray, np.ndarray]:
    numbers = np.array([*coding.numbers, *coding.ignored], np.int32)
    classes = np.array([*range(len(coding.numbers)), *[IGNORED] * len(coding.ignored)], np.uint8)
    order = np.argsort(numbers)  # an absent class comes first, and no pixel has its number
    return numbers[order], classes[order]


def _as_numbers(colours: np.ndarray) -> np.ndarray:
    wide = colours.astype(np.int32)
    return (wide[..., 0] << 16) + (wide[..., 1] << 8) + wide[..., 2]


def written(classes: np.ndarray, palette: np.ndarray) -> bytes:
    """Return classes (height, width) as the bytes of a PNG file with a palette.

    Args:
        classes: Class of each pixel, uint8.
        palette: Colours (classes, 3) uint8.
    """
    image = Image.fromarray(classes, "L")
    image.putpalette(palette.astype(np.uint8).tobytes())
    content = io.BytesIO()
    image.save(content, "png")
    return content.getvalue()
