"""Parts of files that several threads read, and the errors of reading inside tf.data."""

import os

import numpy as np
import pytest

from zoo.console.errors import Failed, Interrupted
from zoo.data.batches import streamed
from zoo.data.stored import places


def test_a_file_stays_open_while_it_is_read(tmp_path, monkeypatch):
    """Another thread may open many files meanwhile, or the same one at the same moment."""
    (tmp_path / "a").write_bytes(b"0123456789")
    pread = os.pread

    def read_meanwhile(descriptor, size, begin):
        places._kept_open.cache_clear()
        return pread(descriptor, size, begin)

    monkeypatch.setattr(os, "pread", read_meanwhile)
    assert places.ranges(str(tmp_path / "a"), [(0, 2), (5, 20)]) == [b"01", b"56789"]


class Unreadable:
    dtype, shape = np.dtype(np.float32), (4,)

    def __getitem__(self, index):
        raise OSError("gone")


def fail():
    import tensorflow as tf

    for _ in tf.data.Dataset.range(4).batch(2, drop_remainder=True).map(lambda i: streamed.read(Unreadable(), i)):
        pass


def test_only_the_error_of_a_reading_is_replaced():
    import tensorflow as tf

    with pytest.raises(tf.errors.OpError):
        fail()
    with pytest.raises(Interrupted, match="here"), streamed.told():
        raise Interrupted("here")
    with pytest.raises(tf.errors.InvalidArgumentError), streamed.told():  # nothing to do with the reading before
        tf.reshape(tf.zeros(3), (2, 2))
    with pytest.raises(Failed, match="^gone$"), streamed.told():
        with pytest.raises(Failed, match="^gone$"), streamed.told():
            fail()
        fail()
