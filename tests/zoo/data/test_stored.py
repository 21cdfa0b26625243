"""Examples that are decoded when they are looked at: the same pixels, batches and digests as those in memory."""

import threading

import numpy as np
import pytest

from tests.zoo.data.encoding import config
from zoo.config.train_config import TrainConfig
from zoo.console import progress
from zoo.console.errors import Failed, UsageError
from zoo.data import digests, load
from zoo.data.batches import order, pipeline, streamed
from zoo.data.batches.pipeline import evaluation_batches, gathered, training_batches
from zoo.data.dataset import Split
from zoo.data.stored import keeping
from zoo.data.stored.column import Column


def test_streamed_and_kept_examples_are_the_same_bits(folder):
    kept, read = load(config(folder)), load(config(folder, memory=1000))
    assert kept.train.in_memory and not read.train.in_memory
    assert "decoded in memory" in kept.reading.line() and "more than --memory 1.0 kB" in read.reading.line()
    assert digests.of_data(kept) == digests.of_data(read)
    x = kept.train.x
    column = read.train.x
    assert column.shape == x.shape and column.dtype == x.dtype and len(column) == len(x)
    for index in (3, slice(2, 5), np.array([7, 1, 7]), (slice(1, 3), slice(0, 4)), (4, 0)):
        np.testing.assert_array_equal(column[index], x[index])
    np.testing.assert_array_equal(np.asarray(column), x)
    few = np.array([5, 2])
    np.testing.assert_array_equal(read.train.take(few).marks, kept.train.take(few).marks)
    options = {"batch_size": 8, "seed": 1, "start": 2, "stop": 11, "class_weights": np.array([1, 3], "float32")}
    batches = [list(training_batches(data.train, **options).as_numpy_iterator()) for data in (kept, read)]
    assert len(batches[0]) == len(batches[1]) == 9
    for theirs, ours in zip(*batches, strict=True):
        for one, other in zip(theirs, ours, strict=True):
            np.testing.assert_array_equal(one, other)
    for part in range(2):  # each of two workers reads its half of every batch
        found = training_batches(read.train, part=(part, 2), **options).as_numpy_iterator()
        for theirs, ours in zip(batches[0], found, strict=True):
            np.testing.assert_array_equal(theirs[0][4 * part : 4 * part + 4], ours[0])
    x, y = zip(*evaluation_batches(read.test, batch_size=5).as_numpy_iterator(), strict=True)
    np.testing.assert_array_equal(np.concatenate(y), kept.test.y)
    assert gathered(read.train, batch_size=8, seed=1) is None


def test_memory_may_be_a_text_in_python():
    assert TrainConfig(memory="1.5g").memory == 1_500_000_000
    with pytest.raises(UsageError, match="--memory: expected a number of bytes such as 20000, .* received 'much'"):
        TrainConfig(memory="much")


def test_a_first_look_that_is_interrupted_goes_on(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(keeping, "PORTION", 25)
    whole, seen, told = keeping._portion, [], []

    def interrupted(column, read):
        seen.append(column.name(0))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return whole(column, read)

    monkeypatch.setattr(keeping, "_portion", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load(config(folder, memory=1000))
    monkeypatch.setattr(progress, "part", lambda *parts: told.append(parts))
    data = load(config(folder, memory=1000))
    every = sum(len(data.split(split)) for split in ("train", "validation", "test"))
    assert told[-1] == (every, every, "pictures")
    assert seen == ["a/00.jpg", "a/50.jpg", "a/50.jpg", "b/41.jpg"]  # the first 25 once
    assert digests.of_data(data) == digests.of_data(load(config(folder)))


def test_an_example_that_disappears_is_named(folder, pictures):
    gone = folder / "a" / "00.jpg"
    data = load(config(folder, memory=1000))
    gone.rename(folder / "gone")
    try:
        with pytest.raises(
            UsageError, match="a/00.jpg: cannot be read: No such file.*; the data changed since the start"
        ):
            np.asarray(data.train.x), np.asarray(data.validation.x), np.asarray(data.test.x)
        with pytest.raises(Failed, match="a/00.jpg: cannot be read: No such file"), streamed.told():
            for split in (data.train, data.validation, data.test):
                list(evaluation_batches(split, batch_size=8))
    finally:
        (folder / "gone").rename(gone)


@pytest.mark.parametrize(("examples", "block"), [(1000, 7), (1000, 1), (5, 100), (20_000, 3)])
def test_an_order_of_blocks_has_every_example_once(examples, block):
    found = order.epoch_order(examples, 1, 2, block=block)
    np.testing.assert_array_equal(np.sort(found), np.arange(examples))
    np.testing.assert_array_equal(found, order.epoch_order(examples, 1, 2, block=block))
    assert block == 100 or (found != order.epoch_order(examples, 1, 3, block=block)).any()


def test_a_window_has_whole_blocks():
    block = 4
    found = order.epoch_order(10_000, 0, 0, block=block)
    window = found[: order.WINDOW * block] // block
    assert len(np.unique(window)) == order.WINDOW
    assert (np.diff(found[:block]) != 1).any()  # mixed


def test_every_example_is_read_once_an_epoch_by_one_of_any_number_of_workers():
    """The epoch is begun by two workers and, after a restart, ended by three."""
    split = Split(np.arange(50, dtype="float32")[:, None], np.arange(50, dtype="int32"), block=4)
    read = []
    for workers, (start, stop) in ((2, (0, 3)), (3, (3, 8))):
        for worker in range(workers):
            options = {"batch_size": 6, "seed": 2, "start": start, "stop": stop, "part": (worker, workers)}
            for x, y in training_batches(split, **options).as_numpy_iterator():
                assert len(y) == 6 // workers
                np.testing.assert_array_equal(x[:, 0], y)
                read += y.tolist()
    assert len(read) == len(set(read)) == 48  # two of 50 do not fill a batch
    whole = order.epoch_order(50, 2, 0, block=4)[:48]
    assert set(read) == set(whole.tolist())


def test_a_split_of_arrays_shares_its_memory():
    from zoo.data.batches.pipeline import _shared

    split = Split(np.zeros((300, 64, 64, 1), np.uint8), np.zeros(300, np.int32)).take(np.arange(290))
    tensor = _shared(split.x)
    split.x[3, 0, 0, 0] = 7
    assert int(tensor[3, 0, 0, 0]) == 7


def test_batches_of_arrays_are_made_ahead_and_are_the_same(folder, monkeypatch):
    """Keras on JAX takes them one by one, from any step on."""
    kept, read = load(config(folder)), load(config(folder, memory=1000))
    monkeypatch.setattr(pipeline, "on_tensorflow", lambda: False)
    monkeypatch.setattr(streamed, "cores", lambda: 3)
    decoded, by = Column.decoded, []

    def noted(column, rows, bad):
        by.append(threading.current_thread().name)
        return decoded(column, rows, bad)

    monkeypatch.setattr(Column, "decoded", noted)
    options = {"batch_size": 8, "seed": 1, "class_weights": np.array([1, 3], "float32")}
    whole = training_batches(kept.train, start=0, stop=18, **options)
    for start in (0, 7):
        found = training_batches(read.train, start=start, stop=18, **options)
        assert len(found) == 18 - start
        for step in [*range(18 - start), 3, 0]:  # also one that was made before
            for ours, theirs in zip(found[step], whole[start + step], strict=True):
                np.testing.assert_array_equal(ours, theirs)
    assert {name.rpartition("_")[0] for name in by} == {"batches"} and len(set(by)) > 1
    ours, theirs = (evaluation_batches(data.test, batch_size=5) for data in (kept, read))
    assert len(ours) == len(theirs) > 1
    for step in range(len(ours)):
        for one, other in zip(ours[step], theirs[step], strict=True):
            np.testing.assert_array_equal(one, other)
    monkeypatch.setattr(Column, "decoded", lambda column, rows, bad: bad.update({0: "gone"}))
    with pytest.raises(UsageError, match="cannot be read: gone; the data changed since the start"):
        training_batches(read.train, start=0, stop=1, **options)[0]
