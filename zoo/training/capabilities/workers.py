"""Several processes that train together (`--strategy multi_worker`).

A batch is a slice of the epoch's order, the same for any number of workers, and each worker reads its part of it. So
every example is trained on once an epoch, also when a run is resumed with another number of workers.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from strategies import collective
from zoo.config.train_config import TrainConfig
from zoo.console.errors import Failed, UsageError
from zoo.training.capabilities.base import Capability


class Workers(Capability):
    """Compare the data of all workers, give each its part of every batch, and name a lost worker."""

    @classmethod
    def wanted(cls, config: TrainConfig, strategy: Any) -> bool:
        return collective.workers(strategy) > 1

    def prepare(self) -> None:
        """Raise UsageError unless all workers have the same examples."""
        strategy, data = self.training.strategy, self.training.data
        mine = "".join(digest for _, digest in sorted(self.training.origin["data"].items()))
        found = collective.gather(strategy, np.frombuffer(hashlib.sha256(mine.encode()).digest()[:8], np.int64))
        if others := [str(worker) for worker, theirs in enumerate(found) if theirs != found[0]]:
            raise UsageError(
                f"{data.spec.name}: expected the same examples on every worker; worker {', '.join(others)} has others"
                " than the chief"
            )

    @contextlib.contextmanager
    def around(self) -> Iterator[None]:
        """Turn the errors of TensorFlow after the loss of another worker into one sentence."""
        import tensorflow as tf

        errors = tf.errors
        gone = (errors.UnavailableError, errors.AbortedError, errors.CancelledError, errors.DeadlineExceededError)
        try:
            yield
        except (*gone, errors.InternalError) as error:
            text = " ".join(error.message.split())[:120]
            raise Failed(f"another worker was lost ({text}); start all of them again with --resume") from error

    @property
    def _local(self) -> int:
        """Number of replicas of this worker."""
        strategy = self.training.strategy
        return strategy.num_replicas_in_sync // collective.workers(strategy)

    def held_out(self) -> tuple[Any, int] | None:
        """Return the validation examples that this worker evaluates, and the number of steps."""
        training, strategy = self.training, self.training.strategy
        first = collective.worker(strategy) * self._local
        mine = range(first, first + self._local)
        batches = training.task.validation_parts(training.data, mine, strategy.num_replicas_in_sync)
        if batches is None:
            return None
        steps = int(batches.cardinality()) // self._local
        return strategy.distribute_datasets_from_function(lambda _: batches), steps

    def feed(self, start: int, stop: int) -> Any | None:
        """Return batches that `fit` does not divide among the workers again, if each worker reads its part of them."""
        training, strategy = self.training, self.training.strategy
        if training.gathered or not training.task.reads_parts(training.config):
            return None
        batches, replicas, local = training.batches(start, stop), strategy.num_replicas_in_sync, self._local
        if local > 1:  # each replica of this worker takes a batch of its own
            import tensorflow as tf

            batches = batches.rebatch(training.batch_size // replicas)
            batches = batches.apply(tf.data.experimental.assert_cardinality((stop - start) * local))
        return strategy.distribute_datasets_from_function(lambda _: batches)
