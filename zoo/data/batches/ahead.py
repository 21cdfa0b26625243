"""Batches in numpy that are made in threads, ahead of their use, for examples that are decoded for each batch."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras

from zoo.data.batches import streamed
from zoo.data.dataset import Split


class Ahead(keras.utils.PyDataset):
    """The batches of another data set. When one is asked for, those that follow it begin to be made.

    A batch is a pure function of its index, so it is the same whichever thread makes it, and after a resume.

    Args:
        batches: Batches, which several threads may ask for.
        count: Number of batches that are made ahead.
    """

    def __init__(self, batches: keras.utils.PyDataset, count: int):
        super().__init__()
        self.batches, self.count = batches, count
        self._threads = ThreadPoolExecutor(count, thread_name_prefix="batches")
        self._made: dict[int, Future[Any]] = {}

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        wanted = range(index, min(index + 1 + self.count, len(self)))
        for other in self._made.keys() - set(wanted):
            self._made.pop(other).cancel()
        for each in wanted:
            if each not in self._made:
                self._made[each] = self._threads.submit(self.batches.__getitem__, each)
        return self._made.pop(index).result()


def ahead(batches: keras.utils.PyDataset, split: Split, batch_size: int) -> keras.utils.PyDataset:
    """Return batches that are made ahead, if examples are decoded for each batch; otherwise the batches themselves.

    Args:
        batches: Batches of a split.
        split: Examples.
        batch_size: Number of examples in a batch.
    """
    return batches if split.in_memory else Ahead(batches, streamed.batches_ahead(split, batch_size))
