"""Boxes that follow their images: a white rectangle is where the moved box says."""

import numpy as np
import pytest

from zoo.config.augmentation import parse
from zoo.data.augmentation import boxes
from zoo.data.augmentation.augmenter import Augmenter

INDEX = np.arange(32)


def moved(recipe, images, objects, epoch=0):
    return Augmenter(parse(recipe), 3, 2, boxes.moved, fill="black").on_arrays(
        images, objects, INDEX[: len(images)], epoch
    )


@pytest.fixture(scope="module")
def pictures():
    """Grey images with a white rectangle, which is an object of class 1; a second row is empty."""
    rng = np.random.default_rng(0)
    images, objects = np.full((32, 48, 64, 1), 0.2, np.float32), np.zeros((32, 2, 5), np.float32)
    objects[:, 1, 4] = -1
    for image, rows in zip(images, objects, strict=True):
        x, y = rng.integers(4, 30, 2)
        width, height = rng.integers(8, 16, 2)
        image[y : y + height, x : x + width] = 1
        rows[0] = [x, y, x + width, y + height, 1]
    return images, objects


@pytest.mark.parametrize(
    ("recipe", "slack"),
    [
        *[(recipe, 0.01) for recipe in ("flip", "flip(vertical)", "flip(both)")],
        ("crop(0.2)", 0.01), ("shift(9)", 0.01), ("zoom(0.4)", 1.0), ("flip(both) + crop(0.2) + zoom(0.3)", 1.0),
        ("colour + erase(0)", 0.01),
    ],
)  # fmt: skip
def test_a_box_is_around_its_object(recipe, slack, pictures):
    images, objects = moved(recipe, *pictures)
    assert objects.shape == pictures[1].shape and (objects[:, 1, 4] == -1).all()
    for image, (x1, y1, x2, y2, kind) in zip(images, objects[:, 0], strict=True):
        rows, columns = np.nonzero(image[..., 0] > (image.min() + image.max()) / 2)
        if kind < 0:
            continue
        np.testing.assert_allclose(
            [x1, y1, x2, y2], [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], atol=slack
        )


def test_a_turned_object_lies_within_its_box(pictures):
    images, objects = moved("rotate(40)", *pictures)
    for image, (x1, y1, x2, y2, kind) in zip(images, objects[:, 0], strict=True):
        rows, columns = np.nonzero(image[..., 0] > 0.6)
        if kind == 1:
            assert x1 - 1 <= columns.min() and columns.max() + 1 <= x2 + 1
            assert y1 - 1 <= rows.min() and rows.max() + 1 <= y2 + 1


def test_an_object_of_which_little_is_left_is_none(pictures):
    images, objects = moved("shift(40)", *pictures)
    seen = (images[..., 0] > 0.9).sum((1, 2))
    whole = ((pictures[1][:, 0, 2] - pictures[1][:, 0, 0]) * (pictures[1][:, 0, 3] - pictures[1][:, 0, 1])).round()
    np.testing.assert_array_equal(objects[:, 0, 4] == 1, seen >= boxes.LEAST_VISIBLE * whole)
    assert 0 < (objects[:, 0, 4] == 1).sum() < 32


def test_nothing_is_mirrored_into_an_image(pictures):
    images, _ = moved("crop(0.2) + zoom(0.5)", *pictures)
    areas = (images[..., 0] > 0.6).sum((1, 2))
    assert (areas <= 2.4 * 16 * 16).all() and (images[:, 0, 0, 0] == 0).any()
