"""Every way in which a picture is stored gives the same bytes."""

import io
import struct
import zlib

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


def tiff(content, shape, bits=16, order="big", white_is_zero=False, planes=False):
    """Return an uncompressed TIFF file, written by hand because Pillow writes few forms.

    Args:
        content: Bytes of the pixels.
        shape: (height, width) or (height, width, 3).
    """
    height, width, colours = (*shape, 1)[:3]
    start = 8  # of the pixels; the lists of several numbers follow them
    lists, after = b"", start + len(content)

    def numbers(size, *values):
        nonlocal lists
        if len(values) == 1:
            return values[0]
        place = after + len(lists)
        lists += b"".join(value.to_bytes(size, order) for value in values)
        return place

    strips = colours if planes else 1
    sizes = [len(content) // strips] * strips
    photometric = 2 if colours == 3 else 0 if white_is_zero else 1
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, colours, numbers(2, *[bits] * colours)), (259, 4, 1, 1),
        (262, 4, 1, photometric), (273, 4, strips, numbers(4, *np.cumsum([start, *sizes[:-1]]).tolist())),
        (277, 4, 1, colours), (278, 4, 1, height), (279, 4, strips, numbers(4, *sizes)), (284, 4, 1, 1 + planes),
    ]  # fmt: skip
    entries = b"".join(
        tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order)
        + (value.to_bytes(2, order) + bytes(2) if kind == 3 and count == 1 else value.to_bytes(4, order))
        for tag, kind, count, value in tags
    )  # fmt: skip
    head = (b"MM" if order == "big" else b"II") + (42).to_bytes(2, order) + (after + len(lists)).to_bytes(4, order)
    return head + content + lists + len(tags).to_bytes(2, order) + entries + bytes(4)


def deep_png(values, clear=None):
    """Return a PNG file of 16 bits, which Pillow does not write, of (height, width, 2 to 4) numbers."""
    height, width, count = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {2: 4, 3: 2, 4: 6}[count]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    chunks += [(b"tRNS", struct.pack(">3H", *clear))] if clear else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )


PLAIN = Image.fromarray(GREY)
DRAWN = Image.merge("LA", (Image.new("L", PLAIN.size, 0), Image.fromarray(CLEAR)))
INDEXED = PLAIN.convert("P")
DEEP = Image.fromarray(GREY.astype("uint16") * 257)
CUT = np.where(GREY == 30, 255, GREY)
LONG = GREY.astype("uint16") * 257
COLOURS = np.repeat(LONG[..., None], 3, axis=-1)
# Twelve bits a number, packed: the highest eight are those of GREY.
PACKED = int("".join(f"{number * 16 + 9:012b}" for number in GREY.ravel().tolist()), 2).to_bytes(36, "big")


@pytest.mark.parametrize(("content", "expected", "tolerance"), [
    (stored(Image.fromarray((GREY / 255).astype("float32")), "tiff"), GREY, 0),
    (stored(Image.fromarray(GREY.astype("int32")), "tiff"), GREY, 0),
    (stored(DEEP, "png"), GREY, 0),
    (stored(DEEP, "tiff"), GREY, 0),
    (tiff(LONG.astype(">u2").tobytes(), (4, 6)), GREY, 0),
    (tiff((65535 - LONG).astype("<u2").tobytes(), (4, 6), order="little", white_is_zero=True), GREY, 0),
    (tiff(PACKED, (4, 6), bits=12, order="little"), GREY, 0),
    (tiff(COLOURS.astype(">u2").tobytes(), (4, 6, 3)), GREY, 0),
    (tiff(COLOURS.astype("<u2").tobytes(), (4, 6, 3), order="little"), GREY, 0),
    (deep_png(COLOURS), GREY, 0),
    (deep_png(COLOURS, clear=(30 * 257,) * 3), CUT, 0),
    (deep_png(np.stack([LONG * 0, 65535 - LONG], -1)), GREY, 1),
    (b"P6 6 4 65535\n" + COLOURS.astype(">u2").tobytes(), GREY, 0),
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


@pytest.mark.parametrize("content", [
    stored(Image.fromarray(GREY.astype("uint16")), "png"),
    deep_png(COLOURS // 257),
    deep_png(np.dstack([LONG // 257, LONG * 0 + 65535])),
    deep_png(np.dstack([COLOURS // 257, LONG * 0 + 65535])),
    tiff((COLOURS // 257).astype(">u2").tobytes(), (4, 6, 3)),
    tiff((COLOURS // 257).astype("<u2").tobytes(), (4, 6, 3), order="little"),
], ids=["grey", "colours", "grey and alpha", "RGBA", "TIFF, big-endian", "TIFF, little-endian"])  # fmt: skip
def test_bytes_in_16_bits_are_refused_because_nothing_of_them_would_be_left(content):
    with pytest.raises(images.Unreadable, match="16 bits and reach only 230 of 65,535, so that all would be black"):
        images.decode(content, None, None, "stretch")


@pytest.mark.parametrize("content", [deep_png(COLOURS * 0), tiff(bytes(144), (4, 6, 3))])
def test_a_black_picture_of_16_bits_is_black(content):
    assert not images.decode(content, None, None, "stretch").any()


def test_planes_that_pillow_misreads_are_refused():
    content = tiff(COLOURS.transpose(2, 0, 1).astype(">u2").tobytes(), (4, 6, 3), planes=True)
    with pytest.raises(images.Unreadable, match="its colours are uncompressed planes of 16 bits"):
        images.decode(content, None, None, "stretch")


def test_other_numbers_of_channels_are_refused_with_the_number():
    with pytest.raises(images.Unreadable, match=r"expected 4 channels, and a picture file gives 1 \(grey\) or 3"):
        images.decode(stored(PLAIN, "png"), (8, 8), 4, "stretch")


def test_grey_with_transparency_has_one_channel_at_any_depth():
    for content in (stored(DRAWN, "png"), deep_png(np.stack([LONG, LONG * 0 + 65535], -1))):
        assert images.decode(content, None, None, "stretch").shape == (4, 6, 1)


def test_the_header_tells_what_is_done_to_a_picture():
    def told(content):
        with Image.open(io.BytesIO(content)) as image:
            return pixels.remarks(image)

    assert told(stored(PLAIN, "png")) == ()
    assert told(stored(PLAIN, "jpeg", exif=in_exif(6))) == (pixels.TURNED,)
    assert told(stored(DRAWN, "png", exif=in_exif(3))) == (pixels.TURNED, pixels.COMPOSED)
    assert told(stored(Image.fromarray(GREY.astype("uint16")), "png")) == (pixels.REDUCED,)
    for deep in (deep_png(COLOURS), tiff(bytes(144), (4, 6, 3)), tiff(PACKED, (4, 6), bits=12, order="little"),
                 b"P6 6 4 65535\n" + bytes(144)):  # fmt: skip
        assert told(deep) == (pixels.REDUCED,)
    assert told(deep_png(COLOURS[..., :2])) == (pixels.COMPOSED, pixels.REDUCED)
    assert told(stored(Image.fromarray(GREY.astype("float32")), "tiff")) == (pixels.SCALED,)


@pytest.mark.parametrize("form", ["gif", "webp", "tiff", "png"])
def test_pictures_of_several_frames_are_told(form):
    frames = {"save_all": True, "append_images": [Image.fromarray(CLEAR)]}
    with Image.open(io.BytesIO(stored(PLAIN, form, **frames))) as image:
        assert pixels.remarks(image) == (pixels.FIRST,)
    assert images.decode(stored(PLAIN, form, **frames), None, 1, "stretch").shape == (4, 6, 1)
