"""Images: decoding and resizing, the same for training, evaluation and prediction."""

import collections
import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError, features

from zoo.config.task_facts import USUAL_FIT, Fit
from zoo.console.errors import UsageError
from zoo.data import pixels
from zoo.data.fitting import inner_size, resize
from zoo.data.reading import Tally, sample

PIXEL_MAX = 255
# Range of the pixels of a model of the zoo.
UNIT = (0.0, 1.0)
# Samples of 16 bits, whose range becomes -1 to 1.
FULL_SCALE = 1 << 15


def scaled(x: np.ndarray, pixel_range: tuple[float, float] = UNIT) -> np.ndarray:
    """Return uint8 images as float32 pixels in a range, as in training batches, and other arrays unchanged.

    Samples of sound (int16) become float32 from -1 to 1.

    Examples that are stored elsewhere (`zoo.data.stored.column.Column`) are read.
    """
    x = np.asarray(x)
    if x.dtype == np.int16:
        return x * np.float32(1 / FULL_SCALE)
    if x.dtype != np.uint8:
        return x
    factor, low = pixel_scale(pixel_range)
    pixels = x.astype(np.float32) * np.float32(factor)
    return pixels + np.float32(low) if low else pixels


def pixel_scale(pixel_range: tuple[float, float]) -> tuple[float, float]:
    """Return the factor and the offset that bring bytes into a range: pixel = byte * factor + offset."""
    low, high = pixel_range
    return (high - low) / PIXEL_MAX, low


def as_bytes(x: np.ndarray) -> np.ndarray:
    """Return pixels in [0, 1] as uint8, and uint8 images unchanged."""
    return x if x.dtype == np.uint8 else np.rint(np.clip(x, 0, 1) * PIXEL_MAX).astype(np.uint8)


# Largest number of images whose headers are looked at before a set is decoded.
LOOKED_AT = 2000
# Largest number of pictures with 16 bits that are decoded then, and the level below which all of them are dark: the
# white of 14 bits.
DECODED, DARK = 16, 64

# Formats of Pillow that are tried, whatever a file is named. Others run programs (EPS) or need libraries.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "WEBP", "TIFF", "PPM", *(("AVIF",) if features.check("avif") else ()))

# No PNG file holds more pixels in a byte: deflate shrinks by up to 1032, and eight pixels of one bit are a byte. A
# small file that promises a huge image would take seconds and gigabytes to decode.
MOST_PIXELS_A_BYTE = 8 * 1032


class Unreadable(ValueError):
    """A file that is not an image, or is damaged or too large; the message says why."""


@contextlib.contextmanager
def opened(source: Path | bytes) -> Iterator[Image.Image]:
    """Yield an opened image. What fails while it is read becomes `Unreadable`."""
    try:
        size = len(source) if isinstance(source, bytes) else source.stat().st_size
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS_A_BYTE * size:
                raise ValueError(f"it promises {image.width}x{image.height} pixels in {size:,} bytes")
            yield image
    except UnidentifiedImageError:
        raise Unreadable(f"it is not an image in the format {', '.join(FORMATS)}") from None
    except Exception as error:  # damaged bytes raise about any exception in the decoders of Pillow
        raise Unreadable(" ".join(str(error).split())[:200] or type(error).__name__) from None


def decode(
    source: Path | bytes, size: tuple[int, int] | None, channels: int | None, fit: Fit = USUAL_FIT
) -> np.ndarray:
    """Return one image as (height, width, channels) uint8, upright and without transparency; see `zoo.data.pixels`.

    A JPEG that is at least twice as large as asked for is decoded at a half, a quarter or an eighth of its scale.

    Args:
        source: Image file, or the bytes of one.
        size: (height, width) of the result, bilinear with antialiasing; None for the image's own size.
        channels: Number of channels, 1 or 3; None for 1 if the image is grey and 3 otherwise.
        fit: How an image of another aspect ratio is brought to `size`, see `zoo.data.fitting.resize`.

    Raises:
        Unreadable: If the image cannot be read, or has pixels that eight bits cannot hold.
    """
    with opened(source) as image:
        channels = channels or pixels.channels_of(image)
        if size is not None:
            inner = inner_size(pixels.upright_size(image), size, fit)
            shown = inner if pixels.lies_on_its_side(image) else inner[::-1]
            image.draft("L" if channels == 1 else "RGB", shown)
        found = pixels.as_bytes(image, channels)
    return resize(found, size, fit)


def size_of(source: Path | bytes) -> tuple[int, int]:
    """Return the (height, width) of an image after it is turned upright, from its header.

    Raises:
        Unreadable: If it is no image.
    """
    with opened(source) as image:
        return pixels.upright_size(image)


def is_picture(source: Path | bytes) -> bool:
    """Return whether the header of a file is one of an image, whatever the file is named."""
    try:
        with opened(source):
            return True
    except Unreadable:
        return False


def common_shape(
    sources: Sequence[Path | bytes], tally: Tally, total: int | None = None
) -> tuple[tuple[int, int], int]:
    """Return the most frequent (height, width) of images, and the number of channels: 1 if all are grey, else 3.

    `LOOKED_AT` images, drawn at random, are looked at. If all of them are grey, so are the others, up to the first in
    colour, because colours would be lost.

    Args:
        sources: Image files, or the bytes of image files.
        tally: Takes the own sizes of the images, and what decoding does to them; see `pixels.remarks`.
        total: Number of the images that these were drawn from, None if they are all.

    Raises:
        UsageError: If none of the images can be read.
    """
    sizes, levels, grey = collections.Counter(), [], True
    chosen = sample(len(sources), LOOKED_AT)
    which = f" of {len(chosen):,} looked at" if len(chosen) < (total or len(sources)) else ""
    for place in chosen.tolist():
        try:
            with opened(sources[place]) as image:
                sizes[pixels.upright_size(image)] += 1
                grey &= pixels.channels_of(image) == 1
                found = pixels.remarks(image)
                tally.changed.update(f"{remark}{which}" for remark in found)
                if pixels.REDUCED in found and len(levels) < DECODED:
                    levels.append(int(pixels.as_bytes(image).max()))
        except Unreadable:
            continue  # reported when it is decoded
    if not sizes:
        raise UsageError(f"none of the {len(sources)} images can be read")
    tally.sizes.update({f"{width}x{height}": count for (height, width), count in sizes.items()})
    if levels and max(levels) < DARK:
        tally.notes.append(
            f"of {len(levels)} pictures with 16 bits, none exceeds {max(levels) * 256 + 255:,} of 65,535, so that they"
            f" are read as dark as {max(levels)} of {PIXEL_MAX}; scale them up, if that is their white"
        )
    if grey and len(chosen) < len(sources):
        others = np.setdiff1d(np.arange(len(sources)), chosen).tolist()
        grey = not any(_has_colours(sources[place]) for place in others)
    return sizes.most_common(1)[0][0], 1 if grey else 3


def _has_colours(source: Path | bytes) -> bool:
    """Return whether an image has three channels; one that cannot be read has none."""
    try:
        with opened(source) as image:
            return pixels.channels_of(image) > 1
    except Unreadable:
        return False
