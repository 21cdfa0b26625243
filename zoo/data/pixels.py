"""The pixels of a picture as bytes, whatever it is stored as: deep, floating-point, transparent or turned by EXIF.

Every reading of pictures (training, evaluation, prediction, explanation) takes its pixels from here. The page of the
demo follows the same rules in the browser.
"""

import numpy as np
from PIL import ExifTags, Image

# Modes of grey pictures.
GREY = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N", "F")
# Modes of pictures with one number of more than eight bits for each pixel: 16 bits, 32 bits, and floating-point.
_SIXTEEN = ("I;16", "I;16L", "I;16B", "I;16N")
_DEEP = (*_SIXTEEN, "I", "F")
WHITE = 255
# How a picture is turned or mirrored for each value of EXIF's orientation (EXIF 2.32, tag 0x0112) but 1, upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# What is done to pictures that are not plain bytes, as the line on what was read names it.
TURNED = "turned upright by EXIF"
COMPOSED = "with transparency composed on white"
REDUCED = "reduced from 16 bits to 8"
SCALED = "scaled from [0, 1] to bytes"


def channels_of(image: Image.Image) -> int:
    """Return 1 for a grey picture and 3 for any other."""
    return 1 if image.mode in GREY else 3


def lies_on_its_side(image: Image.Image) -> bool:
    """Return whether height and width of an opened picture change places when it is turned upright."""
    return _orientation(image) >= 5


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) of an opened picture after it is turned upright; nothing is decoded."""
    width, height = image.size
    return (width, height) if lies_on_its_side(image) else (height, width)


def remarks(image: Image.Image) -> tuple[str, ...]:
    """Return what `as_bytes` will do to an opened picture, by its header: TURNED, COMPOSED, REDUCED and SCALED."""
    found = {
        TURNED: _orientation(image) != 1,
        COMPOSED: image.has_transparency_data,
        REDUCED: image.mode in _SIXTEEN or _is_deep_netpbm(image),
        SCALED: image.mode == "F",
    }
    return tuple(remark for remark, holds in found.items() if holds)


def as_bytes(image: Image.Image, channels: int | None = None) -> np.ndarray:
    """Return an opened picture as (height, width, channels) uint8, upright and composed on white.

    Numbers of 16 bits are divided by 256, floating-point numbers must be in [0, 1] and are multiplied by 255, and
    integers of 32 bits must be bytes.

    Args:
        image: Picture as Pillow opens it.
        channels: Number of channels, 1 or 3; None for 1 if the picture is grey and 3 otherwise.

    Raises:
        ValueError: Pixels whose white is not known.
    """
    channels = channels or channels_of(image)
    orientation = _orientation(image)  # before the picture is replaced by one without EXIF
    if image.mode in _DEEP:
        image = _reduced(image)
    if image.has_transparency_data:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, (WHITE,) * 4), colours)
    image = image.convert("L" if channels == 1 else "RGB")
    if orientation in _UPRIGHT:
        image = image.transpose(_UPRIGHT[orientation])
    return np.asarray(image).reshape(image.height, image.width, channels)


def _orientation(image: Image.Image) -> int:
    """Return EXIF's orientation, 1 to 8; 1 where there is none, or where the EXIF data are damaged."""
    # Pillow turns TIFF files itself. It looks for the EXIF data of a PNG file behind its pixels, which decodes them.
    if image.format == "TIFF" or (image.format == "PNG" and "exif" not in image.info):
        return 1
    try:
        found = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # damaged data raise about any exception
        return 1
    return found if found in _UPRIGHT else 1


def _is_deep_netpbm(image: Image.Image) -> bool:
    """Return whether Pillow has scaled the numbers of a PGM file to 16 bits."""
    return image.mode == "I" and image.format == "PPM"


def _reduced(image: Image.Image) -> Image.Image:
    """Return a grey picture of bytes for one of deeper numbers."""
    deep, clear = np.asarray(image), image.info.get("transparency")
    low, high = deep.min(), deep.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # also true for NaN
            raise ValueError(
                f"its pixels are floating-point numbers from {low:g} to {high:g}, whose white is not known: expected"
                " 0 to 1, or store it in 8 or 16 bits"
            )
        values = np.rint(deep * WHITE)
    elif image.mode in _SIXTEEN or _is_deep_netpbm(image):
        if 0 < high <= WHITE and image.format != "PPM":
            raise ValueError(
                f"its pixels have 16 bits and reach only {high:,} of 65,535, so that all would be black: store it in 8"
                " bits if they are bytes"
            )
        values = deep >> 8
    else:
        if low < 0 or high > WHITE:
            raise ValueError(
                f"its pixels are 32-bit integers from {low:,} to {high:,}, whose white is not known: expected 0 to 255,"
                " or store it in 8 or 16 bits"
            )
        values = deep
    values = values.astype(np.uint8)
    if isinstance(clear, int):
        values[deep == clear] = WHITE
    return Image.fromarray(values)
