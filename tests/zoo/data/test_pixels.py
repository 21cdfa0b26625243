"""Every way in which a picture is stored gives the same bytes."""

import io

import numpy as np
import pytest
from PIL import Image

from zoo.data import images, pixels

# A grey picture without symmetry, (4, 6): no turn or mirror image equals it.
GREY = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
CLEAR = 255 - GREY


def stored(image, form, **options):
    made = io.BytesIO()
    image.save(made, form, **options)
    return made.getvalue()


def in_exif(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def big_endian(values, bits):
    """Return an uncompressed TIFF file of one strip, written by hand because Pillow writes little-endian ones."""
    height, width = values.shape
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, 0), (277, 1), (278, height)]
    tags += [(279, height * width * bits // 8)]
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(
        tag.to_bytes(2, "big") + (4).to_bytes(2, "big") + (1).to_bytes(4, "big")
        + (start if tag == 273 else value).to_bytes(4, "big")
        for tag, value in tags
    )  # fmt: skip
    head = b"MM\x00\x2a" + (8).to_bytes(4, "big") + len(tags).to_bytes(2, "big") + entries + bytes(4)
    return head + values.astype(f">u{bits // 8}").tobytes()


PLAIN = Image.fromarray(GREY)
DRAWN = Image.merge("LA", (Image.new("L", PLAIN.size, 0), Image.fromarray(CLEAR)))
INDEXED = PLAIN.convert("P")
DEEP = Image.fromarray(GREY.astype("uint16") * 257)
CUT = np.where(GREY == 30, 255, GREY)


@pytest.mark.parametrize(("content", "expected", "tolerance"), [
    (stored(Image.fromarray((GREY / 255).astype("float32")), "tiff"), GREY, 0),
    (stored(Image.fromarray(GREY.astype("int32")), "tiff"), GREY, 0),
    (stored(DEEP, "png"), GREY, 0),
    (stored(DEEP, "tiff"), GREY, 0),
    (big_endian(GREY.astype("uint16") * 257, 16), GREY, 0),
    (b"P5 6 4 65535\n" + (GREY.astype(">u2") * 257).tobytes(), GREY, 0),
    (stored(PLAIN.convert("1"), "png"), np.asarray(PLAIN.convert("1")) * 255, 0),
    (stored(DRAWN, "png"), GREY, 1),
    (stored(DRAWN.convert("RGBA"), "png"), GREY, 1),
    (stored(DRAWN.convert("RGBA"), "webp", lossless=True, exact=True), GREY, 1),
    (stored(PLAIN, "png", transparency=30), CUT, 0),
    (stored(DEEP, "png", transparency=30 * 257), CUT, 0),
    (stored(PLAIN.convert("RGB").convert("CMYK"), "tiff"), GREY, 1),
    (stored(PLAIN.convert("CMYK"), "jpeg", quality=100), GREY, 4),
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 3])
def test_the_bytes_do_not_depend_on_how_a_picture_is_stored(content, expected, tolerance, channels):
    found = images.decode(content, None, channels, "stretch")
    assert found.dtype == np.uint8 and found.shape == (4, 6, channels)
    assert np.abs(found.astype(int) - expected[..., None]).max() <= tolerance


def test_a_transparent_colour_of_a_palette_is_white():
    index = int(np.asarray(INDEXED)[1, 2])
    found = images.decode(stored(INDEXED, "png", transparency=index), None, 3, "stretch")
    own = np.asarray(INDEXED.convert("RGB")).copy()
    own[np.asarray(INDEXED) == index] = 255
    assert found.tolist() == own.tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("form", ["jpeg", "png", "webp", "tiff"])
def test_a_picture_is_turned_upright(orientation, form):
    """Each value of EXIF's orientation says which side of the picture its first row and first column are."""
    first_row, first_column = ["tl", "tr", "br", "bl", "lt", "rt", "rb", "lb"][orientation - 1]
    shown = np.kron(GREY, np.ones((16, 16), np.uint8))  # blocks of JPEG that are flat
    content = stored(
        Image.fromarray(_stored(shown, first_row, first_column)), form, exif=in_exif(orientation), quality=95
    )
    with Image.open(io.BytesIO(content)) as image:
        assert pixels.upright_size(image) == shown.shape
    assert np.abs(images.decode(content, None, 1, "stretch")[..., 0].astype(int) - shown).max() <= 3
    small = images.decode(content, GREY.shape, 1, "stretch")[..., 0].astype(int)
    assert np.abs(small - GREY).max() <= 10  # neighbours are mixed at the edges of a block


def _stored(shown, first_row, first_column):
    """Return the array whose row 0 lies along the side `first_row` of the picture, and column 0 along the other."""
    rows = {"t": shown, "b": shown[::-1], "l": shown.T, "r": shown.T[::-1]}[first_row]
    return rows[:, ::-1] if first_column in "rb" else rows


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_leaves_a_picture_as_it_lies():
    content = stored(PLAIN.resize((48, 32)), "jpeg", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert images.decode(content, None, 1, "stretch").shape == (32, 48, 1)


def test_the_header_tells_what_is_done_to_a_picture():
    def told(content):
        with Image.open(io.BytesIO(content)) as image:
            return pixels.remarks(image)

    assert told(stored(PLAIN, "png")) == ()
    assert told(stored(PLAIN, "jpeg", exif=in_exif(6))) == (pixels.TURNED,)
    assert told(stored(DRAWN, "png", exif=in_exif(3))) == (pixels.TURNED, pixels.COMPOSED)
    assert told(stored(Image.fromarray(GREY.astype("uint16")), "png")) == (pixels.REDUCED,)
    assert told(stored(Image.fromarray(GREY.astype("float32")), "tiff")) == (pixels.SCALED,)
