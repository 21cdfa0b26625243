"""Masks that follow their images: the same map, to the nearest pixel."""

import numpy as np
import pytest

from zoo.config.augmentation import parse
from zoo.data.augmentation.augmenter import Augmenter

IGNORED = 255
INDEX = np.arange(16)


def follow(affine, masks, size):
    return affine.to_masks(masks, IGNORED)


def moved(recipe, images, masks, epoch=0):
    augment = Augmenter(parse(recipe), 3, 2, follow)
    return augment.on_arrays(images, masks, INDEX[: len(images)], epoch)


@pytest.fixture(scope="module")
def pictures():
    """Images that show their masks: a pixel is 1 where the mask is; borders are slanted and lie anywhere."""
    rows, columns = np.mgrid[:40, :32]
    masks = np.stack([(rows + 2 * columns + 5 * i) % 40 < 20 for i in range(16)]).astype("uint8")
    return masks[..., None].astype("float32"), masks


@pytest.mark.parametrize("recipe", ["flip", "flip(vertical)", "flip(both)", "crop(5)", "flip + crop(3)"])
def test_flips_and_whole_shifts_are_exact(recipe, pictures):
    images, masks = moved(recipe, *pictures)
    assert masks.dtype == np.uint8 and (masks != pictures[1]).any()
    np.testing.assert_array_equal(images[..., 0], masks)


@pytest.mark.parametrize("recipe", ["rotate(40)", "zoom(0.4)", "flip + rotate(30) + zoom", "randaugment(3, 4)"])
def test_masks_turn_and_grow_as_their_images(recipe, pictures):
    images, masks = moved(recipe, *pictures)
    likely = images[..., 0] > (images.min((1, 2, 3)) + images.max((1, 2, 3)))[:, None, None] / 2
    same = np.mean((likely == (masks == 1)) | (images[..., 0] == 0.5), axis=(1, 2))
    assert set(np.unique(masks)) == {0, 1}  # nothing is interpolated
    if "randaugment" not in recipe:
        assert same.min() > 0.98
    else:  # other changes than maps invert some images
        assert np.median(np.maximum(same, 1 - same)) > 0.98


def test_pixels_outside_a_black_border_are_ignored(pictures):
    images, masks = moved("shift(6)", *pictures)
    outside = masks == IGNORED
    assert outside.any() and (images[outside] == 0).all()
    np.testing.assert_array_equal(images[..., 0][~outside], masks[~outside])


def test_changes_of_colours_leave_masks_alone(pictures):
    _, masks = moved("colour + erase", *pictures)
    np.testing.assert_array_equal(masks, pictures[1])
