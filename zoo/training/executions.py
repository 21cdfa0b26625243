"""Several training steps in one execution of TensorFlow, as the overhead between two steps can exceed a small step.

With `steps_per_execution` of Keras all executions have the same number of steps: one that does not divide an epoch runs
into the next, and none can end early. Here every execution has its own number of steps, so that it ends with an epoch
or at a checkpoint, and soon enough to react to a signal.
"""

import time
from collections.abc import Callable
from typing import Any

import keras

from strategies import collective
from zoo.data.batches.pipeline import Gathered

# Longest execution; signals and the progress bar wait as long.
MOST_SECONDS = 0.5


class Executions:
    """Train steps ahead of those that `fit` counts.

    `fit` calls for one step at a time, and its callbacks follow each call. The first call of an execution trains all
    its steps; the other calls return at once. `ahead` is the number of steps trained that `fit` has not called for.

    Args:
        most: Largest number of steps in an execution; the weights do not depend on it.
        steps: Number of steps in an epoch.
        done: Number of steps done before.
        every: Number of steps at whose multiples an execution ends; 0: at none.
        gathered: Batches that a step gathers by itself; by default it takes them from the iterator of `fit`.
        agreed: Function from the seconds that a step takes here to those that all workers go by, as their executions
            must have equally many steps. None for a single process.
    """

    def __init__(
        self,
        most: int,
        *,
        steps: int,
        done: int,
        every: int,
        gathered: Gathered | None = None,
        agreed: Callable[[float], float] | None = None,
    ):
        self.most, self.steps, self.step, self.every, self.gathered = most, steps, done, every, gathered
        self.ahead, self.agreed = 0, agreed
        self._seconds = None  # duration of a step

    def install(self, model: keras.Model) -> None:
        """Make `fit` of a compiled model train by executions, unless it already does."""
        if model.train_function is not None:
            return
        run, logs = steps_of(model, self.gathered), None
        self._seconds = None

        def train_function(iterator: Any) -> dict[str, Any]:
            nonlocal logs
            if not self.ahead:
                logs = self._run(run, iterator)
            self.ahead -= 1
            self.step += 1
            return logs

        model.train_function, self._traced = train_function, False

    def _run(self, run: Callable[[Any, int], dict[str, Any]], iterator: Any) -> dict[str, Any]:
        self.ahead = self._next()
        began = time.perf_counter()
        batches = self.gathered.indices(self.step, self.ahead) if self.gathered else iterator
        logs = run(batches, self.ahead)
        if self._traced:  # the first call traces the graph
            seconds = (time.perf_counter() - began) / self.ahead
            if not self.agreed:
                self._seconds = seconds
            elif self._seconds is None:  # once, as a message takes as long as a small step
                self._seconds = self.agreed(seconds)
        self._traced = True
        return logs

    def _next(self) -> int:
        """Return the number of steps of the next execution."""
        if self._seconds is None:
            return 1
        ends = [self.most, int(MOST_SECONDS / self._seconds), self.steps - self.step % self.steps]
        if self.every:
            ends.append(self.every - self.step % self.every)
        return max(min(ends), 1)


def steps_of(model: keras.Model, gathered: Gathered | None = None) -> Callable[[Any, int], dict[str, Any]]:
    """Return a function that trains a compiled model on a number of batches and returns its metrics.

    The function takes an iterator or indices, and the number of batches.

    Args:
        model: Compiled model.
        gathered: Batches to gather by indices; by default the function takes an iterator.
    """
    import tensorflow as tf

    strategy = model.distribute_strategy
    step = tf.autograph.experimental.do_not_convert(model.train_step)
    if model.jit_compile:
        step = tf.function(step, jit_compile=True, reduce_retracing=True)

    def run(on_replica: Callable[..., None], arguments: Callable[[tf.Tensor], tuple], count: tf.Tensor) -> dict:
        # The replicas meet where their gradients are summed, which they can in the body of a loop over `Strategy.run`,
        # and not in a loop inside it.
        def body(done: tf.Tensor) -> tf.Tensor:
            strategy.run(on_replica, args=arguments(done))
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)
        return _metrics(model)

    if gathered:

        def gathering_step(rows: tf.Tensor) -> None:
            with tf.device("CPU:0"):  # where the examples are
                batch = gathered.take(collective.of_this_replica(rows))
            step(batch)

        # The batch size is part of the signature: without it, the step of an lstm took 15 % longer.
        indices = tf.TensorSpec((None, gathered.batch_size), tf.int64)
        gathering = tf.function(
            lambda rows: run(gathering_step, lambda done: (rows[done],), tf.shape(rows)[0]), [indices], autograph=False
        )
        return lambda rows, count: gathering(tf.constant(rows[:count]))
    taking = tf.function(
        lambda iterator, count: run(step, lambda done: (iterator.get_next(),), count),
        reduce_retracing=True,
        autograph=False,
    )
    return lambda iterator, count: taking(iterator, tf.constant(count))


def _metrics(model: keras.Model) -> dict[str, Any]:
    """Return the metrics of a model as `fit` does: the mean over the replicas, each of which has its own."""
    import tensorflow as tf

    strategy = model.distribute_strategy
    if collective.workers(strategy) == 1:
        found = strategy.run(model.get_metrics_result)
        return {
            name: tf.reduce_mean(strategy.experimental_local_results(value), axis=0) for name, value in found.items()
        }
    found = strategy.run(lambda: {name: value[None] for name, value in model.get_metrics_result().items()})
    return {name: strategy.reduce("MEAN", value, axis=0) for name, value in found.items()}
