import numpy as np
import pytest

from tests.conftest import blobs, offset_of
from zoo.config.augmentation import parse
from zoo.console.errors import UsageError
from zoo.data import Split
from zoo.data.augmentation.augmenter import Augmenter
from zoo.data.batches.pipeline import (
    epoch_order,
    epoch_orders,
    evaluation_batches,
    evaluation_parts,
    gathered,
    steps_per_epoch,
    training_batches,
)


def numbered(count):
    """Return examples whose pixel is their index."""
    return Split(np.arange(count, dtype="uint8")[:, None], np.arange(count, dtype="int32") % 3)


def test_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch_alone():
    order = epoch_order(50, seed=3, epoch=7)
    assert sorted(order) == list(range(50))
    np.testing.assert_array_equal(order, epoch_order(50, seed=3, epoch=7))
    assert (order != epoch_order(50, seed=3, epoch=8)).any()
    assert (order != epoch_order(50, seed=4, epoch=7)).any()


def steps_of(count, batch, start, stop):
    return np.concatenate(list(epoch_orders(count, batch, 0, start, stop)))


def test_any_interval_of_steps_is_a_part_of_the_whole_run():
    whole = steps_of(23, 5, 0, 12)  # 4 steps per epoch, each without 3 of 23 examples
    assert whole.shape == (12, 5)
    for start in range(12):
        for stop in range(start + 1, 13):
            np.testing.assert_array_equal(steps_of(23, 5, start, stop), whole[start:stop])
    for epoch in range(3):
        assert len(set(whole[epoch * 4 : epoch * 4 + 4].ravel())) == 20  # no example occurs twice


def test_the_pipeline_gives_these_examples_scaled_to_one():
    expected = steps_of(23, 5, 3, 9)
    batches = list(training_batches(numbered(23), batch_size=5, seed=0, start=3, stop=9).as_numpy_iterator())
    assert len(batches) == 6
    for (x, y), indices in zip(batches, expected, strict=True):
        np.testing.assert_allclose(x[:, 0] * 255, indices, atol=1e-4)
        np.testing.assert_array_equal(y, indices % 3)


def test_a_step_gathers_the_same_batches_by_itself():
    weights = np.array([1, 2, 3], "float32")
    options = {"batch_size": 5, "seed": 4, "class_weights": weights}
    found = gathered(numbered(23), **options)
    handed = list(training_batches(numbered(23), start=0, stop=12, **options).as_numpy_iterator())
    for start in range(12):
        for stop in range(start + 1, 13):  # including ranges over three epochs of 4 steps
            indices = found.indices(start, stop - start)
            assert indices.shape == (stop - start, 5) and indices.dtype == np.int64
            for row, batch in zip(indices, handed[start:stop], strict=True):
                for ours, theirs in zip(found.take(row), batch, strict=True):
                    np.testing.assert_array_equal(ours, theirs)


def test_class_weights_go_with_their_labels():
    weights = np.array([1, 2, 3], "float32")
    dataset = training_batches(numbered(9), batch_size=3, seed=0, start=0, stop=3, class_weights=weights)
    for _, y, weight in dataset.as_numpy_iterator():
        np.testing.assert_array_equal(weight, weights[y])


def test_cardinality_is_known():
    assert int(training_batches(numbered(23), batch_size=5, seed=0, start=3, stop=9).cardinality()) == 6


def test_evaluation_sees_every_example_once_in_order():
    batches = list(evaluation_batches(numbered(23), batch_size=5).as_numpy_iterator())
    assert [len(y) for _, y in batches] == [5, 5, 5, 5, 3]
    np.testing.assert_allclose(np.concatenate([x for x, _ in batches])[:, 0] * 255, np.arange(23), atol=1e-4)


@pytest.mark.parametrize("tail", [*(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2)), 3])
def test_an_uneven_tail_is_evaluated_alike_on_two_replicas(tail, mirrored):
    import keras

    import strategies
    from strategies.keras_fit import prepared

    x, y = blobs(32 + tail, (6,))
    split, results = Split(x.astype("float32"), y), []
    for strategy in (strategies.build("none"), mirrored):
        keras.utils.set_random_seed(0)
        with strategy.scope():
            model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3)])
            model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
            dataset = evaluation_batches(split, batch_size=16)
            with prepared(model, dataset):
                evaluated = model.evaluate(dataset, verbose=0)
        results.append([*evaluated, *model.predict(dataset, verbose=0).ravel()])
    np.testing.assert_allclose(results[0], results[1], atol=1e-6)


def test_a_batch_larger_than_the_set_is_refused():
    with pytest.raises(UsageError, match="--batch-size 10: expected at most the 9 training examples"):
        steps_per_epoch(9, 10)


def test_shifted_images_are_the_images_moved_the_same_whenever_a_run_resumes():
    rng = np.random.default_rng(0)
    split = Split(rng.integers(1, 255, (12, 6, 5, 2)).astype("uint8"), np.arange(12, dtype="int32"))
    shift = Augmenter(parse("shift(2)"), 1, 12)
    whole = list(training_batches(split, batch_size=4, seed=1, start=0, stop=6, augment=shift).as_numpy_iterator())
    plain = list(training_batches(split, batch_size=4, seed=1, start=0, stop=6).as_numpy_iterator())
    offsets = set()
    for (moved, y), (still, same) in zip(whole, plain, strict=True):
        np.testing.assert_array_equal(y, same)
        offsets |= {offset_of(b, a, 2) for a, b in zip(moved, still, strict=True)}
    assert len(offsets) > 10
    rest = training_batches(split, batch_size=4, seed=1, start=2, stop=6, augment=shift).as_numpy_iterator()
    for (a, _), (b, _) in zip(whole[2:], rest, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("examples", [1, 2, 3, 7, 19, 24])
def test_parts_of_an_evaluation_are_every_example_once(examples, count):
    split = Split(np.arange(examples, dtype=np.float32)[:, None], np.arange(examples, dtype=np.int32))
    found = [
        [y.numpy() for _, y in evaluation_parts(split, range(i, i + 1), count, batch_size=5)] for i in range(count)
    ]
    assert len({len(each) for each in found}) == 1  # steps
    assert all(len(y) for each in found for y in each)
    steps = [np.concatenate(parts).tolist() for parts in zip(*found, strict=True)]
    times = 1 if examples >= count else count  # every replica has all of fewer examples
    assert sum(steps, []) == list(range(examples)) * times
    assert max(map(len, steps)) <= max(5, count) or times > 1
    together = [y.numpy() for _, y in evaluation_parts(split, range(count), count, batch_size=5)]
    assert [y.tolist() for y in together] == [part.tolist() for parts in zip(*found, strict=True) for part in parts]
