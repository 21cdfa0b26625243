"""Several processes that train together (`--strategy multi_worker`), on the same data or on shares of files."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from strategies import collective
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Failed, UsageError
from zoo.data import digests
from zoo.training.capabilities.base import Capability


class Workers(Capability):
    """Compare the data of all workers, give each its share of the files, and name a lost worker."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return config.shard == "files" or collective.workers(strategy) > 1

    @property
    def by_files(self) -> bool:
        """Whether each worker reads its own part of the files."""
        return self.training.config.shard == "files"

    def prepare(self) -> None:
        training = self.training
        self._check_same_data()
        if self.by_files:  # all workers take the same number of steps
            count = np.array([len(training.data.train)], np.int64)
            fewest = int(collective.gather(training.strategy, count).min())
            training.data = dataclasses.replace(training.data, train=training.data.train.take(np.arange(fewest)))
            training.batch_size //= collective.workers(training.strategy)

    def _check_same_data(self) -> None:
        """Raise UsageError unless all workers have the same examples, apart from their shares of the training files."""
        strategy, data = self.training.strategy, self.training.data
        if collective.workers(strategy) == 1:
            return
        shared = [name for name in digests.SPLITS if not (self.by_files and name == "train")]
        mine = "".join(self.training.origin["data"][name] for name in shared)
        found = collective.gather(strategy, np.frombuffer(hashlib.sha256(mine.encode()).digest()[:8], np.int64))
        if others := [str(worker) for worker, theirs in enumerate(found) if theirs != found[0]]:
            raise UsageError(
                f"{data.spec.name}: expected the same examples on every worker; worker {', '.join(others)} has others"
                " than the chief"
            )

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Turn the errors of TensorFlow after the loss of another worker into one sentence."""
        if collective.workers(self.training.strategy) == 1:
            yield
            return
        import tensorflow as tf

        errors = tf.errors
        gone = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
        try:
            yield
        except (*gone, errors.InternalError) as error:
            text = " ".join(error.message.split())[:120]
            raise Failed(f"another worker was lost ({text}); start all of them again with --resume") from error

    def feed(self, start: int, stop: int) -> Any | None:
        """Return batches that `fit` does not divide among the workers again, if each worker makes its own."""
        if not self.by_files:
            return None
        batches = self.training.batches(start, stop)
        return self.training.strategy.distribute_datasets_from_function(lambda _: batches)
