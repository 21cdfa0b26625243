"""Examples that are decoded when they are looked at are measured as those in memory are."""

import numpy as np
import pytest
from PIL import Image

from compression.receipts.receipt import examples_sha256
from compression.receipts.subject import given
from compression.tasks.classification import interface_of
from zoo.data import DataSpec, Split
from zoo.data.stored.column import Column
from zoo.data.stored.decoders import Pictures
from zoo.data.stored.files import Files


@pytest.mark.parametrize("options", [{}, {"uint8": True}, {"uint8": True, "input_size": (12, 10)}])
def test_streamed_examples_are_given_to_a_file_as_those_in_memory(options, tmp_path):
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{i}.png" for i in range(7)]
    for file in files:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(file)
    column = Column(Files(tmp_path, files), Pictures((8, 8, 3), "crop"))
    streamed, kept = (Split(x, np.arange(7, dtype=np.int32) % 2) for x in (column, np.asarray(column)))
    assert examples_sha256(streamed) == examples_sha256(kept)
    interface = interface_of(DataSpec("set", "image", (8, 8, 3), ("a", "b")), **options)
    theirs, ours = given(kept, interface), given(streamed, interface)
    assert (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)
    np.testing.assert_array_equal(np.asarray(ours), theirs)
    np.testing.assert_array_equal(ours[2:5], theirs[2:5])
