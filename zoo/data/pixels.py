"""The pixels of a picture as bytes, whatever it is stored as: deep, floating-point, transparent or turned by EXIF.

Every reading of pictures (training, evaluation, prediction, explanation) takes its pixels from here. The page of the
demo follows the same rules in the browser.
"""

import io

import numpy as np
from PIL import ExifTags, Image, TiffImagePlugin

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
REDUCED = "reduced to 8 bits"
SCALED = "scaled from [0, 1] to bytes"
FIRST = "of several frames, of which the first is read"


def channels_of(image: Image.Image) -> int:
    """Return 1 for a grey picture and 3 for any other."""
    # Pillow gives grey PNG files with 16 bits and transparency the mode RGBA.
    return 1 if image.mode in GREY or _unpacked(image) == "LA;16B" else 3


def lies_on_its_side(image: Image.Image) -> bool:
    """Return whether height and width of an opened picture change places when it is turned upright."""
    return _orientation(image) >= 5


def upright_size(image: Image.Image) -> tuple[int, int]:
    """Return (height, width) of an opened picture after it is turned upright; nothing is decoded."""
    width, height = image.size
    return (width, height) if lies_on_its_side(image) else (height, width)


def remarks(image: Image.Image) -> tuple[str, ...]:
    """Return what `as_bytes` will do to an opened picture, by its header.

    TURNED, COMPOSED, REDUCED, SCALED and FIRST.
    """
    found = {
        TURNED: _orientation(image) != 1,
        COMPOSED: image.has_transparency_data,
        REDUCED: bits_of(image) > 8,
        SCALED: image.mode == "F",
        # The other pictures of an MPO file are previews and depths of the first, as telephones write them.
        FIRST: image.format != "MPO" and getattr(image, "is_animated", False),
    }
    return tuple(remark for remark, holds in found.items() if holds)


def as_bytes(image: Image.Image, channels: int | None = None) -> np.ndarray:
    """Return an opened picture as (height, width, channels) uint8, upright and composed on white.

    Numbers of 16 bits are divided by 256, floating-point numbers must be in [0, 1] and are multiplied by 255, and
    integers of 32 bits must be bytes.

    Args:
        image: Picture as Pillow opens it, not yet decoded.
        channels: Number of channels, 1 or 3; None for 1 if the picture is grey and 3 otherwise.

    Raises:
        ValueError: Pixels whose white is not known, another number of channels, or a form that Pillow misreads.
    """
    channels = channels or channels_of(image)
    if channels not in (1, 3):
        raise ValueError(
            f"expected {channels} channels, and a picture file gives 1 (grey) or 3 (RGB); give an array in an .npz file"
        )
    _check_planes(image)
    orientation = _orientation(image)  # before the picture is replaced by one without EXIF
    bits = bits_of(image)
    if image.mode in _DEEP:
        image = _reduced(image, bits)
    elif bits > 8:
        _check_high_bytes(image)
        if isinstance(clear := image.info.get("transparency"), tuple):
            image.info["transparency"] = tuple(number >> 8 for number in clear)
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


def _unpacked(image: Image.Image) -> str:
    """Return how Pillow will unpack the pixels of a picture that is not yet decoded, such as RGB;16B."""
    tile = getattr(image, "tile", None)  # a picture made in memory has none
    described = tile[0][3] if tile else ""
    return str(described[0] if isinstance(described, tuple) else described)


def bits_of(image: Image.Image) -> int:
    """Return 16, or 12, if bytes are made of the highest bits of an opened picture's numbers, and 8 otherwise."""
    if image.mode in ("I", "F") and image.format != "PPM":
        return 8  # numbers of 32 bits, which are no shares of a known white
    if image.format == "TIFF":
        return max(8, *image.tag_v2.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if image.format == "PPM":  # Pillow scales grey numbers by their white to 16 bits, and colours to 8
        described = image.tile[0][3]
        return 16 if image.mode == "I" or (isinstance(described, tuple) and described[1] > WHITE) else 8
    return 16 if ";16" in _unpacked(image) else 8


def _white_is_zero(image: Image.Image) -> bool:
    """Return whether 0 is white in a TIFF file of 16 bits; Pillow heeds that only where there are eight or fewer."""
    return image.format == "TIFF" and image.tag_v2.get(TiffImagePlugin.PHOTOMETRIC_INTERPRETATION) == 0


def _check_planes(image: Image.Image) -> None:
    """Raise ValueError for planes of 16 bits one after the other, which Pillow unpacks as planes of bytes."""
    planes = image.format == "TIFF" and image.tag_v2.get(TiffImagePlugin.PLANAR_CONFIGURATION) == 2
    if planes and bits_of(image) > 8 and image.tile[0][0] == "raw":
        raise ValueError("its colours are uncompressed planes of 16 bits: store them pixel by pixel, or in 8 bits")


def _check_high_bytes(image: Image.Image) -> None:
    """Raise ValueError for colours of 16 bits that are bytes, of which the high byte, all that Pillow reads, is 0.

    The low bytes of such a picture are read by the other order of bytes.
    """
    if image.format == "PPM" or image.mode == "CMYK":  # a PPM file says what its white is, and 0 is white in CMYK
        return
    place = image.fp.tell()
    image.fp.seek(0)
    content = image.fp.read()
    image.fp.seek(place)
    grey = _unpacked(image) == "LA;16B"
    if np.asarray(image)[..., :3].any():
        return
    with Image.open(io.BytesIO(content), formats=[image.format]) as low:
        order = _unpacked(low)
        order = "RGBA" if grey else order[:-1] + ("L" if order.endswith("B") else "B")
        low.tile = [(*tile[:3], (order, *tile[3][1:]) if isinstance(tile[3], tuple) else order) for tile in low.tile]
        high = np.asarray(low)[..., : 2 if grey else 3].max()
    if high:
        raise ValueError(_too_dark(high, 16))


def _too_dark(high: int, bits: int, become: str = "black") -> str:
    return (
        f"its pixels have {bits} bits and reach only {high:,} of {2**bits - 1:,}, so that all would be {become}: store"
        " it in 8 bits if they are bytes"
    )


def _reduced(image: Image.Image, bits: int) -> Image.Image:
    """Return a grey picture of bytes for one of deeper numbers, of which the highest of `bits` bits is white."""
    deep, clear = np.asarray(image), image.info.get("transparency")
    low, high = deep.min(), deep.max()
    if image.mode == "F":
        if not (low >= 0 and high <= 1):  # also true for NaN
            raise ValueError(
                f"its pixels are floating-point numbers from {low:g} to {high:g}, whose white is not known: expected"
                " 0 to 1, or store it in 8 or 16 bits"
            )
        values = np.rint(deep * WHITE)
    elif bits > 8:
        inverted = _white_is_zero(image)
        if 0 < high < 1 << bits - 8 and image.format != "PPM":
            raise ValueError(_too_dark(high, bits, "white" if inverted else "black"))
        values = deep >> bits - 8
        values = WHITE - values if inverted else values
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
