"""Batches that are augmented: the same for the same seed, epoch and example; mixed images have mixed labels."""

import numpy as np
import pytest

from zoo.config.augmentation import RECIPES, parse
from zoo.config.train_config import TrainConfig
from zoo.data.augmentation import mixing
from zoo.data.augmentation.augmenter import Augmenter, of
from zoo.data.augmentation.draws import Draws
from zoo.data.batches.balance import balanced
from zoo.data.batches.pipeline import training_arrays, training_batches
from zoo.data.dataset import Split

RNG = np.random.default_rng(0)
SPLIT = Split(RNG.integers(0, 255, (24, 8, 6, 3)).astype("uint8"), (np.arange(24) % 3).astype("int32"))
ALONE = "flip + crop(2) + rotate + zoom + colour + erase + randaugment(1, 5)"
EVERYTHING = f"shift(1) + {ALONE} + mixup + cutmix"
WEIGHTS = np.array([0.5, 1, 2], "float32")


def augmenter(recipe, seed=3):
    return Augmenter(parse(recipe), seed, 3)


def batches(recipe, start=0, stop=12, **options):
    options = {"batch_size": 4, "seed": 3, "start": start, "stop": stop, "augment": augmenter(recipe)} | options
    return list(training_batches(SPLIT, **options).as_numpy_iterator())


@pytest.fixture(scope="module")
def whole():
    return batches(EVERYTHING, class_weights=WEIGHTS)


def test_a_resumed_run_sees_the_same_batches(whole):
    for ours, theirs in zip(batches(EVERYTHING, start=7, class_weights=WEIGHTS), whole[7:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_batches_of_arrays_are_those_of_tensorflow(whole):
    options = {"batch_size": 4, "seed": 3, "start": 0, "stop": 12, "class_weights": WEIGHTS, "balance": False}
    arrays = training_arrays(SPLIT, **options, augment=augmenter(EVERYTHING))
    for i in (0, 5, 11):
        for a, b in zip(arrays[i], whole[i], strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(a, b, atol=1e-5)


def test_an_example_is_changed_the_same_way_in_any_batch_and_anew_in_every_epoch():
    augment, x = augmenter(ALONE), SPLIT.x.astype("float32") / 255
    every, _ = augment.on_arrays(x, SPLIT.y, np.arange(24), 5)
    few, _ = augment.on_arrays(x[[9, 2]], SPLIT.y[[9, 2]], np.array([9, 2]), 5)
    np.testing.assert_array_equal(few, every[[9, 2]])
    later, _ = augment.on_arrays(x, SPLIT.y, np.arange(24), 6)
    other, _ = augmenter(ALONE, seed=4).on_arrays(x, SPLIT.y, np.arange(24), 5)
    for changed in (later, other, x):
        assert (np.abs(changed - every).max((1, 2, 3)) > 1e-3).all()


@pytest.mark.parametrize(
    "recipe", [*(name for name in RECIPES if name != "sound"), "strong + mixup", "flip(both) + rotate(180)"]
)
def test_pixels_stay_in_their_range_and_labels_remain_probabilities(recipe):
    augment = augmenter(recipe)
    x, y = augment.on_arrays(SPLIT.x.astype("float32") / 255, SPLIT.y, np.arange(24), 0)
    assert x.shape == SPLIT.x.shape and x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1
    if augment.mixes:
        assert y.shape == (24, 3) and y.min() >= 0
        np.testing.assert_allclose(y.sum(1), 1, atol=1e-6)
    else:
        np.testing.assert_array_equal(y, SPLIT.y)


def test_weights_of_mixed_examples_are_mixed_in_the_same_way(whole):
    for _, y, weight in whole:
        np.testing.assert_allclose(weight, y @ WEIGHTS, rtol=1e-6)


def test_mixup_averages_with_the_next_image():
    x, y = RNG.random((3, 2, 2, 1), np.float32), np.eye(3, dtype="float32")
    weight = np.array([1, 0.25, 0.5], "float32")
    images, labels = mixing.mixup(x, y, weight)
    np.testing.assert_allclose(images[1], 0.25 * x[1] + 0.75 * x[2], rtol=1e-6)
    np.testing.assert_allclose(labels, [[1, 0, 0], [0, 0.25, 0.75], [0.5, 0, 0.5]])


def test_a_label_of_cutmix_is_the_share_of_the_pixels():
    """Images of one colour each tell where their pixels come from."""
    count = 12
    x = np.broadcast_to(np.arange(count, dtype="float32")[:, None, None, None] / count, (count, 9, 7, 1))
    found, labels = Augmenter(parse("cutmix(1)"), 0, count).on_arrays(x, np.arange(count), np.arange(count), 0)
    for i in range(count):
        own = (found[i] == x[i]).mean()
        assert labels[i, i] == pytest.approx(own) and labels[i, (i + 1) % count] == pytest.approx(1 - own)
    assert len(set(labels.diagonal().tolist())) > 6


@pytest.mark.parametrize("alpha", [0.2, 1, 5])
def test_weights_are_drawn_from_the_beta_distribution(alpha):
    drawn = np.asarray(mixing.beta(alpha, Draws(0, 0, np.arange(50_000))), np.float64)
    assert drawn.mean() == pytest.approx(0.5, abs=0.01)
    assert drawn.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.02)


def test_erased_rectangles_have_the_mean_colour_and_the_area_that_is_asked_for():
    x = RNG.random((400, 20, 20, 3), np.float32)
    augment = Augmenter(parse("erase(0.5, area=0.3)"), 0, 2)
    found, _ = augment.on_arrays(x, np.zeros(400, "int32"), np.arange(400), 0)
    changed = (found != x).any(-1)
    shares = changed.mean((1, 2))
    assert (shares > 0).mean() == pytest.approx(0.5, abs=0.08) and shares.max() <= 0.35
    assert shares[shares > 0].mean() == pytest.approx(0.16, abs=0.03)
    example = int(shares.argmax())
    np.testing.assert_allclose(found[example][changed[example]], np.broadcast_to(
        x[example].mean((0, 1)), (changed[example].sum(), 3)), atol=1e-5)  # fmt: skip


def test_the_words_of_a_configuration_are_shift_then_augment():
    found = of(TrainConfig(shift=1, augment="flip", seed=5), 3)
    assert found.words == parse("shift(1) + flip") and found.seed == 5
    assert of(TrainConfig(augment="none"), 3) is None


def test_balanced_orders_have_equally_many_of_every_class():
    labels = np.repeat([0, 1, 2], [70, 20, 11])
    orders = [balanced(labels, np.random.default_rng(seed)) for seed in (0, 1)]
    for order in orders:
        counts = np.bincount(labels[order])
        assert len(order) == 101 and sorted(counts) == [33, 34, 34]
        seen = np.bincount(order, minlength=101)
        assert seen[:70].max() == 1  # of the frequent class some, none twice
        for low, high in ((70, 90), (90, 101)):  # of rare ones all, equally often
            assert seen[low:high].max() - seen[low:high].min() <= 1 and seen[low:high].min() >= 1
    assert (orders[0] != orders[1]).any()


def test_epochs_of_balanced_batches_have_equally_many_of_every_class():
    split = Split(SPLIT.x, np.repeat([0, 1, 2], [20, 3, 1]).astype("int32"))
    labels = [y for _, y in training_batches(split, batch_size=4, seed=0, start=0, stop=6, balance=True)]
    assert np.bincount(np.concatenate(labels)).tolist() == [8, 8, 8]
