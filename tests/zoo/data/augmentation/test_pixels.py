"""What the words do to pixels, against numpy, SciPy and Pillow."""

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from zoo.data.augmentation import colours, geometry

RNG = np.random.default_rng(0)
IMAGES = RNG.random((3, 8, 10, 3), np.float32)
BYTES = RNG.integers(20, 230, (2, 12, 12, 3)).astype("uint8")


def as_pixels(images):
    return images.astype("float32") / 255


def each(*values):
    return np.array(values, "float32")


def test_flips_and_shifts_move_pixels_exactly():
    mirrored = geometry.scale(each(-1, 1, -1), 1.0, fill=None)
    np.testing.assert_array_equal(mirrored(IMAGES)[0], IMAGES[0, :, ::-1])
    np.testing.assert_array_equal(mirrored(IMAGES)[1], IMAGES[1])
    moved = geometry.shift(each(2, -1, 0), each(1, 0, 0), "black")(IMAGES)
    np.testing.assert_array_equal(moved[0, 1:, 2:], IMAGES[0, :-1, :-2])
    assert not np.asarray(moved[0, :1]).any() and not np.asarray(moved[0, :, :2]).any()
    np.testing.assert_array_equal(moved[1, :, :-1], IMAGES[1, :, 1:])
    reflected = geometry.shift(each(2, 0, 0), 0.0)(IMAGES)
    np.testing.assert_array_equal(reflected[0, :, :4], IMAGES[0][:, [1, 0, 0, 1]])


def test_rotations_are_counterclockwise():
    square = IMAGES[:, :, :8]
    np.testing.assert_allclose(geometry.rotation(each(90, 180, 0))(square)[0], np.rot90(square[0]), atol=1e-5)
    np.testing.assert_allclose(geometry.rotation(each(90, 180, 0))(square)[1], square[1, ::-1, ::-1], atol=1e-5)


def test_interpolation_is_that_of_scipy():
    found = np.asarray(geometry.rotation(each(20, 20, 20))(IMAGES))
    expected = ndimage.rotate(IMAGES[0], 20, reshape=False, order=1, mode="reflect")
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_composed_maps_equal_maps_in_turn():
    """Whole pixels, so that interpolating twice loses nothing."""
    square = IMAGES[:, :, :8]
    first, second = geometry.scale(each(-1, 1, 1), each(1, -1, 1), fill=None), geometry.rotation(each(90, 90, 90))
    third = geometry.shift(each(1, 2, 0), each(0, 1, 0))
    together = third.after(second.after(first))
    np.testing.assert_allclose(together(square), third(second(first(square))), atol=1e-5)


def test_zoom_enlarges_about_the_centre():
    ramp = np.broadcast_to(np.arange(9, dtype="float32")[None, None, :, None], (1, 9, 9, 1))
    np.testing.assert_allclose(geometry.scale(each(2), each(2))(ramp)[0, 0, :, 0], np.arange(9) / 2 + 2, atol=1e-6)


def test_brightness_contrast_and_saturation_are_those_of_pillow():
    for arguments, enhance in (
        ((0.7, 1, 1), ImageEnhance.Brightness),
        ((1, 0.7, 1), ImageEnhance.Contrast),
        ((1, 1, 0.7), ImageEnhance.Color),
    ):
        found = colours.jittered(as_pixels(BYTES), *(each(v, v) for v in arguments))
        for ours, image in zip(np.asarray(found), BYTES, strict=True):
            theirs = np.asarray(enhance(Image.fromarray(image)).enhance(0.7))
            np.testing.assert_allclose(ours * 255, theirs, atol=1.5)  # Pillow rounds to bytes


def test_grey_images_have_no_saturation():
    grey = as_pixels(BYTES[..., :1])
    np.testing.assert_allclose(colours.jittered(grey, *(each(1, 1),) * 2, each(0.3, 0.3)), grey, atol=1e-6)


def test_changes_of_randaugment_are_those_of_pillow():
    large = RNG.integers(20, 230, (1, 256, 256, 3)).astype("uint8")  # Pillow equalizes in steps of 256 pixels then
    images = as_pixels(large)
    pairs = [
        (colours.posterized(images, each(3)) * 256, lambda image: ImageOps.posterize(image, 3), 1e-3),
        (colours.solarized(images, each(0.4)) * 255, lambda image: ImageOps.solarize(image, 102), 1e-3),
        (colours.stretched(images) * 255, ImageOps.autocontrast, 1.001),
        (colours.equalized(images) * 255, ImageOps.equalize, 4),
    ]
    for found, change, atol in pairs:
        for ours, image in zip(np.asarray(found), large, strict=True):
            np.testing.assert_allclose(ours, np.asarray(change(Image.fromarray(image))), atol=atol)


def test_a_plain_image_stays_as_it_is():
    plain = np.full((1, 6, 6, 3), 100 / 255, "float32")
    for change in (colours.stretched, colours.equalized, colours.smoothed):
        np.testing.assert_allclose(change(plain), plain, atol=1e-6)


def test_smoothing_is_that_of_pillow():
    from PIL import ImageFilter

    found = np.asarray(colours.smoothed(as_pixels(BYTES)))
    theirs = np.asarray(Image.fromarray(BYTES[0]).filter(ImageFilter.SMOOTH))
    np.testing.assert_allclose(found[0, 1:-1, 1:-1] * 255, theirs[1:-1, 1:-1], atol=0.51)


@pytest.mark.parametrize("images", [IMAGES, IMAGES[..., :1]])
def test_equalized_pixels_keep_their_order(images):
    found = np.asarray(colours.equalized(images))
    for channel in range(images.shape[-1]):
        order = np.argsort(np.rint(images[0, ..., channel] * 255), axis=None)
        assert (np.diff(found[0, ..., channel].reshape(-1)[order]) >= 0).all()
