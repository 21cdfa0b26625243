"""Several training steps in one execution of TensorFlow, as the overhead between two steps can exceed a small step.

With `steps_per_execution` of Keras all executions have the same number of steps: one that does not divide an epoch runs
into the next, and none can end early. Here every execution has its own number of steps, so that it ends with an epoch
or at a checkpoint, and soon enough to react to a signal.
"""

import time
from collections.abc import Callable
from typing import Any

import keras

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
    """

    def __init__(self, most: int, *, steps: int, done: int, every: int, gathered: Gathered | None = None):
        self.most, self.steps, self.step, self.every, self.gathered = most, steps, done, every, gathered
        self.ahead = 0
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
            self._seconds = (time.perf_counter() - began) / self.ahead
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

    step = tf.autograph.experimental.do_not_convert(model.train_step)
    if model.jit_compile:
        step = tf.function(step, jit_compile=True, reduce_retracing=True)

    def run(batch_of: Callable[[tf.Tensor], Any], count: tf.Tensor) -> dict[str, Any]:
        def body(done: tf.Tensor) -> tf.Tensor:
            model.distribute_strategy.run(step, args=(batch_of(done),))
            return done + 1

        tf.while_loop(lambda done: done < count, body, [tf.constant(0)], parallel_iterations=1)
        return model.get_metrics_result()

    if gathered:
        # The batch size is part of the signature: without it, the step of an lstm took 15 % longer.
        indices = tf.TensorSpec((None, gathered.batch_size), tf.int64)
        gathering = tf.function(
            lambda rows: run(lambda done: gathered.take(rows[done]), tf.shape(rows)[0]), [indices], autograph=False
        )
        return lambda rows, count: gathering(tf.constant(rows[:count]))
    taking = tf.function(
        lambda iterator, count: run(lambda done: iterator.get_next(), count), reduce_retracing=True, autograph=False
    )
    return lambda iterator, count: taking(iterator, tf.constant(count))
